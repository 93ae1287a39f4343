"""The reference backend: a program runs as the NumPy meanings of its ops. Slow, obvious, right."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ptir import ops
from ptir.ir import PARAM, Node, Program, SpecError, type_of
from ptir.ops.evaluate import Interpreter

from . import base

Kernel = Callable[..., Any]
CUSTOM_CALLS: dict[str, Kernel] = {}


def custom_call(target: str) -> Callable[[Kernel], Kernel]:
    """Register a NumPy function (arrays, then attributes by keyword) as a `custom_call` target."""

    def register(kernel: Kernel) -> Kernel:
        CUSTOM_CALLS[target] = kernel
        return kernel

    return register


class Backend(base.Backend):
    """Every op as its NumPy meaning: the oracle of all others."""

    name = "reference"

    def claims(self, node: Node) -> bool:
        if node.op is ops.custom_call:
            return node.attrs["target"] in CUSTOM_CALLS
        return node.op is PARAM or (node.op.reference is not None and node.op is not ops.composite)

    def compile(self, program: Program) -> base.Executable:
        run = Interpreter(program, _custom_kernel)
        return lambda *handles: run(handles)

    def put(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return array

    def get(self, handle: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return handle


def _custom_kernel(node: Node) -> Kernel | None:
    """The registered function of a `custom_call`, its results checked against the declared type."""
    if node.op is not ops.custom_call:
        return None
    kernel = CUSTOM_CALLS[node.attrs["target"]]

    def run(*arrays: Any, target: str, type: Any, attributes: Any) -> Any:
        result = kernel(*arrays, **attributes)
        came = type_of(result)
        if came != type:
            raise SpecError("type", target, f"the kernel gave {came}, declared is {type}")
        return result

    return run
