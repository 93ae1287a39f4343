"""Elementwise ops of one operand: type rule and NumPy meaning of each.

Floats narrower than f64 are computed in f64 where a function is not exact, then rounded once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ptir.ir import Op, Type, dtype
from ptir.ir.dtype import f32, f64, i1

from .error_function import erf as _erf
from .numeric import Array, compute, elementwise, rounded, store
from .rule import BITS, FLOAT, INTEGER, NUMBER, REAL, accepted


def _exact(name: str, kinds: frozenset[str], meaning: Callable[[Array], Any], doc: str) -> Op:
    """An op whose meaning is exact in the dtype that its operand computes in."""
    return Op(
        name, infer=lambda x: accepted(name, x, kinds), reference=elementwise(meaning), doc=doc
    )


def _smooth(name: str, meaning: Callable[[Array], Any], doc: str) -> Op:
    """A function of floats that has to be rounded."""
    return Op(name, infer=lambda x: accepted(name, x, FLOAT), reference=rounded(meaning), doc=doc)


neg = _exact("neg", NUMBER, np.negative, "−x; integers wrap around, unsigned ones too.")


def _infer_abs(x: Type) -> Type:
    found = accepted("abs", x, NUMBER)
    if not found.dtype.is_complex:
        return found
    return found.with_dtype(f32 if found.dtype.name == "c64" else f64)


def _abs(x: Array) -> Array:
    with np.errstate(all="ignore"):
        magnitude = np.asarray(np.abs(compute(x)))
    return magnitude if x.dtype.kind == "c" else store(magnitude, x.dtype)


abs_ = Op(
    "abs",
    infer=_infer_abs,
    reference=_abs,
    doc="|x|; the smallest integer wraps to itself; of a complex number, its real magnitude.",
)

sign = _exact("sign", REAL, np.sign, "−1, 0 or 1 as x compares with 0; of ±0 it is +0, of NaN NaN.")
not_ = _exact("not", BITS, np.invert, "Every bit flipped; of i1, logical negation.")
floor = _exact("floor", FLOAT, np.floor, "The largest whole number that is not above x; −0 stays.")
ceil = _exact("ceil", FLOAT, np.ceil, "The smallest whole number that is not below x; −0 stays.")
round_ = _exact("round", FLOAT, np.rint, "The nearest whole number, halves to the even one.")

exp = _smooth("exp", np.exp, "eˣ.")
expm1 = _smooth("expm1", np.expm1, "eˣ − 1, without cancellation near 0.")
log = _smooth("log", np.log, "ln x; of ±0 it is −inf, below zero NaN.")
log1p = _smooth("log1p", np.log1p, "ln(1 + x), without cancellation near 0.")
sqrt = _smooth("sqrt", np.sqrt, "√x; of −0 it is −0, below zero NaN.")
rsqrt = _smooth("rsqrt", lambda x: 1.0 / np.sqrt(x), "1/√x; of ±0 it is ±inf, below zero NaN.")
reciprocal = _smooth("reciprocal", lambda x: 1.0 / x, "1/x; of ±0 it is ±inf.")
sin = _smooth("sin", np.sin, "sin x, x in radians; of ±inf NaN.")
cos = _smooth("cos", np.cos, "cos x, x in radians; of ±inf NaN.")
tan = _smooth("tan", np.tan, "tan x, x in radians; of ±inf NaN.")
tanh = _smooth("tanh", np.tanh, "tanh x.")
erf = _smooth("erf", _erf, "2/√π · ∫₀ˣ exp(−t²) dt.")


def _logistic(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # at most 1: neither side overflows
    return np.where(x < 0, small, 1.0) / (1.0 + small)


logistic = _smooth("logistic", _logistic, "1/(1 + e⁻ˣ), stable for large |x|.")

is_finite = Op(
    "is_finite",
    infer=lambda x: accepted("is_finite", x, FLOAT).with_dtype(i1),
    reference=lambda x: np.asarray(np.isfinite(compute(x))),
    doc="Neither infinite nor NaN, as i1.",
)


def _popcount(x: Array) -> Array:
    wide = compute(x)
    bits = wide.view(f"u{wide.dtype.itemsize}")
    if dtype(x.dtype).bits == 4:
        bits = bits & np.uint8(15)  # the widened sign fills the byte
    return store(np.asarray(np.bitwise_count(bits)), x.dtype)


popcount = Op(
    "popcount",
    infer=lambda x: accepted("popcount", x, INTEGER),
    reference=_popcount,
    doc="The number of bits set in the two's complement form, in the operand's dtype.",
)
