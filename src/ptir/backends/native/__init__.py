"""The native backend: plans of precompiled C kernels, run on all cores. The default.

What it has no kernel for runs as its NumPy meaning; `falls_back` says of which nodes that is so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ptir import config, ops
from ptir.backends import base
from ptir.ir import PARAM, Node, Program
from ptir.passes import Pass, Point, group_elementwise

from . import rules as rules
from .epilogue import fuse_epilogue
from .executable import Executable
from .fuse import fuse_residual
from .handle import Handle, put
from .library import library
from .lower import rule_of
from .memory import free_memory
from .pack import pack_weights
from .threads import allowed_cpus, cpu_quota, threads

Array = np.ndarray[Any, Any]


class Backend(base.NumpyKernels):
    """Kernels of the C library where a rule has them, the reference elsewhere."""

    name = "native"

    def claims(self, node: Node) -> bool:
        return node.op is PARAM or rule_of(node) is not None or self.falls_back(node)

    def falls_back(self, node: Node) -> bool:
        """What has no rule and cannot be written with other ops runs as its NumPy meaning."""
        op = node.op
        if op is PARAM or op is ops.composite or op is ops.call or rule_of(node) is not None:
            return False
        return op.decompose is None and op.reference is not None

    def compile(self, program: Program) -> Executable:
        self.check_calls(program)
        return Executable(program)

    def put(self, array: Array) -> Handle:
        return put(array)

    def get(self, handle: Handle) -> Array:
        return handle.array

    def pipeline(self) -> Mapping[Point, Sequence[Pass]]:
        return {"cleanup": (fuse_residual, pack_weights, group_elementwise, fuse_epilogue)}

    def facts(self) -> Mapping[str, Any]:
        """The library, its ISA levels and the threads that plans get."""
        known = library()
        levels = list(known.levels)
        chosen = next(name for name, number in known.levels.items() if number == known.level())
        return {
            "library": str(known.path),
            "isa": chosen,
            "isa_levels": levels,
            "threads": threads(),
            "cpus_allowed": len(allowed_cpus()),
            "cpu_quota": cpu_quota(),
            "free_memory": free_memory(),
        }

    def options(self) -> tuple[Any, ...]:
        return str(config.current().library), config.current().isa
