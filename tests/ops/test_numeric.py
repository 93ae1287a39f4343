"""The cast, held against rounding by table, exact Python numbers and Torch."""

import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
import pytest
import torch

from ptir.ir import SpecError, dtype
from ptir.ops.numeric import compute, convert, wrap
from tests.exact import FLOATS, INTEGERS, NARROW_FLOATS, edges, nearest, patterns, same, widened

TORCH = {
    "f8e4m3": torch.float8_e4m3fn,
    "f8e5m2": torch.float8_e5m2,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
}


def f64_around_every_midpoint(of):
    """Each value of a narrow float, each midpoint of neighbours, and the f64 next to these."""
    values = widened(patterns(of))
    finite = np.unique(values[np.isfinite(values)])
    ends = np.append(finite, 2 * finite[-1] - finite[-2])
    points = np.concatenate([finite, (ends[1:] + ends[:-1]) / 2])
    around = [points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)]
    return np.concatenate([*around, [np.inf, -np.inf, np.nan, 1e300, -1e300, 5e-324, -0.0]])


@pytest.mark.parametrize("to", NARROW_FLOATS)
def test_f64_rounds_once_around_every_midpoint(to):
    values = f64_around_every_midpoint(to)
    values = np.concatenate([values, -values])
    same(convert(values, to), nearest(values, to))


@pytest.mark.parametrize("to", NARROW_FLOATS)
def test_f32_rounds_as_torch(to):
    words = np.random.default_rng(0).integers(0, 1 << 32, 200_000, np.uint32)
    midpoints = np.nan_to_num(f64_around_every_midpoint(to), posinf=1e38, neginf=-1e38)
    with np.errstate(over="ignore"):
        values = np.concatenate([words.view(np.float32), midpoints.astype(np.float32)])
    same(convert(values, to), nearest(widened(values), to))
    if to == "f8e4m3":
        values = values[~(np.abs(values) > 464)]  # beyond, Torch saturates: it has no NaN rule
    rounded = torch.from_numpy(values).to(TORCH[to]).double().numpy()
    same(widened(convert(values, to)), rounded)


@pytest.mark.parametrize("to", FLOATS)
@pytest.mark.parametrize("source", NARROW_FLOATS)
def test_every_narrow_float_casts_to_the_nearest_float(source, to):
    values = patterns(source)
    exact = torch.from_numpy(values.view(f"i{values.itemsize}")).view(TORCH[source]).double()
    same(convert(values, to), nearest(exact.numpy(), to))


def exact_integer(value: float, low: int, high: int) -> int:
    if math.isnan(value):
        return 0
    if math.isinf(value):
        return high if value > 0 else low
    return min(max(math.trunc(value), low), high)


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("source", FLOATS)
def test_float_to_integer_truncates_and_saturates(source, to):
    values = patterns(source)[::7] if dtype(source).bits <= 16 else edges(source)
    near = np.array([2.0**k + d for k in (3, 4, 7, 8, 15, 16, 31, 32, 63, 64) for d in (-1, 0, 1)])
    values = np.concatenate([values, nearest(np.concatenate([near, -near]), source)])
    if source == "f64":
        values = np.concatenate([values, np.nextafter(near, 0), -np.nextafter(near, 0)])
    want = [exact_integer(float(v), *dtype(to).range) for v in values]
    same(convert(values, to), np.array(want, dtype(to).numpy))


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("source", INTEGERS)
def test_integer_to_integer_saturates(source, to):
    values = patterns(source) if dtype(source).bits <= 8 else edges(source)
    low, high = dtype(to).range
    want = [min(max(int(v), low), high) for v in values]
    same(convert(values, to), np.array(want, dtype(to).numpy))


def exact_float(value: int, table: list[Fraction]) -> float:
    """`value` to the nearest of `table` (in bit order, one beyond the largest), ties to even."""
    above = max(1, min(bisect_left(table, abs(value)), len(table) - 1))
    low, high = table[above - 1], table[above]
    below, over = abs(value) - low, high - abs(value)
    index = above if over < below or (over == below and above % 2 == 0) else above - 1
    size = math.inf if index == len(table) - 1 else float(table[index])
    return math.copysign(size, value) if value else 0.0


def awkward_integers(of):
    """Integers next to ties of every precision up to f64's."""
    low, high = dtype(of).range
    ties = (2**k + 2 ** (k - p) for k in range(5, 64) for p in (3, 4, 8, 9, 11, 24, 53) if p < k)
    near = {s * (t + d) for t in ties for d in (-1, 0, 1) for s in (1, -1)}
    return [v for v in sorted(near | {low, high, 0}) if low <= v <= high]


@pytest.mark.parametrize("to", FLOATS)
@pytest.mark.parametrize("source", ["si32", "ui32", "si64", "ui64"])
def test_integer_to_float_rounds_once(source, to):
    integers = awkward_integers(source)
    got = convert(np.array(integers, dtype(source).numpy), to)
    if to in ("f32", "f64"):
        digits = 24 if to == "f32" else 53
        want = [exact_binary(v, digits) for v in integers]
    else:
        words = np.arange(1 << (dtype(to).bits - 1), dtype=f"u{dtype(to).bits // 8}")
        values = widened(words.view(dtype(to).numpy))
        table = [Fraction(float(v)) for v in values[np.isfinite(values)]]
        table.append(2 * table[-1] - table[-2])
        want = [exact_float(v, table) for v in integers]
    if to == "f8e4m3":
        want = [math.nan if math.isinf(v) else v for v in want]
    same(widened(got), np.array(want))


def exact_binary(value: int, digits: int) -> float:
    """`value` to `digits` significant bits, ties to even."""
    drop = max(abs(value).bit_length() - digits, 0)
    return float(round(Fraction(value, 1 << drop)) << drop)  # Python rounds halves to even


@pytest.mark.parametrize("source", ["si4", "ui4", "si8", "ui8"])
@pytest.mark.parametrize("to", FLOATS)
def test_every_8_bit_integer_casts_to_the_nearest_float(source, to):
    values = patterns(source)
    same(convert(values, to), nearest(np.array([float(int(v)) for v in values]), to))


@pytest.mark.parametrize("name", (*FLOATS, *INTEGERS, "c64", "c128"))
def test_i1_is_whatever_is_not_zero(name):
    values = edges(name)
    want = [complex(v) != 0 if "c" in name else float(v) != 0 for v in values]
    if name[0] == "c":
        with pytest.raises(SpecError, match=r"\[dtype\]"):
            convert(values, "i1")
    else:
        same(convert(values, "i1"), np.array(want))
    same(convert(np.array([False, True]), name), np.array([0, 1]).astype(dtype(name).numpy))


def test_real_casts_to_complex_and_not_back():
    same(convert(np.array([1.5, -2]), "c64"), np.array([1.5, -2], np.complex64))
    awkward = np.array([2**54 + 3])
    same(convert(awkward, "c64"), awkward.astype(np.float32).astype(np.complex64))
    same(convert(np.array([1 + 2j]), "c64"), np.array([1 + 2j], np.complex64))
    with pytest.raises(SpecError, match="drops a part"):
        convert(np.array([1 + 2j]), "f64")


@pytest.mark.parametrize("name", ("i1", *FLOATS, *INTEGERS, "c64"))
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,), (2, 1, 3)])
def test_convert_keeps_the_shape(name, shape):
    source = np.ones(shape, np.float32)
    assert convert(source, name).shape == shape
    assert compute(convert(source, name)).shape == shape


def test_compute_widens_narrow_elements_exactly():
    for name in (*NARROW_FLOATS, "si4", "ui4"):
        values = patterns(name)
        wide = compute(values)
        assert wide.dtype == {"s": np.int8, "u": np.uint8}.get(name[0], np.dtype(np.float32))
        with np.errstate(invalid="ignore"):
            same(wide.astype(values.dtype), values)
    plain = np.arange(3)
    assert compute(plain) is plain


@pytest.mark.parametrize("to", INTEGERS)
def test_wrap_keeps_the_low_bits(to):
    values = np.arange(-70_000, 70_000, 13)
    low, high = dtype(to).range
    want = [(int(v) - low) % (high - low + 1) + low for v in values]
    same(wrap(values, to), np.array(want, dtype(to).numpy))
