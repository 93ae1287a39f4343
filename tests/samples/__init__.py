"""What each op owes the suite: sample calls, error samples, and how exact a backend must be.

One file per op family, found by file name; each holds `SAMPLES: tuple[OpSamples, ...]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np

from ptir.ir import Type


@dataclass(frozen=True)
class Case:
    """One call: NumPy operands (their dtypes name the PTIR dtypes) and attributes."""

    operands: Sequence[np.ndarray[Any, Any]] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # what makes this case an edge, for the test id


@dataclass(frozen=True)
class Refused:
    """A call that the type rule (types) or the reference (arrays) must refuse with this code."""

    code: str
    operands: Sequence[Type | np.ndarray[Any, Any]] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""  # a part of the message


@dataclass(frozen=True)
class OpSamples:
    """All samples of one op. `ulp` bounds a backend's error for f32, in units in the last place of
    the result against float64 truth; 16-bit types get one more; integers and booleans are exact."""

    op: str
    cases: Sequence[Case]
    refused: Sequence[Refused] = ()
    ulp: float = 0.0


def by_op() -> dict[str, OpSamples]:
    """Every op's samples; an op that stands in two files is an error."""
    found: dict[str, OpSamples] = {}
    for module in iter_modules(__path__):
        for samples in import_module(f"{__name__}.{module.name}").SAMPLES:
            if samples.op in found:
                raise ValueError(f"samples of {samples.op!r} stand in two files")
            found[samples.op] = samples
    return found
