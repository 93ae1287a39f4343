"""The pipeline, in order. A pass is a function from program to program; its name is its
function's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from ptir.ir import Program, SpecError, nearest

from .canonicalize import canonicalize
from .derive import derived_nodes as derived_nodes
from .derive import fold_parameters
from .fold import fold_constants
from .legalize import legalizer as legalizer
from .raise_ import raise_

Pass = Callable[[Program], Program]
Point = Literal["pre", "legalize", "fuse", "cleanup"]

# What stands here runs for every backend; a name is a point at which a backend may add its own.
PIPELINE: tuple[Pass | Point, ...] = (
    raise_,
    "pre",
    canonicalize,
    fold_constants,
    "legalize",
    "fuse",
    canonicalize,
    fold_constants,
    "cleanup",
    fold_parameters,
)

# These see what a backend will run, so they come after the expansion of what it does not claim.
ON_CLAIMED = frozenset({fold_parameters})


def pipeline(
    extra: Mapping[Point, Sequence[Pass]], left_out: Sequence[str] = ()
) -> tuple[Pass, ...]:
    """The passes to run: the backend's own at their points, without those named in `left_out`."""
    passes: list[Pass] = []
    for entry in PIPELINE:
        passes.extend(extra.get(entry, ()) if isinstance(entry, str) else (entry,))
    known = {name(p) for p in passes}
    for word in left_out:
        if word not in known:
            raise SpecError("pass", "pipeline", f"no pass {word!r}{nearest(word, known)}")
    return tuple(p for p in passes if name(p) not in left_out)


def legalizing(chosen: Sequence[Pass], legalize: Pass) -> tuple[Pass, ...]:
    """The passes with legalization where it belongs."""
    before = [one for one in chosen if one not in ON_CLAIMED]
    return (*before, legalize, *(one for one in chosen if one in ON_CLAIMED))


def name(one: Pass) -> str:
    return one.__name__.rstrip("_")  # `raise` is a word of Python's
