"""Slices at computed starts mean what a loop over clamped starts says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import DTYPES, Dim, SpecError, param, tensor_type
from ptir.ops.dynamic import dynamic_slice, dynamic_update_slice
from tests.ops.calling import call, reference

INDEX_DTYPES = [d.numpy for d in DTYPES.values() if d.is_integer]


@st.composite
def parts(draw: Any) -> Any:
    """A shape, the sizes of a part of it, and a start that may reach out on either side."""
    shape = draw(st.lists(st.integers(0, 5), max_size=3))
    sizes = [draw(st.integers(0, n)) for n in shape]
    start = [draw(st.integers(-7, 7)) for _ in shape]
    return shape, sizes, np.array(start, np.int32)


def inside(shape: Any, sizes: Any, start: Any) -> Any:
    """For each position of the part, the position in x that it stands for."""
    first = [sorted((0, int(s), n - k))[1] for s, n, k in zip(start, shape, sizes, strict=True)]
    for position in np.ndindex(*sizes):
        yield position, tuple(p + f for p, f in zip(position, first, strict=True))


@given(parts())
def test_dynamic_slice_reads_a_part_that_lies_inside(part):
    shape, sizes, start = part
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    result = call(dynamic_slice, x, start, sizes=sizes)
    assert result.shape == tuple(sizes)
    for position, source in inside(shape, sizes, start):
        assert result[position] == x[source]


@given(parts())
def test_dynamic_update_slice_writes_the_same_part(part):
    shape, sizes, start = part
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    update = -1 - np.arange(np.prod(sizes), dtype=np.float32).reshape(sizes)
    want = x.copy()
    for position, target in inside(shape, sizes, start):
        want[target] = update[position]
    x.flags.writeable = False
    np.testing.assert_array_equal(call(dynamic_update_slice, x, update, start), want)


@pytest.mark.parametrize("dtype", INDEX_DTYPES, ids=str)
def test_every_integer_dtype_starts_a_slice(dtype):
    x = np.arange(12).reshape(3, 4)
    start = np.array([1, 2], dtype)
    assert call(dynamic_slice, x, start, sizes=(2, 2)).tolist() == [[6, 7], [10, 11]]


def test_a_start_over_the_si64_range_clamps_to_the_end():
    x, start = np.arange(5), np.array([2**64 - 1], np.uint64)
    assert call(dynamic_slice, x, start, sizes=(2,)).tolist() == [3, 4]


@pytest.mark.parametrize("element", DTYPES)
def test_every_dtype_moves_bit_by_bit(element):
    dtype = DTYPES[element].numpy
    x = np.random.default_rng(0).integers(0, 2, 6).astype(np.int8).astype(dtype)
    start = np.array([3])
    assert call(dynamic_slice, x, start, sizes=(3,)).tobytes() == x[3:].tobytes()
    new = call(dynamic_update_slice, x, x[:2], start)
    assert new.tobytes() == np.concatenate((x[:3], x[:2], x[5:])).tobytes()


def test_symbolic_sizes_pass_through_the_rules():
    T = Dim.symbol("T")
    cache, new = param(0, tensor_type((T + 4, 8), "f32")), param(1, tensor_type((T, 8), "f32"))
    start = param(2, tensor_type((2,), "si32"))
    assert str(dynamic_update_slice(cache, new, start).type) == "f32[?T+4, 8]"
    assert str(dynamic_slice(cache, start, sizes=(T, 8)).type) == "f32[?T, 8]"
    with pytest.raises(SpecError, match="sizes takes \\?T\\+5 on axis 0"):
        dynamic_slice(cache, start, sizes=(T + 5, 8))
    with pytest.raises(SpecError, match="operand 1 takes 4 on axis 0, where operand 0 has 3"):
        reference(dynamic_update_slice, np.zeros(3), np.zeros(4), np.zeros(1, int))
