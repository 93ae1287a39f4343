"""What exact tests stand on: every value of a narrow dtype, edge values, rounding by table.

Nothing here uses the package's own arithmetic.
"""

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from ptir.ir import DType, DTypeLike, dtype

Array = np.ndarray[Any, Any]

NARROW_FLOATS = ("f8e4m3", "f8e5m2", "bf16", "f16")
FLOATS = (*NARROW_FLOATS, "f32", "f64")
INTEGERS = ("si4", "ui4", "si8", "ui8", "si16", "ui16", "si32", "ui32", "si64", "ui64")


def patterns(of: DTypeLike) -> Array:
    """Every bit pattern of a dtype of at most 16 bits."""
    element = dtype(of)
    if element.bits == 4:
        return np.arange(*_half_open(element)).astype(element.numpy)
    return np.arange(1 << element.bits, dtype=f"u{element.bits // 8}").view(element.numpy)


def edges(of: DTypeLike) -> Array:
    """The special values of a dtype: zeros, ones and neighbours, extremes, infinities, NaN."""
    element = dtype(of)
    if element.kind == "bool":
        return np.array([False, True])
    if element.is_integer:
        low, high = element.range
        near = {low, low + 1, -2, -1, 0, 1, 2, 3, 5, 7, high // 2, high - 1, high}
        return np.array([v for v in sorted(near) if low <= v <= high], element.numpy)
    if element.is_complex:
        parts = [0.0, -0.0, 1.0, -2.5, 0.375]
        return np.array([complex(a, b) for a in parts for b in parts], element.numpy)
    info: Any = ml_dtypes.finfo(element.numpy)
    tiny, least = float(info.smallest_normal), float(info.smallest_subnormal)
    positive = [0.0, least, tiny - least, tiny, 0.5, 1 - float(info.epsneg), 1.0]
    positive += [1 + float(info.eps), 1.5, 2.5, 3.0, 7.0, float(info.max), np.inf]
    with np.errstate(all="ignore"):  # f8e4m3 has no infinity: it stays a NaN there
        return np.array([*positive, *(-v for v in positive), np.nan]).astype(element.numpy)


def widened(values: Array) -> Array:
    """Narrow floats in f64, signalling NaNs made quiet."""
    with np.errstate(invalid="ignore"):
        return np.asarray(values.astype(np.float64))


def squared(values: Array) -> tuple[Array, Array]:
    """Every ordered pair of `values`, as two arrays of rank 1."""
    return np.repeat(values, len(values)), np.concatenate([values] * len(values))


@cache
def _table(of: DType) -> Array:
    """The values that are not negative in the order of their bits, then where the next would be."""
    words = np.arange(1 << (of.bits - 1), dtype=f"u{of.bits // 8}")
    values = widened(words.view(of.numpy))
    finite = values[np.isfinite(values)]
    return np.append(finite, 2 * finite[-1] - finite[-2])


def nearest(values: Array, of: DTypeLike) -> Array:
    """f64 `values` rounded to nearest even in a float dtype: by table if narrow."""
    element = dtype(of)
    with np.errstate(all="ignore"):
        if element.bits > 16:
            return np.asarray(values).astype(element.numpy)
    table, size = _table(element), np.abs(np.where(np.isnan(values), 0.0, values))
    above = np.clip(np.searchsorted(table, size, side="left"), 1, len(table) - 1)
    middle = (table[above - 1] + table[above]) / 2  # exact: a few bits more than the dtype has
    up = (size > middle) | ((size == middle) & (above % 2 == 0))
    index = np.where(up, above, above - 1)
    over = index == len(table) - 1
    rounded = np.where(over, np.nan if element.name == "f8e4m3" else np.inf, table[index])
    signed = np.copysign(np.where(np.isnan(values), np.nan, rounded), values)
    return np.asarray(signed).astype(element.numpy)


def wrapped(value: int, of: DTypeLike) -> int:
    """`value` modulo 2**bits, in the range of an integer dtype."""
    low, high = dtype(of).range
    return (value - low) % (high - low + 1) + low


def same(got: Array, want: Array) -> None:
    """Assert equal dtype, shape and bits, where any NaN is as good as another."""
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if dtype(want.dtype).kind in ("float", "complex"):
        wide = np.complex128 if dtype(want.dtype).is_complex else np.float64
        with np.errstate(invalid="ignore"):
            got, want = got.astype(wide), want.astype(wide)
    differs = got != want
    if want.dtype.kind in "fc":
        differs = _part_differs(got.real, want.real) | _part_differs(got.imag, want.imag)
    where = np.flatnonzero(differs)
    first = [(got.reshape(-1)[i], want.reshape(-1)[i]) for i in where[:5]]
    assert not len(where), f"{len(where)} of {want.size} differ at {where[:5]}: (got, want) {first}"


def within(got: Array, truth: Array, ulp: float) -> None:
    """Assert that floats are within `ulp` units in the last place of f64 `truth`, one more if they
    are narrow; complex ones by their magnitude. What rounds to no finite number must be just that.
    """
    if dtype(got.dtype).is_complex:
        with np.errstate(over="ignore"):
            finite = np.isfinite(truth.astype(got.dtype))
        assert not np.isfinite(got[~finite]).any()
        got, truth = np.where(finite, got, 0), np.where(finite, truth, 0)
        bound = ulp * _spacing(np.abs(truth), got.real.dtype)
        error = np.abs(got.astype(np.complex128) - truth)
    else:
        rounded = widened(nearest(truth, dtype(got.dtype)))
        finite = np.isfinite(rounded)
        same(np.where(finite, 0, widened(got)), np.where(finite, 0, rounded))
        allowed = ulp + (dtype(got.dtype).bits < 32)
        bound = allowed * _spacing(np.where(finite, rounded, 0), got.dtype)
        error = np.abs(np.where(finite, widened(got), 0) - np.where(finite, truth, 0))
    where = np.flatnonzero(~(error <= bound))
    first = [(got.reshape(-1)[i], truth.reshape(-1)[i]) for i in where[:5]]
    assert not len(where), f"{len(where)} of {got.size} are off at {where[:5]}: (got, f64) {first}"


def _spacing(values: Array, of: DTypeLike) -> Array:
    """The distance between a finite value and the next larger one of a float dtype."""
    info: Any = ml_dtypes.finfo(dtype(of).numpy)
    power = np.frexp(np.abs(values))[1] - 1
    spacing = np.ldexp(float(info.eps), power)
    return np.asarray(np.maximum(spacing, float(info.smallest_subnormal)))


def _part_differs(got: Array, want: Array) -> Array:
    zeros = (got == 0) & (want == 0) & (np.signbit(got) != np.signbit(want))
    return np.asarray(((got != want) & ~(np.isnan(got) & np.isnan(want))) | zeros)


def _half_open(of: DType) -> tuple[int, int]:
    low, high = of.range
    return low, high + 1
