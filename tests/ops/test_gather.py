"""Reads at computed positions mean what Torch and plain loops say."""

from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import DTYPES, Dim, SpecError, param, tensor_type
from ptir.ops.gather import gather, gather_nd, take
from tests.ops.calling import call, reference

RNG = np.random.default_rng(0)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
INDEX_DTYPES = [d.numpy for d in DTYPES.values() if d.is_integer]
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def numbered(shape: tuple[int, ...]) -> Any:
    return np.arange(prod(shape), dtype=np.float32).reshape(shape)


def test_take_along_each_axis_equals_index_select():
    x = numbered((4, 3, 5))
    for axis in (0, 1, 2, -1):
        indices = RNG.integers(0, x.shape[axis], 7)
        want = torch.index_select(torch.tensor(x), axis, torch.tensor(indices))
        np.testing.assert_array_equal(call(take, x, indices, axis=axis), want.numpy())


@given(shapes, st.data(), generators)
def test_take_puts_the_index_axes_where_the_axis_was(shape, data, rng):
    axis = data.draw(st.integers(0, len(shape) - 1))
    x = numbered(shape)
    indices = rng.integers(0, shape[axis], data.draw(st.lists(st.integers(0, 3), max_size=3)))
    result = call(take, x, indices, axis=axis)
    assert result.shape == (*shape[:axis], *np.shape(indices), *shape[axis + 1 :])
    for position in np.ndindex(result.shape):
        at = indices[position[axis : axis + np.ndim(indices)]]
        source = (*position[:axis], at, *position[axis + np.ndim(indices) :])
        assert result[position] == x[source]


@given(shapes, st.data(), generators)
def test_gather_equals_torch_gather(shape, data, rng):
    axis = data.draw(st.integers(0, len(shape) - 1))
    counts = [data.draw(st.integers(0, 5 if a == axis else size)) for a, size in enumerate(shape)]
    x, indices = numbered(shape), rng.integers(0, shape[axis], counts)
    want = torch.gather(torch.tensor(x), axis, torch.tensor(indices))
    np.testing.assert_array_equal(call(gather, x, indices, axis=axis), want.numpy())


@given(shapes, st.data(), generators)
def test_gather_nd_reads_the_slice_of_each_coordinate_row(shape, data, rng):
    depth = data.draw(st.integers(0, len(shape)))
    lead = tuple(data.draw(st.lists(st.integers(0, 3), max_size=2)))
    x = numbered(shape)
    indices = rng.integers(0, shape[:depth], (*lead, depth))
    result = call(gather_nd, x, indices)
    assert result.shape == (*lead, *shape[depth:])
    for row in np.ndindex(lead):
        np.testing.assert_array_equal(result[row], x[tuple(indices[row])])


@pytest.mark.parametrize("dtype", INDEX_DTYPES, ids=str)
def test_every_integer_dtype_indexes(dtype):
    indices = np.array([2, 0, 3], dtype)
    x = numbered((4, 2))
    np.testing.assert_array_equal(call(take, x, indices, axis=0), x[[2, 0, 3]])
    np.testing.assert_array_equal(call(gather_nd, x, indices[:, None]), x[[2, 0, 3]])
    np.testing.assert_array_equal(call(gather, x, indices[:, None], axis=0)[:, 0], x[[2, 0, 3], 0])


@pytest.mark.parametrize("element", DTYPES)
def test_every_dtype_is_read_bit_by_bit(element):
    dtype = DTYPES[element].numpy
    raw = RNG.integers(0, 2, (5, 2)) if element == "i1" else RNG.integers(-8, 8, (5, 2))
    x = raw.astype(np.float32).astype(dtype) if element[0] in "fb" else raw.astype(dtype)
    indices = np.array([[4, 0], [1, 1]])
    for result in (call(take, x, indices[:, 0], axis=0), call(gather_nd, x, indices[:, :1])):
        assert result.tobytes() == np.stack([x[4], x[1]]).tobytes()
    picked = np.stack([np.stack([x[4, 0], x[0, 1]]), np.stack([x[1, 0], x[1, 1]])])
    assert call(gather, x, indices, axis=0).tobytes() == picked.tobytes()


def test_NaN_payloads_survive_a_take():
    x = np.array([0x7FC01234, 0xFFC00001], np.uint32).view(np.float32)
    result = call(take, x, np.array([1, 0]), axis=0)
    assert result.view(np.uint32).tolist() == [0xFFC00001, 0x7FC01234]


@pytest.mark.parametrize("bad", [5, -1, np.int64(2**40)])
def test_an_index_out_of_range_names_its_position_and_axis(bad):
    x, indices = numbered((5, 3)), np.array([[0, 1, 2], [3, 4, 0]])
    indices[1, 2] = bad
    for op in (take, gather):
        with pytest.raises(SpecError) as error:
            call(op, x, indices, axis=0)
        assert error.value.code == "index"
        assert error.value.message == (
            f"index {bad} at position (1, 2) is out of range for axis 0 of size 5"
        )
    with pytest.raises(SpecError, match=f"index {bad} at position \\(1,\\) .* axis 0 of size 5"):
        call(gather_nd, x, np.array([[0, 1], [bad, 1]]))


def test_an_unsigned_index_over_si64_is_out_of_range():
    with pytest.raises(SpecError, match="index 18446744073709551615 at position"):
        call(take, numbered((3,)), np.array([2**64 - 1], np.uint64), axis=0)
    with pytest.raises(SpecError, match=r"index -1 at position \(\) is out of range"):
        call(take, numbered((3,)), np.array(-1, ml_dtypes.int4), axis=0)


def test_nothing_can_be_read_from_an_empty_axis_and_nothing_may_be():
    x = numbered((0, 2))
    assert call(take, x, np.zeros((3, 0), np.int32), axis=0).shape == (3, 0, 2)
    assert call(gather, x, np.zeros((0, 1), np.int32), axis=0).shape == (0, 1)
    assert call(gather_nd, x, np.zeros((0, 2), np.int32)).shape == (0,)
    with pytest.raises(SpecError, match="axis 0 of size 0"):
        call(take, x, np.array(0), axis=0)


def test_symbolic_sizes_pass_through_the_rules():
    B, T = Dim.symbol("B"), Dim.symbol("T")
    x, index = param(0, tensor_type((B, 5, 3), "f32")), param(1, tensor_type((T, 2), "si32"))
    assert str(take(x, index, axis=1).type) == "f32[?B, ?T, 2, 3]"
    assert str(gather_nd(x, index).type) == "f32[?T, 3]"
    same_rank = param(2, tensor_type((B, T, 3), "si32"))
    assert str(gather(x, same_rank, axis=1).type) == "f32[?B, ?T, 3]"


def test_a_symbolic_size_that_turns_out_too_long_is_refused_at_run_time():
    with pytest.raises(SpecError, match="indices takes 4 on axis 1, where operand 0 has 3"):
        reference(gather, numbered((2, 3)), np.zeros((1, 4), np.int64), axis=0)
