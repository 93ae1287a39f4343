"""Kernels that read and write at computed positions, against their NumPy meaning."""

from math import prod

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, NIBBLES, SIZES, WHOLE, laid, same, some
from tests.ops.calling import reference

BY_LEVEL = pytest.mark.parametrize("level", levels())
THREADS = pytest.mark.parametrize("threads", [1, 2])
KINDS = {"add": 0, "mul": 1, "max": 2, "min": 3, "replace": 4}
SEGMENTS = {"sum": 0, "prod": 1, "max": 2, "min": 3}
COMBINED = (*FLOATS, np.float64, *WHOLE, *NIBBLES)
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -1.5])


def places(shape, size, dtype=np.int64, seed=5):
    return np.random.default_rng(seed).integers(0, size, shape).astype(dtype)


def work_for(out, kind, *, counts=False):
    """Where a kernel combines: out itself, or the wider type that it is rounded from."""
    if kind in ("add", "mul", "sum", "prod"):
        if out.dtype in (np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16)):
            return np.zeros(out.shape, np.float32)
        if counts and np.issubdtype(out.dtype, np.integer) and out.itemsize < 8:
            return np.zeros(out.shape, np.uint64 if out.dtype.kind == "u" else np.int64)
        if counts and out.dtype in map(np.dtype, NIBBLES):
            return np.zeros(out.shape, np.uint64 if out.dtype == ml_dtypes.uint4 else np.int64)
    return out


# --- take ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("dtype", [np.uint8, ml_dtypes.bfloat16, np.float32, np.complex128])
def test_take_is_the_slices_in_the_order_of_the_indices(level, threads, dtype):
    for outer, inner, n in [(1, 1, 33), (1, 768, 5), (3, 17, 9), (2, 0, 4), (0, 3, 2), (4, 5, 0)]:
        table, at = some((outer, 11, inner), dtype), places(n, 11)
        for layout in LAYOUTS:
            out = laid(np.zeros((outer, n, inner), dtype), layout)
            call("take", laid(table, layout), laid(at, layout), out, threads=threads, level=level)
            assert same(out, table[:, at]), (outer, inner, n, layout)


@BY_LEVEL
@pytest.mark.parametrize("shape", [(1, 40, 40_000, 1), (1, 40, 700, 900), (3, 9, 1000, 700)])
def test_take_on_two_threads_is_take_on_one(level, shape):
    outer, v, inner, n = shape
    table, at = np.random.default_rng(0).random((outer, v, inner), np.float32), places(n, v)
    out = np.zeros((outer, n, inner), np.float32)
    call("take", table, at, out, threads=2, level=level)
    assert same(out, table[:, at])


@BY_LEVEL
@pytest.mark.parametrize("dtype", [*WHOLE, *NIBBLES])
def test_indices_are_of_any_integer_type(level, dtype):
    table, at = some((1, 8, 3), np.float32), places(300, 8, dtype)
    out = np.zeros((1, 300, 3), np.float32)
    call("take", table, at, out, level=level)
    assert same(out, table[:, at.astype(np.int64)])


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("bad", [-1, 8, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("shape", [(1, 8, 3), (1, 8, 0), (0, 8, 3), (1, 8, 3000)])
def test_an_index_outside_refuses(level, threads, bad, shape):
    at = places(40, 8)
    at[33] = bad
    out = np.zeros((shape[0], 40, shape[2]), np.float32)
    with pytest.raises(Refused):
        call("take", np.zeros(shape, np.float32), at, out, threads=threads, level=level)
    huge = at.astype(np.uint64)
    with pytest.raises(Refused):
        call("take", np.zeros(shape, np.float32), huge, out, threads=threads, level=level)


# --- gather ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_is_its_numpy_meaning(level, threads, dtype, axis):
    for shape in [(3, 4, 5), (2, 1, 300), (9, 33, 65), (1, 0, 4)]:
        x = some(tuple(n + 1 for n in shape), dtype)
        at = places(shape, x.shape[axis], np.int32)
        wanted = reference(ops.gather, x, at, axis=axis)
        for layout in LAYOUTS:
            out = laid(np.zeros(shape, dtype), layout)
            call("gather", laid(x, layout), laid(at, layout), out, axis, threads=threads,
                 level=level)  # fmt: skip
            assert same(out, wanted), (shape, layout)


@BY_LEVEL
def test_gather_refuses_what_does_not_fit(level):
    x, out = np.zeros((4, 5), np.float32), np.zeros((4, 6), np.float32)
    with pytest.raises(Refused):
        call("gather", x, np.zeros((4, 6), np.int64), out, 0, level=level)
    with pytest.raises(Refused):
        call("gather", x, np.full((4, 6), 5), out, 1, level=level)


# --- gather_nd ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_gather_nd_is_its_numpy_meaning(level, threads, depth):
    sizes = (3, 4, 5)[:depth]
    for n in SIZES:
        for inner in (1, 7, 257):
            x = some((*sizes, inner), np.float32)
            at = places((n, depth), 3)
            wanted = reference(ops.gather_nd, x, at)
            for layout in LAYOUTS:
                out = laid(np.zeros((n, inner), np.float32), layout)
                call("gather_nd", laid(x, layout), laid(at, layout), out, threads=threads,
                     level=level)  # fmt: skip
                assert same(out, wanted), (n, inner, layout)


@BY_LEVEL
def test_gather_nd_refuses_a_coordinate_outside(level):
    x, out = np.zeros((3, 4, 2), np.float32), np.zeros((1, 2), np.float32)
    with pytest.raises(Refused):
        call("gather_nd", x, np.array([[3, 0]]), out, level=level)
    with pytest.raises(Refused):
        call("gather_nd", x, np.array([[2, -1]]), out, level=level)


# --- dynamic slices ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("start", [(0, 0, 0), (1, 2, 3), (-5, 99, 1), (2**62, -(2**63), 0)])
def test_dynamic_slices_clamp_their_start(level, threads, layout, start):
    x = np.random.default_rng(0).random((5, 40, 130))
    for sizes in [(1, 1, 1), (5, 40, 130), (2, 17, 65), (0, 3, 3), (4, 39, 127)]:
        at = laid(np.array(start), layout)
        wanted = reference(ops.dynamic_slice, x, at, sizes=sizes)
        out = laid(np.zeros(sizes), layout)
        call("dynamic_slice", laid(x, layout), at, out, threads=threads, level=level)
        assert same(out, wanted)
        update = np.random.default_rng(1).random(sizes)
        target = laid(x, layout)
        call("dynamic_update_slice", target, laid(update, layout), at, threads=threads,
             level=level)  # fmt: skip
        assert same(target, reference(ops.dynamic_update_slice, x, update, at))


@BY_LEVEL
def test_an_unsigned_start_beyond_si64_is_the_last(level):
    out = np.zeros(2, np.int32)
    call("dynamic_slice", np.arange(5, dtype=np.int32), np.array([2**64 - 1], np.uint64), out,
         level=level)  # fmt: skip
    assert out.tolist() == [3, 4]


@BY_LEVEL
def test_a_part_longer_than_the_whole_refuses(level):
    with pytest.raises(Refused):
        call("dynamic_slice", np.zeros(3), np.zeros(1, np.int64), np.zeros(4), level=level)


# --- scatter ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", COMBINED)
def test_scatter_is_its_numpy_meaning(level, threads, kind, axis, dtype):
    for shape in [(3, 4), (40, 300), (1, 7), (0, 5)]:
        x = some((shape[0] + 1, shape[1] + 2), dtype)
        updates, at = some(shape, dtype, 8), places(shape, x.shape[axis], np.int16)
        wanted = reference(ops.scatter, x, at, updates, axis=axis, kind=kind)
        for layout in ("plain", "strided", "transposed"):
            out = laid(x, layout)
            call("scatter", out, laid(at, layout), laid(updates, layout), work_for(out, kind),
                 axis, KINDS[kind], threads=threads, level=level)  # fmt: skip
            assert same(out, wanted), (shape, layout)


@BY_LEVEL
@pytest.mark.parametrize("kind", KINDS)
def test_a_scatter_along_one_axis_keeps_the_order(level, kind):
    x, updates = np.ones(9, np.float32), some(20_000, np.float32) + np.float32(2)
    at = places(20_000, 9)
    out = x.copy()
    call("scatter", out, at, updates, out, 0, KINDS[kind], threads=2, level=level)
    wanted = reference(ops.scatter, x, at, updates, axis=0, kind=kind)
    np.testing.assert_allclose(out, wanted, rtol=1e-4)


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", COMBINED)
def test_scatter_nd_is_its_numpy_meaning(level, threads, kind, dtype):
    for sizes, inner, n in [
        ((3, 4), 5, 9),
        ((7,), 300, 65),
        ((), 33, 3),
        ((9,), 1, 31),
        ((2,), 3, 0),
    ]:
        x, updates = some((*sizes, inner), dtype), some((n, inner), dtype, 8)
        at = places((n, len(sizes)), min(sizes, default=1))
        wanted = reference(ops.scatter_nd, x, at, updates, kind=kind)
        for layout in LAYOUTS:
            out = laid(x, layout)
            call("scatter_nd", out, laid(at, layout), laid(updates, layout), work_for(out, kind),
                 KINDS[kind], threads=threads, level=level)  # fmt: skip
            assert same(out, wanted), (sizes, inner, n, layout)


@BY_LEVEL
@pytest.mark.parametrize("dtype", [*FLOATS, np.float64])
@pytest.mark.parametrize("kind", ["max", "min"])
def test_a_NaN_wins_and_zeros_are_told_apart(level, dtype, kind):
    pairs = np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1).astype(dtype)
    x, updates = pairs[:1], pairs[1:]
    for layout in ("plain", "strided"):
        out = laid(x, layout)
        at = np.zeros((1, 1), np.int64)
        call("scatter_nd", out, at, updates, out, KINDS[kind], level=level)
        assert same(out, reference(ops.scatter_nd, x, at, updates, kind=kind))


@BY_LEVEL
def test_any_element_can_be_replaced(level):
    for dtype in (np.complex64, np.complex128, np.bool_, ml_dtypes.float8_e5m2):
        out = np.zeros((4, 3), dtype)
        updates = np.ones((2, 3), dtype)
        call("scatter_nd", out, np.array([[1], [3]]), updates, out, KINDS["replace"], level=level)
        assert out.astype(np.float32).tolist() == [[0] * 3, [1] * 3] * 2 if out.dtype.kind != "c" \
            else out.real.tolist() == [[0] * 3, [1] * 3] * 2  # fmt: skip


@BY_LEVEL
@THREADS
def test_an_index_outside_refuses_before_anything_is_written(level, threads):
    x, updates = np.zeros((4, 6000), np.float32), np.ones((2, 6000), np.float32)
    with pytest.raises(Refused):
        call("scatter_nd", x, np.array([[1], [4]]), updates, x, 0, threads=threads, level=level)
    at = np.zeros((2, 6000), np.int64)
    at[1, 5999] = -1
    with pytest.raises(Refused):
        call("scatter", x, at, updates, x, 0, 0, threads=threads, level=level)
    assert not x.any()


@BY_LEVEL
def test_what_cannot_be_combined_refuses(level):
    x = np.zeros((2, 2), np.complex64)
    with pytest.raises(Refused):
        call("scatter_nd", x, np.zeros((1, 1), np.int64), x[:1].copy(), x, 0, level=level)


# --- segment_reduce ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("kind", SEGMENTS)
@pytest.mark.parametrize("dtype", COMBINED)
def test_segment_reduce_is_its_numpy_meaning(level, threads, kind, dtype):
    for n, inner, segments in [(9, 5, 4), (65, 300, 7), (0, 3, 2), (33, 1, 40), (3, 0, 2)]:
        data, ids = some((n, inner), dtype), places(n, segments)
        wanted = reference(ops.segment_reduce, data, ids, kind=kind, num_segments=segments)
        for layout in LAYOUTS:
            out = laid(np.ones((segments, inner), dtype), layout)
            call("segment_reduce", out, laid(ids, layout), laid(data, layout),
                 work_for(out, kind, counts=True), SEGMENTS[kind], threads=threads,
                 level=level)  # fmt: skip
            assert close(out, wanted, n), (n, inner, segments, layout)


def close(found, wanted, n):
    """The same, but for products of floats: they round at every step."""
    if same(found, wanted) or prod(wanted.shape) == 0:
        return True
    if wanted.dtype in map(np.dtype, (*FLOATS, np.float64)):
        exact = {4: 2.0**-23, 8: 2.0**-52}.get(wanted.itemsize, 2.0**-7)
        a, b = found.astype(np.float64), wanted.astype(np.float64)
        return np.allclose(a, b, rtol=exact * n, atol=0)
    return False
