"""The reference backend: a program runs as the NumPy meanings of its ops. Slow, obvious, right."""

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np

from ptir import ops
from ptir.ir import PARAM, Node, Program, SpecError
from ptir.ops.evaluate import Interpreter
from ptir.ops.structure import KERNELS, kernel_of

from . import base

Kernel = Callable[..., Any]


def custom_call(target: str) -> Callable[[Kernel], Kernel]:
    """Register a NumPy function (arrays, then attributes by keyword) as a `custom_call` target."""

    def register(kernel: Kernel) -> Kernel:
        KERNELS[target] = kernel
        return kernel

    return register


class Backend(base.Backend):
    """Every op as its NumPy meaning: the oracle of all others."""

    name = "reference"

    def claims(self, node: Node) -> bool:
        return node.op is PARAM or (node.op.reference is not None and node.op is not ops.composite)

    def compile(self, program: Program) -> base.Executable:
        for each in program.nested:
            for node in each.nodes:
                if node.op is ops.custom_call:
                    _check(node)
        run = Interpreter(program)
        return lambda *handles: run(handles)

    def put(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return array

    def get(self, handle: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return handle

    def compact(self, handle: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A view of a part is copied, so that the whole can go."""
        whole = handle
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        return handle if handle.nbytes >= whole.nbytes else handle.copy(order="K")

    def define(self, target: str, code: Any) -> None:
        """`code` is a function of NumPy arrays, then attributes by keyword."""
        if not callable(code):
            came = type(code).__name__
            raise SpecError("kernel", self.name, f"{target} is a {came}, wanted a function")
        custom_call(target)(code)

    def undefine(self, target: str) -> None:
        del KERNELS[target]


def _check(node: Node) -> None:
    """Refuse a `custom_call` whose target is not registered or does not take what it is given."""
    target, attributes = node.attrs["target"], node.attrs["attributes"]
    kernel = kernel_of(target)
    try:
        takes = signature(kernel)
    except ValueError:
        return  # written in C, and says nothing about itself
    try:
        takes.bind(*node.operands, **attributes)
    except TypeError as error:
        raise SpecError("attribute", target, f"{error}; the kernel takes {takes}") from None
