"""The pipeline, in order. A pass is a function from program to program; its name is its
function's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from ptir.ir import Program, SpecError, nearest

from .canonicalize import canonicalize
from .legalize import legalizer as legalizer

Pass = Callable[[Program], Program]
Point = Literal["pre", "legalize", "fuse", "cleanup"]

# What stands here runs for every backend; a name is a point at which a backend may add its own.
PIPELINE: tuple[Pass | Point, ...] = (
    "pre",
    canonicalize,
    "legalize",
    "fuse",
    canonicalize,
    "cleanup",
)


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


def name(one: Pass) -> str:
    return one.__name__
