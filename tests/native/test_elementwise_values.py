"""What the instructions of the elementwise kernel compute: bounds in ULP, special values."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ptir.ir import dtype
from tests.native.calling import levels
from tests.native.chains import apply, one, run, ulps
from tests.native.layouts import FLOATS, WHOLE, same

BY_LEVEL = pytest.mark.parametrize("level", levels())

EXACT = ("neg", "abs", "sign", "floor", "ceil", "round", "is_finite")
BOUNDS = {
    "sqrt": 1, "reciprocal": 1, "rsqrt": 2,
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "tanh", "erf"), 4),
    "logistic": 4,
}  # fmt: skip
BINARY = {"add": 1, "sub": 1, "mul": 1, "div": 1, "rem": 0, "maximum": 0, "minimum": 0}
BINARY_BOUNDS = {**BINARY, "pow": 8, "atan2": 4}
COMPARE = tuple(f"compare_{x}" for x in ("lt", "le", "eq", "ge", "gt", "ne"))
INTEGER = ("add", "sub", "mul", "maximum", "minimum", "and", "or", "xor", *COMPARE)


@pytest.fixture(autouse=True)
def _faults_are_results():
    """Among all bit patterns are signalling NaNs, which NumPy warns of wherever they turn up."""
    with np.errstate(all="ignore"):
        yield


def all_bits(kind: Any) -> Any:
    return np.arange(65536).astype(np.uint16).view(kind)


def spread(step: int) -> Any:
    """Floats of every size: each `step`-th bit pattern of f32."""
    return np.arange(0, 2**32, step).astype(np.uint32).view(np.float32)


def around(values: Any) -> Any:
    """Floats within a few units of these."""
    bits = np.asarray(values, np.float32).view(np.int32)
    return (bits[:, None] + np.arange(-40, 41)).astype(np.int32).reshape(-1).view(np.float32)


def special(kind: Any) -> Any:
    """±0, ±inf, NaN, subnormals, ±max, 1 ± ulp, and what powers and remainders look at."""
    info: Any = ml_dtypes.finfo(kind)
    one_ = np.ones((), kind)
    plain = [0, np.inf, info.smallest_subnormal, 3 * float(info.smallest_subnormal), info.max]
    plain += [info.smallest_normal, 1, 2, 3, 0.5, 2.5, 7, 255, 1e-3, 100, 30.5]
    plain += [1 + float(info.eps), 1 - float(info.eps) / 2]
    values = np.array([float(x) for x in plain]).astype(kind)
    return np.concatenate([values, -values, [np.nan * one_]]).astype(kind)


def squared(values: Any) -> Any:
    return [x.reshape(-1) for x in np.meshgrid(values, values)]


# --- one operand ---


@BY_LEVEL
@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("name", [*EXACT, *BOUNDS])
def test_every_narrow_float_has_its_value(level, kind, name):
    x = all_bits(kind)
    found, wanted = apply(name, x, level=level), one(name, x)
    if name in EXACT or name in ("sqrt", "reciprocal"):
        assert same(found, wanted)
    else:
        assert ulps(found, wanted.astype(np.float64)).max() <= 1


@BY_LEVEL
@pytest.mark.parametrize("name", [*EXACT, *BOUNDS])
def test_f32_of_every_size_are_within_the_bound(level, name):
    edges = [0.0, -0.0, 1, -1, 88.72284, -87.33655, -103.97208, 0.9277344, 4, 16, 0.6931472]
    edges += [2.0**23, 2.0**24, 65536, 7e4, 1e9, 3e38, np.pi, np.pi / 2, 1.1754944e-38, 710]
    edges += [float(k * np.pi / 2) for k in (*range(3, 40), 1001, 12345, 41721)]
    x = np.concatenate([spread(3989), around(edges), around(-np.array(edges))])
    truth = one(name, x.astype(np.float64))
    found = apply(name, x, level=level)
    if name == "is_finite":
        assert same(found, truth)
    else:
        off = ulps(found, truth)
        assert off.max() <= BOUNDS.get(name, 0), (x[off.argmax()], found[off.argmax()])


@BY_LEVEL
@pytest.mark.parametrize("name", [*EXACT, *BOUNDS])
def test_f64_is_that_of_the_reference(level, name):
    x = np.concatenate([spread(2**20 - 1).astype(np.float64), special(np.float64)])
    found, wanted = apply(name, x, level=level), one(name, x)
    if name in EXACT:
        assert same(found, wanted)
    else:
        assert ulps(found, wanted).max() <= 4


# --- two and three operands ---


@BY_LEVEL
@pytest.mark.parametrize("kind", [*FLOATS, np.float64])
@pytest.mark.parametrize("name", [*BINARY_BOUNDS, *COMPARE])
def test_special_values_meet_each_other_as_ieee_says(level, kind, name):
    x, y = squared(special(kind))
    found, wanted = apply(name, x, y, level=level), one(name, x, y)
    if name in ("pow", "atan2"):
        off = ulps(found, wanted.astype(np.float64))
        bad = off > (BINARY_BOUNDS[name] if kind is np.float32 else 4)
        assert not bad.any(), (x[bad][:5], y[bad][:5], found[bad][:5], wanted[bad][:5])
    else:
        assert same(found, wanted)


@BY_LEVEL
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "rem", "pow", "atan2"])
def test_pairs_of_f32_are_within_the_bound(level, name):
    random = np.random.default_rng(5)
    for scale in ("all", "small", "near"):
        x, y = (
            random.integers(0, 2**32, 50_000).astype(np.uint32).view(np.float32)
            if scale == "all"
            else (random.normal(size=50_000) * 9).astype(np.float32)
            for _ in range(2)
        )
        if scale == "near":
            x = (1 + x / 1e4).astype(np.float32)
            y = y * np.float32(2000)
        truth = one(name, x.astype(np.float64), y.astype(np.float64))
        off = ulps(apply(name, x, y, level=level), truth)
        assert off.max() <= BINARY_BOUNDS[name], (x[off.argmax()], y[off.argmax()])


@BY_LEVEL
@pytest.mark.parametrize("kind", [*FLOATS, np.float64])
def test_clamp_is_the_minimum_of_the_maximum(level, kind):
    values = special(kind)[::3]
    x, low, high = [a.reshape(-1) for a in np.meshgrid(values, values, values)]
    assert same(apply("clamp", x, low, high, level=level), one("clamp", x, low, high))


@BY_LEVEL
@pytest.mark.parametrize("kind", [*FLOATS, np.float64, *WHOLE, np.bool_])
def test_select_takes_the_bits_of_one_side(level, kind):
    chosen = np.arange(301) % 3 == 0
    x, y = np.arange(301).astype(kind), np.arange(301)[::-1].astype(kind)
    out = np.zeros(301, kind)
    name = dtype(np.dtype(kind)).name
    run(out, [chosen, x, y], ("select", name, 3, 0, 1, 2), level=level)
    assert same(out, np.where(chosen, x, y))


# --- integers and truth values ---


def edges(kind: Any) -> Any:
    info = np.iinfo(kind)
    values = [0, 1, 2, 3, 5, 7, 8, 11, 100, info.max, info.max - 1, info.max // 3, info.min]
    values += [info.min + 1, info.min // 2 - 1] + [2**k for k in range(info.bits - 1)]
    values += [-1, -2, -7, -100] if info.min < 0 else []
    return np.array([v for v in values if info.min <= v <= info.max], kind)


@BY_LEVEL
@pytest.mark.parametrize("kind", WHOLE)
def test_integers_wrap_around(level, kind):
    x, y = squared(edges(kind))
    for name in INTEGER:
        assert same(apply(name, x, y, level=level), one(name, x, y)), name
    for name in ("neg", "abs", "sign", "not", "popcount"):
        assert same(apply(name, x, level=level), one(name, x)), name
    z = np.roll(x, 17)
    assert same(apply("clamp", x, y, z, level=level), one("clamp", x, y, z))


@BY_LEVEL
@pytest.mark.parametrize("kind", WHOLE)
def test_integer_quotients_powers_and_shifts_are_those_of_the_reference(level, kind):
    x, y = squared(edges(kind))
    for name, good in [
        ("div", y != 0), ("rem", y != 0), ("pow", y >= 0),
        ("shift_left", y >= 0), ("shift_right", y >= 0),
    ]:  # fmt: skip
        found = apply(name, x[good], y[good], level=level)
        assert same(found, one(name, x[good], y[good])), name


@BY_LEVEL
def test_truth_values_are_combined(level):
    x, y = np.arange(200) % 2 == 0, np.arange(200) % 3 == 0
    for name in ("and", "or", "xor", *COMPARE):
        assert same(apply(name, x, y, level=level), one(name, x, y)), name
    assert same(apply("not", x, level=level), ~x)


# --- casts ---

KINDS = (np.bool_, *WHOLE, *FLOATS, np.float64)


def to_cast(kind: Any) -> Any:
    """All values of 8 and 16 bits; of others those around every power of two and every limit."""
    size = np.dtype(kind).itemsize
    if kind is np.bool_:
        return np.array([False, True])
    if size <= 2:
        return np.arange(2 ** (8 * size)).astype(f"u{size}").view(kind)
    random = np.random.default_rng(2).integers(0, 256, 8 * 20_000).astype(np.uint8).view(kind)
    if np.dtype(kind).kind != "f":
        near = [2**k + d for k in range(65) for d in (-2, -1, 0, 1, 2, 2 ** max(k - 9, 0))]
        near += [2**k + 2 ** max(k - 8, 0) + d for k in range(65) for d in (-1, 0, 1)]
        info = np.iinfo(kind)
        signed = [s * v for v in near for s in (1, -1) if info.min <= s * v <= info.max]
        return np.concatenate([random, np.array(signed, kind)])
    powers = 2.0 ** np.arange(-149, 128)
    halves = np.concatenate([powers * (1 + d) for d in (0, 2**-8, 2**-9, 2**-11, 2**-12, 2**-24)])
    sides = np.concatenate([halves, halves * (1 + 2**-40), halves * (1 - 2**-40), halves - 0.5])
    return np.concatenate([random, sides.astype(kind), -sides.astype(kind), special(kind)])


@BY_LEVEL
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", KINDS)
def test_a_cast_rounds_once_and_saturates(level, kind, to):
    x, name = to_cast(kind), dtype(np.dtype(to)).name
    out = np.zeros(x.shape, to)
    run(out, [x], ("cast", dtype(np.dtype(kind)).name, 1, 0, name), level=level)
    wanted = one("cast", x, name)
    bad = (out != wanted) & ~np.isnan(wanted.astype(np.float64))
    assert same(out, wanted), (x[bad][:5], out[bad][:5], wanted[bad][:5])
