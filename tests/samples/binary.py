"""Samples of the binary ops: special values squared in every dtype, rank 0, sizes 0 and 1."""

from typing import Any

import numpy as np

from ptir.ir import Dim, TupleType, dtype, tensor_type
from tests.data import INTEGERS
from tests.exact import FLOATS, edges, squared
from tests.samples import Case, OpSamples, Refused

Array = np.ndarray[Any, Any]

REAL = (*INTEGERS, *FLOATS)
COMPLEX = ("c64", "c128")
BITS = ("i1", *INTEGERS)


def _pairs(op: str, of: str) -> tuple[Array, Array]:
    """Every pair of edges that the op has a value for."""
    x, y = squared(edges(of))
    if of in INTEGERS:
        kept = y.astype(object) != 0 if op in ("div", "rem") else y.astype(object) >= 0
        kept = kept if op in ("div", "rem", "pow", "shift_left", "shift_right") else y == y
    elif of in COMPLEX:
        kept = y != 0 if op == "div" else y == y
    else:
        kept = np.full(x.shape, True)
    return x[kept], y[kept]


def _small(op: str, of: str) -> tuple[Array, Array]:
    x, y = _pairs(op, of)
    return x[-6:], y[-6:]


def _samples(
    op: str, dtypes: tuple[str, ...], wrong: tuple[str, ...], ulp: float = 0, *faults: Refused
) -> OpSamples:
    last = dtypes[-1]
    x, y = _small(op, last)
    type_ = tensor_type((2, 3), last)
    symbolic = tensor_type((Dim.symbol("B"), 3), last)
    other = "f16" if last != "f16" else "f32"
    return OpSamples(
        op,
        ulp=ulp,
        cases=[
            *(Case(_pairs(op, d), note=d) for d in dtypes),
            Case((np.array(x[0]), np.array(y[0])), note="rank 0"),
            Case((x[:0].reshape(0, 2), y[:0].reshape(0, 2)), note="size-0 axis"),
            Case((x[:3].reshape(1, 3, 1), y[:3].reshape(1, 3, 1)), note="size-1 axes"),
            Case((x.reshape(3, 2).T, y.reshape(2, 3)), note="transposed"),
        ],
        refused=[
            *(Refused("dtype", (tensor_type((2,), w),) * 2, message="wanted") for w in wrong),
            Refused("dtype", (type_, type_.with_dtype(dtype(other))), message="cast"),
            Refused("shape", (type_, tensor_type((3,), last)), message="broadcast_to"),
            Refused("shape", (type_, tensor_type((2, 1), last)), message="broadcast_to"),
            Refused("shape", (type_, symbolic), message="broadcast_to"),
            Refused("operand", (type_, TupleType((type_,))), message="tuple"),
            Refused("arity", (type_,)),
            Refused("attribute", (type_, type_), {"axis": 0}),
            *faults,
        ],
    )


def _by(fault: int, of: str, message: str) -> Refused:
    """An integer operand that only its values make wrong."""
    element = dtype(of).numpy
    return Refused("value", (np.ones(3, element), np.array([1, fault, 1], element)), {}, message)


_ZERO = [_by(0, d, "by zero") for d in INTEGERS]
_NEGATIVE = [_by(-1, d, "negative") for d in INTEGERS if dtype(d).kind == "int"]

SAMPLES = (
    _samples("add", (*COMPLEX, *REAL), ("i1",), 1),
    _samples("sub", (*COMPLEX, *REAL), ("i1",), 1),
    _samples("mul", (*COMPLEX, *REAL), ("i1",), 1),
    _samples("div", (*COMPLEX, *REAL), ("i1",), 1, *_ZERO),
    _samples("rem", REAL, ("i1", "c64"), 0, *_ZERO),
    _samples("pow", REAL, ("i1", "c64"), 8, *_NEGATIVE),
    _samples("maximum", REAL, ("i1", "c64")),
    _samples("minimum", REAL, ("i1", "c64")),
    _samples("atan2", FLOATS, ("i1", "si32", "c64"), 4),
    _samples("and", BITS, ("f32", "c64")),
    _samples("or", BITS, ("f32", "c64")),
    _samples("xor", BITS, ("f32", "c64")),
    _samples("shift_left", INTEGERS, ("i1", "f32", "c64"), 0, *_NEGATIVE),
    _samples("shift_right", INTEGERS, ("i1", "f32", "c64"), 0, *_NEGATIVE),
)
