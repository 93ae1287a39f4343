"""What a backend owes: which nodes it can run, how it compiles a program, how data gets in and
out.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ptir import ops
from ptir.ir import Node, Program, SpecError
from ptir.ops.structure import KERNELS, kernel_of
from ptir.params import ParamResolver
from ptir.passes import Pass, Point

Handle = Any
"""A value on a device. Only the backend that made it knows what it is."""

Executable = Callable[..., Sequence[Handle]]
"""A compiled program: handles in (inputs by position), handles out (results by position).

Handles of donated state inputs may be overwritten; the caller must not use them again.
"""


@runtime_checkable
class Sized(Protocol):
    """An executable that knows beforehand how much memory it takes."""

    def memory(self, symbols: Mapping[str, int]) -> int:
        """The bytes of one run for these sizes, beside its inputs and parameters."""


@dataclass(frozen=True)
class Kernel:
    """A kernel from outside that claims a functional: its composites become calls of `target`,
    where it `serves` them.
    """

    target: str
    serves: Callable[[Node], bool]

    def __call__(self, node: Node) -> Node | None:
        if not self.serves(node):
            return None
        attributes = node.attrs["attributes"]
        called: Node = ops.custom_call(
            *node.operands, target=self.target, type=node.type, attributes=attributes
        )
        return called


class Backend(ABC):
    """One way to run programs. Each backend module (`ptir.backends.<name>`) has a class
    `Backend`.
    """

    name: str
    version: str = "1"

    def __init__(self) -> None:
        self.params = ParamResolver()
        self.kernels: Mapping[str, Kernel] = {}  # by functional; replaced whole, never changed

    @abstractmethod
    def claims(self, node: Node) -> bool:
        """Whether this node runs as it stands; what is not claimed is expanded."""

    def runs(self, node: Node) -> bool:
        """Whether it is claimed, or is a functional in whose place a kernel from outside runs."""
        kernel = self.kernels.get(node.attrs["name"]) if node.op is ops.composite else None
        return self.claims(node) or (kernel is not None and kernel.serves(node))

    def falls_back(self, node: Node) -> bool:
        """Whether this node runs as its NumPy meaning, since the backend has nothing better."""
        return False

    @abstractmethod
    def compile(self, program: Program) -> Executable:
        """An executable of a program in which every node is claimed."""

    @abstractmethod
    def put(self, array: np.ndarray[Any, Any]) -> Handle:
        """Data of the host on the device."""

    @abstractmethod
    def get(self, handle: Handle) -> np.ndarray[Any, Any]:
        """Data of the device on the host."""

    def compact(self, handle: Handle) -> Handle:
        """The same value in a form to be kept: it holds on to no memory but its own."""
        return handle

    def pipeline(self) -> Mapping[Point, Sequence[Pass]]:
        """Passes of this backend, by the point of the pipeline at which they run."""
        return {}

    def options(self) -> tuple[Any, ...]:
        """Settings that change what `compile` makes: part of the plan-cache key."""
        return ()

    def facts(self) -> Mapping[str, Any]:
        """What whoever looks for a fault wants to know of it: plain values by name, for `ptir
        doctor`. Raises `PtirError` when the backend cannot work here.
        """
        return {}

    def fingerprint(self) -> tuple[Any, ...]:
        """`options` and the kernels from outside: all that changes what becomes of a program."""
        return (*self.options(), *(k.target for k in self.kernels.values()))

    def define(self, target: str, code: Any) -> None:
        """Make a `custom_call` of `target` run `code`, in whatever form this backend takes it."""
        raise SpecError("kernel", self.name, "the backend takes no kernels from outside")

    def undefine(self, target: str) -> None:
        """Forget a target that was defined."""
        raise SpecError("kernel", self.name, "the backend takes no kernels from outside")


class NumpyKernels(Backend):
    """A backend on the host, whose kernels from outside are functions of NumPy arrays."""

    def define(self, target: str, code: Any) -> None:
        """`code` is a function of NumPy arrays, then attributes by keyword."""
        if not callable(code):
            came = type(code).__name__
            raise SpecError("kernel", self.name, f"{target} is a {came}, wanted a function")
        KERNELS[target] = code

    def undefine(self, target: str) -> None:
        del KERNELS[target]

    def check_calls(self, program: Program) -> None:
        """Refuse a `custom_call` whose target is not registered or does not take what it is
        given.
        """
        for each in program.nested:
            for node in each.nodes:
                if node.op is ops.custom_call:
                    _check(node)


def _check(node: Node) -> None:
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
