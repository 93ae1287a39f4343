"""Writes at computed positions mean what Torch and plain loops say."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import DTYPES, Dim, SpecError, param, tensor_type
from ptir.ops.scatter import scatter, scatter_nd, segment_reduce
from tests.ops.calling import call, decomposed

RNG = np.random.default_rng(1)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
TORCH = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
LOOP: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
LOOP |= {"replace": lambda old, new: new}
SEGMENT = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def whole(rng: np.random.Generator, shape: Any) -> Any:
    """Small whole numbers in f32: sums and products of them are exact in any order."""
    return rng.integers(-2, 3, shape).astype(np.float32)


@pytest.mark.parametrize("kind", TORCH)
@given(shapes, st.data(), generators)
def test_scatter_equals_scatter_reduce(kind, shape, data, rng):
    axis = data.draw(st.integers(0, len(shape) - 1))
    counts = [data.draw(st.integers(0, 5 if a == axis else n)) for a, n in enumerate(shape)]
    x, updates = whole(rng, shape), whole(rng, counts)
    indices = rng.integers(0, shape[axis], counts)
    want = torch.tensor(x).scatter_reduce(
        axis, torch.tensor(indices), torch.tensor(updates), TORCH[kind], include_self=True
    )
    result = call(scatter, x, indices, updates, axis=axis, kind=kind)
    np.testing.assert_array_equal(result, want.numpy())


@given(shapes, st.data(), generators)
def test_scatter_replace_keeps_the_last_in_row_major_order(shape, data, rng):
    axis = data.draw(st.integers(0, len(shape) - 1))
    counts = [data.draw(st.integers(0, 5 if a == axis else n)) for a, n in enumerate(shape)]
    x, updates = whole(rng, shape), whole(rng, counts)
    indices = rng.integers(0, shape[axis], counts)
    want = x.copy()
    for position in np.ndindex(updates.shape):
        at = (*position[:axis], indices[position], *position[axis + 1 :])
        want[at] = updates[position]
    result = call(scatter, x, indices, updates, axis=axis, kind="replace")
    np.testing.assert_array_equal(result, want)


@pytest.mark.parametrize("kind", LOOP)
@given(shapes, st.data(), generators)
def test_scatter_nd_equals_a_loop_over_rows(kind, shape, data, rng):
    depth = data.draw(st.integers(0, len(shape)))
    lead = tuple(data.draw(st.lists(st.integers(0, 4), max_size=2)))
    x, updates = whole(rng, shape), whole(rng, (*lead, *shape[depth:]))
    indices = rng.integers(0, shape[:depth], (*lead, depth))
    want = x.copy()
    for row in np.ndindex(lead):
        at = tuple(indices[row])
        want[at] = LOOP[kind](want[at], updates[row])
    np.testing.assert_array_equal(call(scatter_nd, x, indices, updates, kind=kind), want)


@pytest.mark.parametrize("kind", SEGMENT)
@given(st.integers(0, 6), st.integers(0, 4), st.lists(st.integers(0, 3), max_size=2), generators)
def test_segment_reduce_equals_a_loop_over_rows(kind, rows, segments, rest, rng):
    rows = rows if segments else 0
    data, ids = whole(rng, (rows, *rest)), rng.integers(0, max(segments, 1), rows)
    neutral = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}[kind]
    want = np.full((segments, *rest), neutral, np.float32)
    for row in range(rows):
        want[ids[row]] = SEGMENT[kind](want[ids[row]], data[row])
    attrs = {"kind": kind, "num_segments": segments}
    np.testing.assert_array_equal(call(segment_reduce, data, ids, **attrs), want)
    np.testing.assert_array_equal(decomposed(segment_reduce, data, ids, **attrs), want)


@pytest.mark.parametrize("element", DTYPES)
def test_segments_of_every_dtype_equal_their_decomposition(element):
    dtype = DTYPES[element]
    kinds = {"bool": ("max", "min"), "complex": ("sum", "prod")}.get(dtype.kind, tuple(SEGMENT))
    low = 0 if dtype.kind in ("uint", "bool") else -3
    data = RNG.integers(low, 4 if dtype.bits > 1 else 2, (6, 2)).astype(np.float32)
    data, ids = data.astype(dtype.numpy), np.array([2, 0, 0, 2, 3, 0], np.uint8)
    for kind in kinds:
        attrs = {"kind": kind, "num_segments": 5}
        result = call(segment_reduce, data, ids, **attrs)
        assert result.tobytes() == decomposed(segment_reduce, data, ids, **attrs).tobytes()
        first = data[ids == 0].astype(np.complex128 if dtype.is_complex else np.float64)
        want = SEGMENT[kind].reduce(first, 0)
        if dtype.is_integer:  # the cast after the sum saturates
            want = np.clip(want, float(dtype.range[0]), float(dtype.range[1]))
        assert result[0].tolist() == want.astype(dtype.numpy).tolist()


def test_empty_segments_hold_the_extreme_value_of_the_dtype():
    for dtype, low, high in [
        (np.int8, -128, 127), (ml_dtypes.uint4, 0, 15), (np.bool_, False, True),
        (ml_dtypes.float8_e4m3fn, -448, 448), (ml_dtypes.float8_e5m2, -np.inf, np.inf),
    ]:  # fmt: skip
        data, ids = np.zeros((0,), dtype), np.zeros(0, np.int32)
        assert call(segment_reduce, data, ids, kind="max", num_segments=1)[0] == low
        assert call(segment_reduce, data, ids, kind="min", num_segments=1)[0] == high


@pytest.mark.parametrize("name", ["bf16", "f16"])
def test_narrow_floats_add_in_f32_and_round_once(name):
    dtype = DTYPES[name].numpy
    ones = np.ones(4096, dtype)  # in the dtype itself the sum would stop growing at 256 or 2048
    ids = np.zeros(4096, np.int32)
    assert call(scatter, np.zeros(1, dtype), ids, ones, axis=0, kind="add")[0] == 4096
    assert call(segment_reduce, ones, ids, kind="sum", num_segments=1)[0] == 4096


def test_a_long_f32_sum_is_rounded_once():
    values = np.random.default_rng(0).standard_normal(10000).astype(np.float32)
    result = call(
        scatter, np.zeros(1, np.float32), np.zeros(10000, np.int64), values, axis=0, kind="add"
    )
    assert result[0] == np.float32(np.sum(values.astype(np.longdouble)))


def test_scatter_add_wraps_and_a_segment_sum_saturates():
    x, zeros, ones = np.array([127], np.int8), np.zeros(2, np.int8), np.array([1, 1], np.int8)
    assert call(scatter, x, zeros, ones, axis=0, kind="add").tolist() == [-127]
    data = np.array([127, 1], np.int8)
    assert call(segment_reduce, data, zeros, kind="sum", num_segments=1).tolist() == [127]
    assert decomposed(segment_reduce, data, zeros, kind="sum", num_segments=1).tolist() == [127]
    big = np.array([2**64 - 1], np.uint64)
    two = np.array([2], np.uint64)
    assert call(scatter, big, zeros[:1], two, axis=0, kind="add").tolist() == [1]
    nibble = np.array([7], ml_dtypes.int4)
    assert call(scatter, nibble, zeros[:1], nibble, axis=0, kind="mul").tolist() == [1]


@pytest.mark.parametrize("kind", ["max", "min"])
def test_NaN_wins_wherever_it_comes_from(kind):
    x = np.array([np.nan, 1, 2], np.float32)
    indices, updates = np.array([0, 1, 1, 2]), np.array([5, np.nan, 7, 3], np.float32)
    want = torch.tensor(x).scatter_reduce(
        0, torch.tensor(indices), torch.tensor(updates), TORCH[kind]
    )
    result = call(scatter, x, indices, updates, axis=0, kind=kind)
    np.testing.assert_array_equal(result, want.numpy())
    assert np.isnan(result[:2]).all()


def test_replace_moves_bits():
    payload = np.array([0x7FC01234], np.uint32).view(np.float32)
    x = np.array([0xFFC00001, 0x80000000], np.uint32).view(np.float32)
    result = call(scatter, x, np.array([1]), payload, axis=0, kind="replace")
    assert result.view(np.uint32).tolist() == [0xFFC00001, 0x7FC01234]


def test_operands_are_not_written_to():
    x, indices, updates = whole(RNG, (3, 2)), np.array([[0, 1]]), whole(RNG, (1, 2))
    for array in (x, indices, updates):
        array.flags.writeable = False
    for kind in LOOP:
        call(scatter, x, indices, updates, axis=0, kind=kind)
        call(scatter_nd, x, indices, updates[0, :1], kind=kind)


def test_an_index_out_of_range_writes_nothing():
    x, row = whole(RNG, (5, 3)), whole(RNG, (1, 3))
    with pytest.raises(SpecError, match=r"index 5 at position \(0, 2\) .* axis 0 of size 5"):
        call(scatter, x, np.array([[0, 4, 5]]), row, axis=0, kind="add")
    with pytest.raises(SpecError, match=r"index 3 at position \(0,\) .* axis 1 of size 3"):
        call(scatter_nd, x, np.array([[0, 3]]), row[0, :1], kind="replace")
    for ids in (np.array([4]), np.array([-1])):
        with pytest.raises(SpecError, match=r"at position \(0,\) .* of size 4"):
            call(segment_reduce, row, ids, kind="sum", num_segments=4)


def test_symbolic_sizes_pass_through_the_rules():
    B, N = Dim.symbol("B"), Dim.symbol("N")
    x, new = param(0, tensor_type((N, 4), "f32")), param(1, tensor_type((B, 4), "f32"))
    rows, ids = param(2, tensor_type((B, 1), "si32")), param(3, tensor_type((B,), "si32"))
    assert str(scatter_nd(x, rows, new, kind="add").type) == "f32[?N, 4]"
    assert str(segment_reduce(new, ids, kind="sum", num_segments=N).type) == "f32[?N, 4]"
