"""The pipeline, in order. A pass is a function from program to program; its name is its
function's.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from ptir.ir import SpecError, nearest

from .apply import Pass as Pass
from .apply import PassRun as PassRun
from .apply import apply as apply
from .apply import name as name
from .broadcasts import sink_broadcasts
from .canonicalize import canonicalize
from .derive import decided_by_parameters as decided_by_parameters
from .derive import derived_nodes as derived_nodes
from .derive import fold_parameters
from .elementwise import group_elementwise as group_elementwise
from .fold import fold_constants
from .legalize import legalize
from .legalize import legalizer as legalizer
from .liveness import PlanInfo as PlanInfo
from .liveness import plan_info as plan_info
from .raise_ import raise_
from .simplify import simplify
from .transposes import move_transposes

Point = Literal["pre", "legalize", "fuse", "cleanup"]

# What stands here runs for every backend; a name is a point at which a backend may add its own.
PIPELINE: tuple[Pass | Point, ...] = (
    raise_,
    "pre",
    canonicalize,
    simplify,
    fold_constants,
    "legalize",
    legalize,
    canonicalize,
    simplify,
    sink_broadcasts,
    move_transposes,
    fold_constants,
    simplify,
    "fuse",
    canonicalize,
    "cleanup",
    legalize,  # what was put in since
    fold_parameters,
)

# These see what a backend will run, so they come after the expansion of what it does not claim.
ON_CLAIMED = frozenset({fold_parameters})

# Not for every backend: those that can run what these make put them at a point.
LIBRARY: tuple[Pass, ...] = (group_elementwise,)


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


def legalizing(chosen: Sequence[Pass], legalizer: Pass) -> tuple[Pass, ...]:
    """The passes with a backend's legalization in its places; without any, it comes last."""
    if legalize in chosen:
        return tuple(legalizer if one is legalize else one for one in chosen)
    before = [one for one in chosen if one not in ON_CLAIMED]
    return (*before, legalizer, *(one for one in chosen if one in ON_CLAIMED))


def named(names: Sequence[str], chosen: Sequence[Pass]) -> tuple[Pass, ...]:
    """The passes of these names, of the library or of `chosen`; a `SpecError` for another name."""
    known = {name(p): p for p in (*LIBRARY, *chosen)}
    for word in names:
        if word not in known:
            raise SpecError("pass", "pipeline", f"no pass {word!r}{nearest(word, known)}")
    return tuple(known[word] for word in names)
