"""What a backend owes: which nodes it can run, how it compiles a program, how data gets in and
out.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ptir.ir import Node, Program
from ptir.params import ParamResolver
from ptir.passes import Pass, Point

Handle = Any
"""A value on a device. Only the backend that made it knows what it is."""

Executable = Callable[..., Sequence[Handle]]
"""A compiled program: handles in (inputs by position), handles out (results by position).

Handles of donated state inputs may be overwritten; the caller must not use them again.
"""


class Backend(ABC):
    """One way to run programs. Each backend module (`ptir.backends.<name>`) has a class
    `Backend`.
    """

    name: str
    version: str = "1"

    def __init__(self) -> None:
        self.params = ParamResolver()

    @abstractmethod
    def claims(self, node: Node) -> bool:
        """Whether this node runs as it stands; what is not claimed is expanded."""

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
