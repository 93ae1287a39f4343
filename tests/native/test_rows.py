"""Norms and softmax of rows, against their formulas in f64."""

import ml_dtypes
import numpy as np
import pytest

from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, SIZES, laid, same

BY_LEVEL = pytest.mark.parametrize("level", levels())
FLOAT = pytest.mark.parametrize("dtype", FLOATS)
NORMS = pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
GAMMA, BETA, RESIDUAL, SUM = 1, 2, 4, 8
DIGITS = {np.dtype(np.float32): 24, np.dtype(ml_dtypes.bfloat16): 8, np.dtype(np.float16): 11}
LONG = (1 << 18) + 77  # more elements than a thread keeps of a row
STEP = 2.0**-23
RNG = np.random.default_rng(5)


def some(shape, dtype, scale=3.0):
    return (RNG.standard_normal(shape) * scale).astype(dtype)


def near(found, truth, steps, size=0.0):
    """Whether found is the truth within so many f32 steps, and half a step of its own type.

    `size` is that of the terms, where their sum may be smaller.
    """
    size = np.maximum(np.abs(truth), size)
    own = 2.0 ** -DIGITS[found.dtype] if found.dtype != np.float32 else 0.0
    bound = size * (steps * STEP + own) + 2.0**-25  # and half the least number of f16
    return bool((np.abs(found.astype(np.float64) - truth) <= bound).all())


def normalised(norm, x, eps):
    y = x.astype(np.float64)
    if norm == "layer_norm":
        y = y - y.mean(-1, keepdims=True)
    return y / np.sqrt((y * y).mean(-1, keepdims=True) + eps)


def soft(x, log=False):
    y = x.astype(np.float64)
    y = y - y.max(-1, keepdims=True)
    total = np.exp(y).sum(-1, keepdims=True)
    return y - np.log(total) if log else np.exp(y) / total


# --- norms ---


@BY_LEVEL
@FLOAT
@NORMS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_norms_are_their_formula(level, dtype, norm, layout):
    for size in SIZES:
        x, gamma, beta = (some(s, dtype) for s in ((3, size), size, size))
        given, out = laid(x, layout), laid(np.ones((3, size), dtype), layout)
        whole = normalised(norm, x, 1e-5) if size else x.astype(np.float64)
        for flags in (0, GAMMA, BETA, GAMMA | BETA):
            more = [laid(a, layout) for a, f in ((gamma, GAMMA), (beta, BETA)) if flags & f]
            g, b = (a.astype(np.float64) for a in (gamma, beta))
            scaled = whole * g if flags & GAMMA else whole
            truth = scaled + b if flags & BETA else scaled
            call(norm, flags, 1e-5, given, out, *more, level=level)
            unit = np.abs(g) if flags & GAMMA else 1.0  # what a step of the mean may become
            terms = np.abs(scaled) + unit + (np.abs(b) if flags & BETA else 0.0)
            assert near(out, truth, 4, terms), (size, flags)


@BY_LEVEL
@FLOAT
@NORMS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_norms_take_a_residual_and_give_the_sum(level, dtype, norm, layout):
    for size in SIZES[1:]:
        x, residual, gamma = (some(s, dtype) for s in ((2, 3, size), (2, 3, size), size))
        out, total = (laid(np.ones(x.shape, dtype), layout) for _ in range(2))
        added = (x.astype(np.float32) + residual.astype(np.float32)).astype(dtype)
        given = laid(x, layout), out, gamma, laid(residual, layout), total
        call(norm, GAMMA | RESIDUAL | SUM, 1e-3, *given, level=level)
        assert same(np.array(total), added)
        alone = np.ones(x.shape, dtype)
        call(norm, GAMMA, 1e-3, added, alone, gamma, level=level)
        assert same(np.array(out), alone)


@BY_LEVEL
@NORMS
def test_norms_mix_element_types_and_change_rows_in_place(level, norm):
    x, residual = some((5, 130), ml_dtypes.bfloat16), some((5, 130), np.float32)
    gamma, out = some(130, np.float16), np.ones((5, 130), np.float32)
    added = (x.astype(np.float32) + residual).astype(x.dtype)
    truth = normalised(norm, added, 1e-5) * gamma.astype(np.float64)
    call(norm, GAMMA | RESIDUAL, 1e-5, x, out, gamma, residual, level=level)
    assert near(out, truth, 8, np.abs(gamma.astype(np.float64)))
    given = some((5, 130), np.float32)
    wanted = np.ones_like(given)
    call(norm, RESIDUAL, 1e-5, given, wanted, residual, level=level)
    total = given + residual
    call(norm, RESIDUAL | SUM, 1e-5, given, given, residual, residual, level=level)
    assert same(given, wanted)
    assert same(residual, total)


@BY_LEVEL
@pytest.mark.parametrize("offset", [0.0, 100.0, 3e4])
def test_a_mean_far_from_zero_costs_no_digits(level, offset):
    x = (some((4, 3000), np.float32, 1.0) + np.float32(offset)).astype(np.float32)
    out = np.ones_like(x)
    call("layer_norm", 0, 1e-5, x, out, level=level)
    truth = normalised("layer_norm", x, 1e-5)
    assert near(out, truth, 4, 1.0)


@BY_LEVEL
@FLOAT
@NORMS
def test_norms_of_rows_too_long_to_keep_are_the_same(level, dtype, norm):
    x, residual, gamma = (some(s, dtype) for s in ((1, LONG), (1, LONG), LONG))
    added = (x.astype(np.float32) + residual.astype(np.float32)).astype(dtype)
    truth = normalised(norm, added, 1e-5) * gamma.astype(np.float64)
    call(norm, GAMMA | RESIDUAL | SUM, 1e-5, x, x, gamma, residual, residual, level=level)
    assert near(x, truth, 8, np.abs(gamma.astype(np.float64)))
    assert same(residual, added)


@BY_LEVEL
@NORMS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_makes_its_row_NaN_alone(level, norm, value):
    x = some((3, 40), np.float32)
    x[1, 37] = value
    out = np.ones_like(x)
    call(norm, 0, 1e-5, x, out, level=level)
    assert np.isnan(out[1, 37])
    assert np.isfinite(out[[0, 2]]).all()
    if norm == "layer_norm":
        assert np.isnan(out[1]).all()


# --- softmax ---


@BY_LEVEL
@FLOAT
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("log", [False, True])
def test_softmax_is_its_formula(level, dtype, layout, log):
    for size in SIZES:
        x = some((3, size), dtype, 10.0)
        out = laid(np.ones(x.shape, dtype), layout)
        call("softmax", int(log), laid(x, layout), out, level=level)
        truth = soft(x, log) if size else x.astype(np.float64)
        spread = np.ptp(x.astype(np.float64), -1, keepdims=True) if size else 0.0
        assert near(out, truth, 8, spread if log else 0.0), size


@BY_LEVEL
@FLOAT
@pytest.mark.parametrize("log", [False, True])
def test_softmax_of_rows_too_long_to_keep_is_the_same(level, dtype, log):
    x = some((1, LONG), dtype)
    truth = soft(x, log)
    call("softmax", int(log), x, x, level=level)
    assert near(x, truth, 32)


@BY_LEVEL
@pytest.mark.parametrize("at", [0, 1500, 2999])
def test_the_greatest_of_a_long_row_counts_wherever_it_is(level, at):
    x = some((1, 3000), np.float32)
    x[0, at] = 1000
    out = np.ones_like(x)
    call("softmax", 0, x, out, level=level)
    assert same(out, (np.arange(3000) == at).astype(np.float32)[None])


@BY_LEVEL
def test_softmax_in_place_is_softmax(level):
    x = some((5, 130), np.float32)
    out = np.ones_like(x)
    call("softmax", 0, x, out, level=level)
    call("softmax", 0, x, x, level=level)
    assert same(x, out)


@BY_LEVEL
@FLOAT
@pytest.mark.parametrize("size", [1, 3, 16, 40, 129])
def test_softmax_of_infinities_and_NaN_is_what_its_formula_gives(level, dtype, size):
    x = some((5, size), dtype)
    x[1] = -np.inf
    x[2, size // 2] = np.inf
    x[3, size - 1] = np.nan
    x[4, 1:] = -np.inf
    out = np.ones(x.shape, dtype)
    call("softmax", 0, x, out, level=level)
    assert np.isnan(out[1:4].astype(np.float32)).all()
    assert same(out[4], np.eye(1, size, dtype=np.float32)[0].astype(dtype))
    assert near(out[:1], soft(x[:1]), 8)


# --- both ---


@BY_LEVEL
@FLOAT
def test_threads_do_not_change_a_bit(level, dtype):
    x, gamma = some((67, 515), dtype), some(515, dtype)
    for name, words in (("layer_norm", (1, 1e-5)), ("rms_norm", (1, 1e-5)), ("softmax", (0,))):
        one, two = np.ones(x.shape, dtype), np.zeros(x.shape, dtype)
        more = (gamma,) if len(words) == 2 else ()
        call(name, *words, x, one, *more, level=level, threads=1)
        call(name, *words, x, two, *more, level=level, threads=2)
        assert same(one, two)


@BY_LEVEL
def test_types_that_are_not_served_refuse(level):
    x, wide = np.ones((2, 3), np.float32), np.ones((2, 3))
    for name, words in (("layer_norm", (0, 1e-5)), ("rms_norm", (0, 1e-5)), ("softmax", (0,))):
        for given in ((x, wide), (wide, x), (x, x.astype(np.int32))):
            with pytest.raises(Refused):
                call(name, *words, *given, level=level)
