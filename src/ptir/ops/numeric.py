"""The exact PTIR cast and the dtype that narrow elements compute in. Knows no op, no shape rule."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ptir.ir import DType, DTypeLike, SpecError, dtype

Array = np.ndarray[Any, Any]

_WIDENED = dict.fromkeys(("f8e4m3", "f8e5m2", "bf16", "f16"), "f32")
_WIDENED |= {"si4": "si8", "ui4": "ui8"}


def compute(array: Array) -> Array:
    """`array` in the dtype it computes in: f8, bf16, f16 in f32, 4-bit in 8 bits, others as is."""
    name = dtype(array.dtype).name
    if name not in _WIDENED:
        return array
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return np.asarray(array.astype(dtype(_WIDENED[name]).numpy))


def wrap(array: Array, to: DTypeLike) -> Array:
    """Integers modulo 2**bits of `to` (two's complement): what integer arithmetic stores."""
    want = dtype(to)
    if want.bits == 4:  # through 8 bits, whose low nibble is the value
        array = array.astype(np.int8 if want.kind == "int" else np.uint8)
    return np.asarray(array.astype(want.numpy))


def store(array: Array, to: DTypeLike) -> Array:
    """A computed result in dtype `to`: integers wrap around, floats are rounded once."""
    return wrap(array, to) if dtype(to).is_integer else convert(array, to)


def elementwise(meaning: Callable[..., Any]) -> Callable[..., Array]:
    """The reference of an op that keeps its operands' dtype, from its meaning as it computes."""

    def reference(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return store(np.asarray(meaning(*map(compute, arrays))), arrays[0].dtype)

    return reference


def rounded(meaning: Callable[..., Any]) -> Callable[..., Array]:
    """As `elementwise` for floats, through f64: narrower results are within half an ULP."""

    def reference(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            wide = (compute(x).astype(np.float64) for x in arrays)
            return convert(np.asarray(meaning(*wide)), arrays[0].dtype)

    return reference


def convert(array: Array, to: DTypeLike) -> Array:
    """The PTIR cast: every value rounded once.

    To a float: nearest, ties to even; f8e4m3 has no infinity, so what overflows is NaN there. Float
    to integer: toward zero, saturating, NaN gives 0. Integer to integer: saturating. `i1` is 0 or
    1, and whatever is not zero (NaN too) casts to true. Real to complex: the imaginary part is 0;
    complex to anything else is a `SpecError`.
    """
    have, want = dtype(array.dtype), dtype(to)
    if have is want:
        return array
    if have.is_complex and not want.is_complex:
        raise SpecError(
            "dtype", "cast", f"{have} to {want} drops a part; bitcast to floats, then take one"
        )
    with np.errstate(all="ignore"):  # overflow and NaN are results here
        return np.asarray(_converted(compute(array), want))


def _converted(array: Array, want: DType) -> Array:
    if want.kind == "bool":
        return np.asarray(array != 0)
    if want.is_integer:
        return _to_integer(array, want)
    if want.is_complex:
        part = np.float32 if want.name == "c64" else np.float64
        return (array if array.dtype.kind == "c" else array.astype(part)).astype(want.numpy)
    if want.name in ("f16", "f32", "f64"):
        # Once rounded: f32, through which NumPy takes integers to f16, holds all that fits in f16.
        return np.asarray(array.astype(want.numpy))
    return _odd_f32(array).astype(want.numpy)  # ml_dtypes rounds f32 once, and all else twice


def _to_integer(array: Array, want: DType) -> Array:
    low, high = want.range
    if array.dtype.kind == "f":
        return _truncated(array.astype(np.float64), want)
    if array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        array = np.clip(array, max(low, int(info.min)), min(high, int(info.max)))
    return wrap(array, want)


def _truncated(array: Array, want: DType) -> Array:
    low, high = want.range
    above, below = array >= float(high + 1), array < float(low)  # both bounds are exact in f64
    inside = ~(above | below | np.isnan(array))
    whole = np.where(inside, array, 0.0).astype(np.uint64 if want.kind == "uint" else np.int64)
    whole[above], whole[below] = high, low
    return wrap(whole, want)


def _odd_f32(array: Array) -> Array:
    """f32 whose last bit says that something did not fit (round to odd): rounding on is exact."""
    if array.dtype == np.float32:
        return array
    exact = _sticky_f64(array) if array.dtype.kind in "iu" else array.astype(np.float64)
    near = np.asarray(exact.astype(np.float32))
    back = near.astype(np.float64)
    bits = near.view(np.uint32) - (np.abs(back) > np.abs(exact))  # toward zero
    inexact = (back != exact) & ~np.isnan(exact)
    return np.asarray((bits | inexact).astype(np.uint32)).view(np.float32)


def _sticky_f64(array: Array) -> Array:
    """Integers in f64; from 2**53 on the low 11 bits are one bit that says whether any was set."""
    negative = array < 0
    magnitude = array.astype(np.uint64)
    magnitude = np.where(negative, ~magnitude + np.uint64(1), magnitude)
    low = magnitude & np.uint64(0x7FF)
    folded = (magnitude - low) | (low != 0).astype(np.uint64) << np.uint64(11)
    whole = np.where(magnitude >> np.uint64(53) != 0, folded, magnitude).astype(np.float64)
    return np.asarray(np.where(negative, -whole, whole))
