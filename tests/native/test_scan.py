"""argmax, argmin and running totals, against the meaning of the ops."""

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.ir import dtype as element
from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, NIBBLES, SIZES, WHOLE, laid, same
from tests.ops.calling import call as meaning

BY_LEVEL = pytest.mark.parametrize("level", levels())
EIGHT = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
REAL = pytest.mark.parametrize("dtype", [*FLOATS, np.float64, *EIGHT, *WHOLE, *NIBBLES])
ARGS = pytest.mark.parametrize("name, op", [("argmax", ops.argmax), ("argmin", ops.argmin)])
LONGER = [*SIZES, 511, 512, 513, 1100]
KINDS = ("sum", "prod", "max", "min")
RNG = np.random.default_rng(7)


def some(shape, dtype, most=6):
    """Small numbers of few values, so that many are equal."""
    known = element(dtype)
    low = max(-most, known.range[0]) if known.is_integer else -most
    high = min(most, known.range[1]) if known.is_integer else most
    return RNG.integers(low, high, shape, endpoint=True).astype(np.int8).astype(dtype)


def index_of(name, x, layout="plain", out=np.int64, **how):
    found = laid(np.full(x.shape[:-1], 99, out), layout)
    call(name, laid(x, layout), found, **how)
    return np.array(found)


def totals(x, kind, exclusive, reverse, layout="plain", **how):
    found = laid(np.ones_like(x), layout)
    call("cumulative", KINDS.index(kind), exclusive, reverse, laid(x, layout), found, **how)
    return np.array(found)


# --- argmax, argmin ---


@BY_LEVEL
@REAL
@ARGS
def test_the_first_of_equals_has_the_index(level, dtype, name, op):
    for size in LONGER[1:]:
        x = some((2, 3, size), dtype)
        wanted = meaning(op, x, axis=-1)
        for layout in LAYOUTS:
            assert same(index_of(name, x, layout, level=level), wanted), (size, layout)


@BY_LEVEL
@ARGS
@pytest.mark.parametrize("dtype", [*FLOATS, np.float64])
def test_the_first_NaN_has_the_index(level, name, op, dtype):
    for size in (1, 3, 17, 129, 1100):
        for at in {0, size // 2, size - 1}:
            x = some((3, size), dtype)
            x[1, at:] = np.nan
            x[2, at] = -np.nan
            assert same(index_of(name, x, level=level), meaning(op, x, axis=-1))


@BY_LEVEL
@ARGS
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_zeros_of_both_signs_are_equal_and_infinities_count(level, name, op, dtype):
    zeros = np.where(RNG.random((50, 40)) < 0.5, 0.0, -0.0).astype(dtype)
    infinite = np.where(RNG.random((50, 40)) < 0.5, np.inf, -np.inf).astype(dtype)
    for x in (zeros, infinite, np.full((2, 600), -np.inf, dtype), np.full((2, 600), np.inf, dtype)):
        assert same(index_of(name, x, level=level), meaning(op, x, axis=-1))


@BY_LEVEL
@ARGS
def test_indices_are_of_any_wide_integer_type(level, name, op):
    x = some((4, 700), np.float32, 100)
    for out in (np.int32, np.uint32, np.int64, np.uint64):
        wanted = meaning(op, x, axis=-1, out_dtype=element(out))
        assert same(index_of(name, x, out=out, level=level), wanted)


@BY_LEVEL
def test_the_greatest_integers_are_told_apart(level):
    x = np.array([[1 << 63, (1 << 63) + 1, 0]], np.uint64)
    assert index_of("argmax", x, level=level).tolist() == [1]
    assert index_of("argmax", x.view(np.int64), level=level).tolist() == [2]
    assert index_of("argmin", x.view(np.int64), level=level).tolist() == [0]


@BY_LEVEL
@ARGS
def test_nothing_has_no_index(level, name, op):
    with pytest.raises(Refused):
        call(name, np.ones((2, 0), np.float32), np.ones(2, np.int64), level=level)
    with pytest.raises(Refused):
        call(name, np.ones((2, 3), np.complex64), np.ones(2, np.int64), level=level)


# --- cumulative ---


@BY_LEVEL
@REAL
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_running_totals_are_their_meaning(level, dtype, kind, exclusive, reverse):
    how = {"kind": kind, "exclusive": exclusive, "reverse": reverse}
    for size in LONGER:
        x = some((2, size), dtype, 6 if kind == "sum" else 2)
        wanted = meaning(ops.cumulative, x, axis=-1, **how)
        for layout in LAYOUTS:
            assert same(totals(x, layout=layout, level=level, **how), wanted), (size, layout)


@BY_LEVEL
@pytest.mark.parametrize("dtype", [*FLOATS, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_running_totals_of_any_floats_are_their_meaning(level, dtype, kind):
    x = RNG.standard_normal((5, 600)).astype(dtype)
    x[1, 300] = np.nan
    x[2, 4] = np.inf
    x[3, 6] = -np.inf
    x[4] = np.where(RNG.random(600) < 0.5, 0.0, -0.0)
    wanted = meaning(ops.cumulative, x, kind=kind, axis=-1)
    assert same(totals(x, kind, False, False, level=level), wanted)


@BY_LEVEL
def test_running_totals_in_place_are_the_same(level):
    for reverse in (0, 1):
        for exclusive in (0, 1):
            x = some((3, 1100), np.float32)
            wanted = totals(x, "sum", exclusive, reverse, level=level)
            call("cumulative", 0, exclusive, reverse, x, x, level=level)
            assert same(x, wanted)


@BY_LEVEL
def test_running_totals_have_the_type_of_x(level):
    x = np.ones((2, 3), np.float32)
    for kind, out in ((0, np.ones((2, 3))), (4, x), (0, np.ones((2, 3), np.float16))):
        with pytest.raises(Refused):
            call("cumulative", kind, 0, 0, x, out, level=level)


# --- both ---


@BY_LEVEL
def test_threads_do_not_change_a_bit(level):
    x = RNG.standard_normal((67, 515)).astype(np.float32)
    for name in ("argmax", "argmin"):
        one, two = (index_of(name, x, threads=n, level=level) for n in (1, 2))
        assert same(one, two)
    one, two = (totals(x, "sum", 0, 0, threads=n, level=level) for n in (1, 2))
    assert same(one, two)
