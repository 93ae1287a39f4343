"""What a pass is, and how passes are run one after the other. Knows none of them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from ptir.ir import Program, SpecError

LOG = logging.getLogger("ptir.passes")

Pass = Callable[[Program], Program]
"""From program to program; its name is its function's."""


def name(one: Pass) -> str:
    return one.__name__.rstrip("_")  # `raise` is a word of Python's


@dataclass(frozen=True)
class PassRun:
    """What one pass did: nodes before and after, and its time in milliseconds."""

    name: str
    before: int
    after: int
    ms: float


def apply(
    program: Program, passes: Sequence[Pass], verify: bool = False
) -> tuple[Program, tuple[PassRun, ...]]:
    """The program after the passes, and what each of them did.

    `verify` checks the program before and after each; the `SpecError` names the pass that broke it.
    """
    runs = list[PassRun]()
    if verify:
        program.verify()
    for one in passes:
        since = perf_counter()
        after = one(program)
        ms = (perf_counter() - since) * 1e3
        run = PassRun(name(one), len(program.nodes), len(after.nodes), ms)
        LOG.debug("%s: %d nodes, then %d, in %.2f ms", run.name, run.before, run.after, ms)
        runs.append(run)
        program = after
        if verify:
            _verify_after(name(one), program)
    return program, tuple(runs)


def _verify_after(name: str, program: Program) -> None:
    try:
        program.verify()
    except SpecError as error:
        message = f"it broke the program: {error}"
        raise SpecError("pass", name, message) from error
