"""Unary ops on every 8- and 16-bit value and on edges, against Torch in f64 and Python numbers."""

import math

import numpy as np
import pytest
import torch

from ptir import ops
from ptir.ir import OPS, dtype
from tests.exact import (
    FLOATS,
    INTEGERS,
    NARROW_FLOATS,
    edges,
    nearest,
    patterns,
    same,
    widened,
    wrapped,
)
from tests.ops.calling import call

TRUTH = {
    "neg": torch.neg,
    "abs": torch.abs,
    "sign": torch.sign,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "logistic": torch.sigmoid,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
}
SMOOTH = [name for name in TRUTH if name not in ("neg", "abs", "floor", "ceil", "round")]


def truth(name, values):
    return TRUTH[name](torch.from_numpy(widened(values))).numpy()


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("of", NARROW_FLOATS)
def test_every_narrow_float_gives_f64_truth_rounded(name, of):
    values = patterns(of)
    want = truth(name, values)
    if name == "sign":  # Torch keeps NaN out: its sign of NaN is 0
        want = np.where(np.isnan(widened(values)), np.nan, want)
    same(call(OPS[name], values), nearest(want, of))


def sampled(of):
    rng = np.random.default_rng(1)
    sizes = np.ldexp(rng.uniform(1, 2, 4000), rng.integers(-40, 12, 4000))
    signed = sizes * rng.choice([-1, 1], 4000)
    return np.concatenate([edges(of), signed.astype(dtype(of).numpy)])


@pytest.mark.parametrize("name", TRUTH)
def test_f32_is_f64_truth_rounded(name):
    values = sampled("f32")
    want = truth(name, values)
    if name == "sign":
        want = np.where(np.isnan(values), np.nan, want)
    same(call(OPS[name], values), nearest(want, "f32"))


@pytest.mark.parametrize("name", SMOOTH)
def test_f64_is_within_4_ulp_of_torch(name):
    values = sampled("f64")
    got, want = call(OPS[name], values), truth(name, values)
    if name == "sign":
        want = np.where(np.isnan(values), np.nan, want)
    same(np.isfinite(got), np.isfinite(want))
    finite = np.isfinite(want)
    bound = 4 * np.spacing(np.abs(want[finite])) + 2.3e-308  # Torch flushes some subnormals
    assert (np.abs(got[finite] - want[finite]) <= bound).all()
    same(got[~finite], want[~finite])
    same(np.signbit(got[values == 0]), np.signbit(want[values == 0]))


def test_erf_is_within_1e_15_of_math():
    x = np.concatenate([np.linspace(-6.5, 6.5, 26_001), np.geomspace(1e-300, 1, 2000)])
    want = np.array([math.erf(v) for v in x])
    got = call(ops.erf, x)
    assert (np.abs(got - want) <= 1e-15 * np.abs(want)).all()
    same(call(ops.erf, np.array([np.inf, -np.inf, np.nan, -0.0])), np.array([1, -1, np.nan, -0.0]))


INF, NAN = math.inf, math.nan
C99 = {  # annex F: operand and result; a NaN result of the NaN operand is every op's
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1)],
    "log": [(0.0, -INF), (-0.0, -INF), (1, 0.0), (-1, NAN), (INF, INF), (-INF, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1, -INF), (-2, NAN), (INF, INF)],
    "sqrt": [(0.0, 0.0), (-0.0, -0.0), (-1, NAN), (INF, INF), (-INF, NAN), (4, 2)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (-1, NAN), (INF, 0.0), (4, 0.5)],
    "reciprocal": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-INF, -0.0), (4, 0.25)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1)],
    "logistic": [(0.0, 0.5), (INF, 1), (-INF, 0.0), (-1e4, 0.0), (1e4, 1)],
    "floor": [(-0.0, -0.0), (0.9, 0.0), (-0.1, -1), (INF, INF), (-INF, -INF)],
    "ceil": [(-0.0, -0.0), (-0.9, -0.0), (0.1, 1), (INF, INF), (-INF, -INF)],
    "round": [(-0.0, -0.0), (0.5, 0.0), (-0.5, -0.0), (1.5, 2), (2.5, 2), (-2.5, -2), (INF, INF)],
    "sign": [(0.0, 0.0), (-0.0, 0.0), (INF, 1), (-3, -1)],
    "abs": [(-0.0, 0.0), (-INF, INF)],
    "neg": [(0.0, -0.0), (-0.0, 0.0), (INF, -INF)],
}


@pytest.mark.parametrize("name", C99)
@pytest.mark.parametrize("of", ["bf16", "f16", "f32", "f64"])
def test_special_values_are_those_of_C99(name, of):
    given, want = np.array([*C99[name], (NAN, NAN)]).T
    with np.errstate(over="ignore"):
        same(call(OPS[name], given.astype(dtype(of).numpy)), nearest(want, of))


def test_expm1_and_log1p_do_not_cancel():
    tiny = np.array([1e-20, -1e-20], np.float32)
    same(call(ops.expm1, tiny), tiny)
    same(call(ops.log1p, tiny), tiny)


def test_logistic_keeps_its_tail():
    got = call(ops.logistic, np.array([-720.0]))
    np.testing.assert_allclose(got, [math.exp(-720)], rtol=1e-6)  # subnormal, not flushed


@pytest.mark.parametrize("of", FLOATS)
def test_is_finite_is_neither_infinite_nor_nan(of):
    values = patterns(of) if dtype(of).bits <= 16 else edges(of)
    same(call(ops.is_finite, values), np.array([math.isfinite(float(v)) for v in values]))


INTEGER_TRUTH = {
    "neg": lambda v, of: wrapped(-v, of),
    "abs": lambda v, of: wrapped(abs(v), of),
    "sign": lambda v, of: (v > 0) - (v < 0),
    "not": lambda v, of: wrapped(~v, of),
    "popcount": lambda v, of: (v % 2 ** dtype(of).bits).bit_count(),
}


@pytest.mark.parametrize("name", INTEGER_TRUTH)
@pytest.mark.parametrize("of", INTEGERS)
def test_integers_are_twos_complement(name, of):
    values = patterns(of) if dtype(of).bits <= 8 else edges(of)
    want = [INTEGER_TRUTH[name](int(v), of) for v in values]
    same(call(OPS[name], values), np.array(want, values.dtype))


def test_not_negates_i1():
    same(call(ops.not_, np.array([False, True])), np.array([True, False]))


@pytest.mark.parametrize("of", ["c64", "c128"])
def test_complex_has_neg_and_a_real_magnitude(of):
    values = edges(of)
    same(call(ops.neg, values), -values)
    magnitude = [math.hypot(v.real, v.imag) for v in values.tolist()]
    got = call(ops.abs_, values)
    assert got.dtype == (np.float32 if of == "c64" else np.float64)
    np.testing.assert_allclose(got, magnitude, rtol=2 * np.finfo(got.dtype).eps)
