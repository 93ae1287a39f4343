"""The reference backend: a program runs as the NumPy meanings of its ops. Slow, obvious, right."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ptir import ops
from ptir.ir import PARAM, Node, Program
from ptir.ops.evaluate import Interpreter
from ptir.ops.structure import KERNELS

from . import base

Kernel = Callable[..., Any]


def custom_call(target: str) -> Callable[[Kernel], Kernel]:
    """Register a NumPy function (arrays, then attributes by keyword) as a `custom_call` target."""

    def register(kernel: Kernel) -> Kernel:
        KERNELS[target] = kernel
        return kernel

    return register


class Backend(base.NumpyKernels):
    """Every op as its NumPy meaning: the oracle of all others."""

    name = "reference"

    def claims(self, node: Node) -> bool:
        return node.op is PARAM or (node.op.reference is not None and node.op is not ops.composite)

    def compile(self, program: Program) -> base.Executable:
        self.check_calls(program)
        run = Interpreter(program)
        return lambda *handles: run(handles)

    def put(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return array

    def get(self, handle: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return handle

    def facts(self) -> Mapping[str, Any]:
        return {"numpy": np.__version__}

    def compact(self, handle: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A view of a part is copied, so that the whole can go."""
        whole = handle
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        return handle if handle.nbytes >= whole.nbytes else handle.copy(order="K")
