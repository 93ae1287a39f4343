"""Elementwise ops of two operands of one type: type rule and NumPy meaning of each."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ptir.ir import Op, SpecError, TensorType, Type, dtype

from .numeric import Array, compute, elementwise, rounded, store
from .rule import BITS, FLOAT, INTEGER, NUMBER, REAL, accepted, alike


def _rule(name: str, kinds: frozenset[str]) -> Callable[[Type, Type], TensorType]:
    return lambda x, y: accepted(name, alike(name, x, y), kinds)


def _refuse(op: str, wrong: Array, message: str) -> None:
    """A `SpecError` if any element is wrong: what only the values show."""
    if wrong.any():
        raise SpecError("value", op, message)


def _wide(x: Array) -> Array:
    """c64 in c128, where its products and quotients are rounded once."""
    return x.astype(np.complex128) if x.dtype == np.complex64 else x


add = Op(
    "add",
    infer=_rule("add", NUMBER),
    reference=elementwise(np.add),
    commutative=True,
    doc="x + y; integers wrap around.",
)
sub = Op(
    "sub",
    infer=_rule("sub", NUMBER),
    reference=elementwise(np.subtract),
    doc="x − y; integers wrap around.",
)
mul = Op(
    "mul",
    infer=_rule("mul", NUMBER),
    reference=elementwise(lambda x, y: np.multiply(_wide(x), _wide(y))),
    commutative=True,
    doc="x · y; integers wrap around.",
)


def _div(x: Array, y: Array) -> Any:
    if x.dtype.kind not in "iu":
        return np.divide(_wide(x), _wide(y))
    _refuse("div", y == 0, "integer division by zero; select another divisor first")
    return np.floor_divide(x - np.fmod(x, y), y)  # without the remainder nothing is left to floor


def _rem(x: Array, y: Array) -> Any:
    if x.dtype.kind in "iu":
        _refuse("rem", y == 0, "integer remainder by zero; select another divisor first")
    return np.fmod(x, y)


div = Op(
    "div",
    infer=_rule("div", NUMBER),
    reference=elementwise(_div),
    doc="x / y; of integers truncated toward zero: by zero is an error, min / −1 wraps to min.",
)
rem = Op(
    "rem",
    infer=_rule("rem", REAL),
    reference=elementwise(_rem),
    doc="x − y · trunc(x / y), exact, with the sign of x (fmod, C's %); integer by zero: an error.",
)


def _integer_pow(x: Array, y: Array) -> Any:
    _refuse("pow", y < 0, "an integer to a negative power; cast to a float first")
    return np.power(x, y)


_reference_pow = {True: elementwise(_integer_pow), False: rounded(np.power)}

pow_ = Op(
    "pow",
    infer=_rule("pow", REAL),
    reference=lambda x, y: _reference_pow[dtype(x.dtype).is_integer](x, y),
    doc="xʸ as IEEE 754 pow; integers wrap around, and a negative exponent is an error.",
)
atan2 = Op(
    "atan2",
    infer=_rule("atan2", FLOAT),
    reference=rounded(np.arctan2),
    doc="The angle in radians of the point (y, x), in [−π, π]; the first operand is y.",
)


def _maximum(x: Array, y: Array) -> Any:
    return np.where(x == y, np.where(np.signbit(x), y, x), np.maximum(x, y))


def _minimum(x: Array, y: Array) -> Any:
    return np.where(x == y, np.where(np.signbit(x), x, y), np.minimum(x, y))


maximum = Op(
    "maximum",
    infer=_rule("maximum", REAL),
    reference=elementwise(_maximum),
    commutative=True,
    doc="The larger of x and y; NaN if either is NaN; −0 is below +0.",
)
minimum = Op(
    "minimum",
    infer=_rule("minimum", REAL),
    reference=elementwise(_minimum),
    commutative=True,
    doc="The smaller of x and y; NaN if either is NaN; −0 is below +0.",
)

and_ = Op(
    "and",
    infer=_rule("and", BITS),
    reference=elementwise(np.bitwise_and),
    commutative=True,
    doc="Bitwise; of i1, logical.",
)
or_ = Op(
    "or",
    infer=_rule("or", BITS),
    reference=elementwise(np.bitwise_or),
    commutative=True,
    doc="Bitwise; of i1, logical.",
)
xor = Op(
    "xor",
    infer=_rule("xor", BITS),
    reference=elementwise(np.bitwise_xor),
    commutative=True,
    doc="Bitwise; of i1, logical.",
)


def _amount(op: str, x: Array, amount: Array) -> tuple[Array, Array]:
    """The amount where it is below the width of x, else 0; and where it is not."""
    wide = compute(amount)
    _refuse(op, wide < 0, "negative shift amount; shift the other way instead")
    over = np.asarray(wide >= dtype(x.dtype).bits)
    return np.where(over, np.zeros_like(wide), wide), over


def _shift_left(x: Array, amount: Array) -> Array:
    count, over = _amount("shift_left", x, amount)
    wide = compute(x)
    return store(np.where(over, np.zeros_like(wide), np.left_shift(wide, count)), x.dtype)


def _shift_right(x: Array, amount: Array) -> Array:
    count, over = _amount("shift_right", x, amount)
    wide = compute(x)
    sign = np.where(wide < 0, -1, 0).astype(wide.dtype)
    return store(np.where(over, sign, np.right_shift(wide, count)), x.dtype)


shift_left = Op(
    "shift_left",
    infer=_rule("shift_left", INTEGER),
    reference=_shift_left,
    doc="x · 2ʸ, wrapped; an amount of the width or more gives 0, a negative one is an error.",
)
shift_right = Op(
    "shift_right",
    infer=_rule("shift_right", INTEGER),
    reference=_shift_right,
    doc="⌊x / 2ʸ⌋; an amount of the width or more gives 0 or −1, a negative one is an error.",
)
