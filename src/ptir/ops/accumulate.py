"""What a reduction runs in, gives, and gives over nothing. Knows no op by name."""

from typing import Any

import numpy as np

from ptir.ir import DType, SpecError, dtype

from .numeric import Array, compute, convert
from .rule import BITS, NUMBER, REAL

# The combining function of each kind, and the kinds of dtype that it takes.
COMBINE: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}
TAKES: dict[str, frozenset[str]] = {
    "sum": NUMBER,
    "prod": NUMBER,
    "max": REAL | {"bool"},
    "min": REAL | {"bool"},
    "and": BITS,
    "or": BITS,
}

_F8E4M3_MAX = 448.0
_ORDER = {"max": 1, "min": -1}  # and the sign of the NaN that is beyond all other values


def identity(kind: str, element: DType) -> Any:
    """What `kind` gives over no elements: the value that changes no other."""
    if kind == "sum":
        return 0
    if kind == "prod":
        return 1
    if kind == "and" and element.kind == "int":
        return -1
    if kind in ("min", "and"):
        return bounds(element)[1]
    return bounds(element)[0] if kind == "max" else 0


def bounds(element: DType) -> tuple[Any, Any]:
    """The least and the greatest value of a real dtype: infinities, where it has them."""
    if not element.is_float:
        return element.range
    if element.name == "f8e4m3":  # the one float type without infinities
        return -_F8E4M3_MAX, _F8E4M3_MAX
    return -np.inf, np.inf


def sum_accumulator(element: DType) -> DType:
    """What sums and products accumulate in: f32 at least, 64 bits for integers."""
    if element.is_integer:
        return dtype("si64" if element.kind == "int" else "ui64")
    return dtype("f32") if element.is_float and element.bits < 32 else element


def accumulation(
    op: str, element: DType, default: DType, accum: DType | None, out: DType | None
) -> tuple[DType, DType]:
    """The dtypes that a sum over `element` runs in and gives, where `None` means the default.

    Refuses a change of class (integer, float, complex) and an accumulator that is narrower than the
    elements or than 32 bits (8 for integers).
    """
    for name, given in (("accum_dtype", accum), ("out_dtype", out)):
        if given is not None and _class(given) != _class(element):
            raise SpecError("dtype", op, f"{name} is {given} but x is {element}; cast x first")
    if accum is not None and accum.bits < max(8 if element.is_integer else 32, element.bits):
        raise SpecError(
            "dtype", op, f"{element} in accum_dtype={accum} loses digits; want {default} or wider"
        )
    return accum or default, out or element


def _class(element: DType) -> str:
    return "integer" if element.is_integer else element.kind


def widened(array: Array, kind: str, accum: DType) -> Array:
    """`array` in the dtype that NumPy combines it in.

    Sums and products of f32 and c64 run in twice the width and are rounded once, which is the truth
    that a backend's f32 accumulation approaches. Integers wrap around in `accum` itself. For max
    and min, floats are integers in the same order. `restored` is the way back.
    """
    if kind in _ORDER:
        wide = compute(array)
        return _as_integers(wide, kind) if wide.dtype.kind == "f" else wide
    if kind not in ("sum", "prod"):
        return compute(array)
    double = {"f32": "f64", "c64": "c128"}.get(accum.name, accum.name)
    return convert(array, double)


def neutral(kind: str, element: DType, accum: DType) -> Array:
    """What `kind` gives over no elements, of rank 0, as `widened` elements are."""
    return widened(np.array(identity(kind, element), element.numpy), kind, accum)


def restored(total: Any, kind: str, element: DType) -> Array:
    """The numbers that combined `widened` elements stand for, as wide as they were combined in."""
    array = np.asarray(total)
    if kind in _ORDER and element.is_float:
        return _flipped(array).view(f"f{array.dtype.itemsize}")
    return array


def _as_integers(x: Array, kind: str) -> Array:
    """Floats as integers in the same order, −0 below +0, NaN where `kind` ends.

    NumPy's own maximum returns either zero of two, as its vector units happen to take them.
    """
    nan = np.copysign(x.dtype.type(np.nan), _ORDER[kind])
    return _flipped(np.where(np.isnan(x), nan, x).view(f"i{x.dtype.itemsize}"))


def _flipped(bits: Array) -> Array:
    """Sign and magnitude to two's complement, and back."""
    sign = bits >> (8 * bits.dtype.itemsize - 1)  # 0 or −1
    return np.asarray(bits ^ (sign & np.iinfo(bits.dtype).max))
