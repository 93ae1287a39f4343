"""Binary ops on every pair of edges and small integers, against Torch in f64 and Python numbers."""

import math
import operator
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ptir import ops
from ptir.ir import OPS, SpecError, dtype
from tests.exact import FLOATS, INTEGERS, edges, nearest, patterns, same, squared, widened, wrapped
from tests.ops.calling import call


def fmod(x: float, y: float) -> float:
    """C's fmod, exact; Torch's is NaN where x / y overflows, and `math` raises instead."""
    bad = math.isnan(x) or math.isnan(y) or math.isinf(x) or y == 0
    return math.nan if bad else math.fmod(x, y)


TRUTH = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "rem": lambda x, y: torch.from_numpy(np.array(list(map(fmod, x.tolist(), y.tolist())))),
    "pow": torch.pow,
    "atan2": torch.atan2,
}
ROUNDED = ("pow", "atan2")  # the others are correctly rounded, whoever computes them


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("of", FLOATS)
def test_special_values_squared_are_f64_truth_rounded(name, of):
    x, y = squared(edges(of))
    want = TRUTH[name](torch.from_numpy(widened(x)), torch.from_numpy(widened(y))).numpy()
    got = call(OPS[name], x, y)
    if of == "f64" and name in ROUNDED:
        np.testing.assert_allclose(got, want, rtol=4.5e-16, atol=5e-324)
    else:
        same(got, nearest(want, of))


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("of", FLOATS)
def test_random_values_are_f64_truth_rounded(name, of):
    values = np.random.default_rng(2).normal(scale=4, size=(2, 5000))
    x, y = nearest(values, of)
    want = TRUTH[name](torch.from_numpy(widened(x)), torch.from_numpy(widened(y))).numpy()
    got = call(OPS[name], x, y)
    if of == "f64" and name in ROUNDED:
        np.testing.assert_allclose(got, want, rtol=9e-16)
    else:
        same(got, nearest(want, of))


def larger(a: float, b: float) -> float:
    """IEEE 754-2019 maximum, by its words."""
    if math.isnan(a) or math.isnan(b):
        return math.nan
    if a == b == 0:
        return a if math.copysign(1, a) > 0 else b
    return max(a, b)


@pytest.mark.parametrize("of", FLOATS)
def test_maximum_and_minimum_propagate_nan_and_order_zeros(of):
    x, y = squared(edges(of))
    pairs = list(zip(widened(x).tolist(), widened(y).tolist(), strict=True))
    same(widened(call(ops.maximum, x, y)), np.array([larger(a, b) for a, b in pairs]))
    same(widened(call(ops.minimum, x, y)), np.array([-larger(-a, -b) for a, b in pairs]))


def test_pow_is_IEEE_754_pow():
    table = [
        (1.0, math.nan, 1.0),
        (math.nan, 0.0, 1.0),
        (math.nan, -0.0, 1.0),
        (-1.0, math.inf, 1.0),
        (-1.0, -math.inf, 1.0),
        (-8.0, 1 / 3, math.nan),
        (-2.0, 3.0, -8.0),
        (0.0, -1.0, math.inf),
        (-0.0, -1.0, -math.inf),
        (-0.0, -2.0, math.inf),
        (-0.0, 3.0, -0.0),
        (0.5, -math.inf, math.inf),
        (-math.inf, 3.0, -math.inf),
        (-math.inf, -3.0, -0.0),
    ]
    x, y, want = np.array(table).T
    for of in ("bf16", "f16", "f32", "f64"):
        same(call(ops.pow_, nearest(x, of), nearest(y, of)), nearest(want, of))


def truncated(a: int, b: int) -> int:
    size = abs(a) // abs(b)
    return size if (a < 0) == (b < 0) else -size


def shifted_left(a: int, by: int, bits: int) -> int:
    return a << by if by < bits else 0


INTEGER_TRUTH: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": truncated,
    "rem": lambda a, b: a - b * truncated(a, b),
    "maximum": max,
    "minimum": min,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}


def integer_pairs(of):
    """Every pair of an 8-bit type's values (each third of one side) or of a wide type's edges."""
    if dtype(of).bits > 8:
        return squared(edges(of))
    values = patterns(of)
    kept = np.concatenate([edges(of), values[::3]])
    return np.repeat(values, len(kept)), np.concatenate([kept] * len(values))


@pytest.mark.parametrize("name", INTEGER_TRUTH)
@pytest.mark.parametrize("of", INTEGERS)
def test_integers_are_exact_modulo_their_width(name, of):
    x, y = integer_pairs(of)
    if name in ("div", "rem"):
        x, y = x[y.astype(bool)], y[y.astype(bool)]
    truth = INTEGER_TRUTH[name]
    want = [wrapped(truth(a, b), of) for a, b in zip(map(int, x), map(int, y), strict=True)]
    same(call(OPS[name], x, y), np.array(want, dtype(of).numpy))


@pytest.mark.parametrize("of", INTEGERS)
def test_integer_pow_wraps(of):
    exponents = np.array([0, 1, 2, 3, 5, 7], dtype(of).numpy)
    x, y = np.repeat(edges(of), 6), np.concatenate([exponents] * len(edges(of)))
    want = [wrapped(int(a) ** int(b), of) for a, b in zip(x, y, strict=True)]
    same(call(ops.pow_, x, y), np.array(want, dtype(of).numpy))


@pytest.mark.parametrize("of", INTEGERS)
def test_shifts_by_any_amount_are_defined(of):
    bits = dtype(of).bits
    amounts = [v for v in (0, 1, 2, 3, bits - 1, bits, bits + 1) if v <= dtype(of).range[1]]
    values = edges(of)
    x = np.repeat(values, len(amounts))
    y = np.array(amounts * len(values), dtype(of).numpy)
    pairs = list(zip(map(int, x), map(int, y), strict=True))
    left = [wrapped(shifted_left(a, b, bits), of) for a, b in pairs]
    same(call(ops.shift_left, x, y), np.array(left, dtype(of).numpy))
    right = [a >> b for a, b in pairs]  # Python's shift keeps the sign and has no width
    same(call(ops.shift_right, x, y), np.array(right, dtype(of).numpy))


@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_i1_is_logical(name):
    x, y = squared(edges("i1"))
    want = [INTEGER_TRUTH[name](bool(a), bool(b)) for a, b in zip(x, y, strict=True)]
    same(call(OPS[name], x, y), np.array(want))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("of", ["c64", "c128"])
def test_complex_arithmetic_is_torch_in_f64(name, of):
    x, y = squared(edges(of))
    if name == "div":
        x, y = x[y != 0], y[y != 0]
    wide = torch.from_numpy(x).to(torch.complex128), torch.from_numpy(y).to(torch.complex128)
    got = call(OPS[name], x, y)
    assert got.dtype == x.dtype
    np.testing.assert_allclose(got, TRUTH[name](*wide).numpy(), rtol=4 * np.finfo(of_part(of)).eps)


def of_part(of):
    return np.float32 if of == "c64" else np.float64


@pytest.mark.parametrize("name", ["div", "rem"])
@pytest.mark.parametrize("of", INTEGERS)
def test_an_integer_divisor_of_zero_is_an_error(name, of):
    x, y = np.ones((2, 2), dtype(of).numpy), np.array([[1, 1], [1, 0]]).astype(dtype(of).numpy)
    with pytest.raises(SpecError, match=r"by zero.*\[value\]"):
        call(OPS[name], x, y)


@pytest.mark.parametrize("name", ["pow", "shift_left", "shift_right"])
@pytest.mark.parametrize("of", ["si4", "si8", "si16", "si32", "si64"])
def test_a_negative_integer_amount_is_an_error(name, of):
    x, y = np.ones(3, dtype(of).numpy), np.array([0, 1, -1]).astype(dtype(of).numpy)
    with pytest.raises(SpecError, match=r"negative.*\[value\]"):
        call(OPS[name], x, y)
