"""The reduce kernel, against the meaning of the op."""

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.backends.native.library import library
from ptir.ir import dtype as element
from ptir.ops.accumulate import sum_accumulator
from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, NIBBLES, SIZES, WHOLE, laid, same
from tests.ops.calling import call as meaning

BY_LEVEL = pytest.mark.parametrize("level", levels())
KINDS = ("sum", "prod", "max", "min", "and", "or")
EIGHT = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
REAL = [*FLOATS, np.float64, *EIGHT, *WHOLE, *NIBBLES, np.bool_]
PAIRS = [(kind, dtype) for kind in KINDS for dtype in REAL]
PARTS = 1 << 8
AXES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((7, 33), (1,)), ((33, 7), (0,)), ((3, 17, 5), (0, 2)), ((2, 3, 40), (1,)), ((9,), (0,)),
    ((5, 1, 65), (1, 2)), ((40, 3), (0, 1)), ((3, 600), (0,)), ((600, 3), (1,)), ((4, 5), ()),
    ((2, 1100), (1,)), ((0, 4), (0,)), ((0, 4), (1,)), ((20, 0), (1,)), ((), ()),
]  # fmt: skip
RNG = np.random.default_rng(6)


def takes(kind, dtype):
    known = element(dtype)
    if kind in ("and", "or"):
        return not known.is_float
    return kind in ("max", "min") or known.kind != "bool"


SERVED = pytest.mark.parametrize("kind, dtype", [pair for pair in PAIRS if takes(*pair)])


def some(shape, dtype):
    known = element(dtype)
    if known.kind == "bool":
        return RNG.random(shape) < 0.7
    if known.is_integer:
        low, high = known.range
        numbers = RNG.integers(max(low, -(1 << 62)), min(high, 1 << 62), shape, endpoint=True)
        return np.asarray(numbers).astype(dtype)
    return np.asarray(RNG.standard_normal(shape) * 2).astype(dtype)


def reduced(kind, x, axes, *, accum=None, out=None, layout="plain", parts=None, **how):
    """What the kernel gives: it meets kept axes first, those that are reduced last."""
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = tuple(x.shape[i] for i in kept)
    found = laid(np.ones(shape, x.dtype if out is None else element(out).numpy), layout)
    number = library().dtypes[(accum or sum_accumulator(element(x.dtype))).name]
    more = [] if parts is None else [np.full((parts, *shape), np.nan)]
    flag = 0 if parts is None else PARTS
    given = laid(x, layout).transpose(*kept, *axes)
    call("reduce", KINDS.index(kind) | flag, number, len(axes), given, found, *more, **how)
    return np.array(found)


def close(found, wanted):
    """The same bits, or neighbours where sums in f64 in another order were rounded."""
    if same(found, wanted):
        return True
    if not element(found.dtype).is_float:
        return False
    a, b = (np.asarray(v, np.float64) for v in (found, wanted))
    step = float(ml_dtypes.finfo(found.dtype).eps)
    rounding = 1e-13 if found.dtype == np.float64 else 0.0
    return bool(np.allclose(a, b, rtol=max(step, rounding), atol=1e-13, equal_nan=True))


@BY_LEVEL
@SERVED
def test_a_reduction_is_its_meaning(level, kind, dtype):
    for shape, axes in AXES:
        x = some(shape, dtype)
        wanted = meaning(ops.reduce, x, kind=kind, axes=axes)
        for layout in LAYOUTS:
            for parts in (None, 3):
                found = reduced(kind, x, axes, layout=layout, parts=parts, level=level)
                assert close(found, wanted), (shape, axes, layout, parts)


@BY_LEVEL
@SERVED
def test_every_size_reduces_along_rows_and_columns(level, kind, dtype):
    for size in SIZES:
        for shape, axis in (((3, size), 1), ((size, 20), 0), ((size, 3), 0)):
            x = some(shape, dtype)
            wanted = meaning(ops.reduce, x, kind=kind, axes=(axis,))
            assert close(reduced(kind, x, (axis,), level=level), wanted), shape


@BY_LEVEL
@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", [*FLOATS, np.float64])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, -0.0])
def test_NaN_infinities_and_zeros_go_through(level, kind, dtype, value):
    for size, at in ((1, 0), (3, 2), (33, 32), (129, 7), (129, 128), (700, 600)):
        for fill in (0.0, 1.5):
            x = np.full((size, 40), fill, dtype)
            x[at, 5:] = value
            for array, axis in ((x, 0), (np.ascontiguousarray(x.T), 1)):
                wanted = meaning(ops.reduce, array, kind=kind, axes=(axis,))
                found = reduced(kind, array, (axis,), level=level)
                assert close(found, wanted)
                assert (np.signbit(found) == np.signbit(wanted))[~np.isnan(wanted)].all()


@BY_LEVEL
@pytest.mark.parametrize("accum", ["si8", "ui8", "si16", "ui32", "si64", "ui64"])
@pytest.mark.parametrize("kind", ["sum", "prod"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_integers_wrap_around_in_accum_and_saturate_in_out(level, accum, kind, dtype):
    x = some((6, 50), dtype)
    for out in ("si8", "ui8", "si32", "ui64"):
        given = {"accum_dtype": element(accum), "out_dtype": element(out)}
        for axis in (0, 1):
            wanted = meaning(ops.reduce, x, kind=kind, axes=(axis,), **given)
            found = reduced(kind, x, (axis,), accum=element(accum), out=out, level=level)
            assert same(found, wanted)


@BY_LEVEL
@pytest.mark.parametrize("accum", ["f32", "f64"])
@pytest.mark.parametrize("out", ["f32", "f64", "bf16", "f16", "f8e4m3", "f8e5m2"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_floats_are_rounded_to_accum_and_then_to_out(level, accum, out, dtype):
    x = some((64, 3), dtype)
    x[:, 0] = [2.0**-i for i in range(64)]
    given = {"accum_dtype": element(accum), "out_dtype": element(out)}
    for kind in ("sum", "prod"):
        wanted = meaning(ops.reduce, x, kind=kind, axes=(0,), **given)
        assert close(reduced(kind, x, (0,), accum=element(accum), out=out, level=level), wanted)


@BY_LEVEL
def test_a_sum_in_f64_is_rounded_once(level):
    ties = [1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, -1 - 3 * 2.0**-8]
    least = 2.0**-30  # of which f32 sees nothing here
    x = np.array([[tie, sign * least] for tie in ties for sign in (1, -1)], np.float32)
    to = {"accum_dtype": element("f64"), "out_dtype": element("bf16")}
    wanted = meaning(ops.reduce, x, kind="sum", axes=(1,), **to)
    assert same(reduced("sum", x, (1,), accum=element("f64"), out="bf16", level=level), wanted)
    assert wanted[:4].tolist() == [1 + 2.0**-7, 1, 1 + 2.0**-6, 1 + 2.0**-7]


@BY_LEVEL
@pytest.mark.parametrize("shape, axis", [((3, 4, 20), 2), ((20, 3, 40), 0)])
def test_results_lie_in_any_order(level, shape, axis):
    x = some(shape, np.float32)
    wanted = meaning(ops.reduce, x, kind="sum", axes=(axis,))
    out = np.ones(wanted.shape[::-1], np.float32).T
    f32 = library().dtypes["f32"]
    call("reduce", 0, f32, 1, np.moveaxis(x, axis, -1), out, level=level)
    assert close(np.array(out), wanted)


@BY_LEVEL
@pytest.mark.parametrize("dtype", EIGHT)
def test_every_8_bit_float_goes_through_its_sum(level, dtype):
    x = np.arange(256, dtype=np.uint8).view(dtype)[:, None]
    pairs = np.stack(np.broadcast_arrays(x, x.T), -1)
    for kind in ("sum", "prod", "max"):
        wanted = meaning(ops.reduce, pairs, kind=kind, axes=(2,)).astype(np.float32)
        assert same(reduced(kind, pairs, (2,), level=level).astype(np.float32), wanted)


@BY_LEVEL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_many_ones_as_f32_can_count_sum_right(level, dtype):
    x = np.ones((1 << 24) + 2, dtype)
    assert reduced("sum", x, (0,), level=level) == (1 << 24) + 2
    assert reduced("sum", x.reshape(-1, 2), (0,), level=level).tolist() == [(1 << 23) + 1] * 2
    assert reduced("sum", x, (0,), parts=64, threads=2, level=level) == (1 << 24) + 2


@BY_LEVEL
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16, np.int8])
@pytest.mark.parametrize("shape, axis", [((129, 700), 1), ((700, 129), 0), ((90000,), 0)])
def test_threads_do_not_change_a_bit(level, dtype, shape, axis):
    x = some(shape, dtype)
    for kind in ("sum", "max"):
        for parts in (None, 7):
            made = [
                reduced(kind, x, (axis,), parts=parts, threads=n, level=level) for n in (1, 2, 3)
            ]
            assert all(same(made[0], other) for other in made[1:])


@BY_LEVEL
def test_axes_that_are_broadcast_count_every_time(level):
    x = np.broadcast_to(some((1, 40, 1), np.float32), (5, 40, 3))
    for axes in ((0,), (2,), (0, 2), (0, 1, 2)):
        wanted = meaning(ops.reduce, x, kind="sum", axes=axes)
        kept = [i for i in range(3) if i not in axes]
        out = np.ones(wanted.shape, np.float32)
        f32 = library().dtypes["f32"]
        call("reduce", 0, f32, len(axes), x.transpose(*kept, *axes), out, level=level)
        assert close(out, wanted)


@BY_LEVEL
def test_what_has_no_reduction_refuses(level):
    whole, number = np.ones((2, 3), np.int32), np.ones((2, 3), np.float32)
    out = np.ones(2, np.float32)
    f32, si64 = (library().dtypes[name] for name in ("f32", "si64"))
    for words in (
        (0, f32, 1, number, out.astype(np.int32)),
        (0, si64, 1, number, out),
        (0, f32, 1, whole, out),
        (4, f32, 1, number, out),
        (6, f32, 1, number, out),
        (0, f32, 1, number.astype(np.complex64), out.astype(np.complex64)),
        (PARTS, f32, 1, number, out, np.ones(1)),
    ):
        with pytest.raises(Refused):
            call("reduce", *words, level=level)
