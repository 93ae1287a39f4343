"""Samples of the unary ops: every dtype, its edge values, rank 0, sizes 0 and 1."""

import numpy as np

from ptir.ir import TupleType, dtype, tensor_type
from tests.data import INTEGERS
from tests.exact import FLOATS, edges
from tests.samples import Case, OpSamples, Refused

REAL = (*INTEGERS, *FLOATS)
COMPLEX = ("c64", "c128")
BITS = ("i1", *INTEGERS)


def _line(of: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Both signs, from where functions are linear to where they saturate, and special values."""
    with np.errstate(over="ignore"):
        special = edges(of)[np.abs(edges(of).astype(np.float64)) < 1e4]
    sizes = np.concatenate([np.geomspace(1e-6, 20, 40), [88.5, 100.25]])
    return np.concatenate([special.astype(np.float64), sizes, -sizes, [np.inf, -np.inf, np.nan]])


def _values(of: str, moderate: bool) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    if of not in FLOATS or not moderate:
        return edges(of)
    with np.errstate(all="ignore"):
        found: np.ndarray[tuple[int], np.dtype[np.generic]] = _line(of).astype(edges(of).dtype)
        return found


def _samples(
    op: str,
    dtypes: tuple[str, ...],
    wrong: tuple[str, ...],
    ulp: float = 0,
    moderate: bool = True,
    extra: tuple[Case, ...] = (),
) -> OpSamples:
    """`moderate` leaves out arguments so large that a backend need not reduce them."""
    last = dtypes[-1]
    some = edges(last)
    return OpSamples(
        op,
        ulp=ulp,
        cases=[
            *(Case((_values(d, moderate),), note=d) for d in dtypes),
            Case((np.array(some[1]),), note="rank 0"),
            Case((some[:0].reshape(2, 0, 3),), note="size-0 axis"),
            Case((some[1:4].reshape(1, 3, 1),), note="size-1 axes"),
            Case((np.resize(some, (3, 5)).T,), note="transposed"),
            *extra,
        ],
        refused=[
            *(Refused("dtype", (tensor_type((2,), w),), message="operand 0") for w in wrong),
            Refused("operand", (TupleType((tensor_type((2,), last),)),), message="tuple"),
            Refused("arity", ()),
            Refused("arity", (tensor_type((2,), last),) * 2),
            Refused("attribute", (tensor_type((2,), last),), {"axis": 0}),
        ],
    )


def _smooth(op: str, ulp: float, moderate: bool = True) -> OpSamples:
    return _samples(op, FLOATS, ("i1", "si32", "c64"), ulp, moderate)


def _pythagorean(of: str) -> Case:
    """Complex numbers whose magnitude is exact."""
    values = [0, -0.0, 3 + 4j, -5 + 12j, -0.375 - 0.5j, -2, 2.5j, complex("nan+1j"), 1e30j]
    return Case((np.array(values, dtype(of).numpy),), note=of)


SAMPLES = (
    _samples("neg", (*COMPLEX, *REAL), ("i1",), moderate=False),
    _samples(
        "abs", REAL, ("i1",), moderate=False, extra=(_pythagorean("c64"), _pythagorean("c128"))
    ),
    _samples("sign", REAL, ("i1", "c64"), moderate=False),
    _samples("not", BITS, ("f32", "c64")),
    _samples("popcount", INTEGERS, ("i1", "f32", "c64")),
    _smooth("floor", 0),
    _smooth("ceil", 0),
    _smooth("round", 0),
    _smooth("is_finite", 0, moderate=False),
    _smooth("exp", 4),
    _smooth("expm1", 4),
    _smooth("log", 4, moderate=False),
    _smooth("log1p", 4, moderate=False),
    _smooth("sqrt", 1, moderate=False),
    _smooth("rsqrt", 2, moderate=False),
    _smooth("reciprocal", 1, moderate=False),
    _smooth("sin", 4),
    _smooth("cos", 4),
    _smooth("tan", 4),
    _smooth("tanh", 4),
    _smooth("erf", 4),
    _smooth("logistic", 4),
)
