"""A plan: a compiled program with all that decided it, and how it came about. Knows no cache."""

from dataclasses import dataclass
from typing import Any

from ptir.backends import Executable
from ptir.ir import Program
from ptir.passes import PassRun

from .derived import Derived


@dataclass(frozen=True)
class PlanKey:
    """All that decides what is compiled. Compared in full, never by a bare hash."""

    program: Program
    passes: tuple[str, ...]
    backend: str
    version: str
    options: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """A compiled program, with how it came about.

    The inputs of `program` are those of the captured one that `slots` names, then a parameter for
    each of `derived`. `shared` are the results whose buffers are not theirs alone: inputs, and
    values that are two results.
    """

    key: PlanKey
    program: Program  # after the passes
    slots: tuple[int, ...]
    derived: tuple[Derived, ...]
    shared: frozenset[int]
    executable: Executable
    passes: tuple[PassRun, ...]
    reason: str
    compile_ms: float
