"""Data movement means what NumPy, Torch and index arithmetic say; symbols stand for values."""

from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import Dim, Literal, SpecError, param, tensor_type
from ptir.ops.shape import (
    broadcast_to,
    concat,
    pad,
    reshape,
    reverse,
    slice_,
    tile,
    transpose,
)
from tests.data import ALL, ramp
from tests.exact import same
from tests.ops.calling import call, reference

B, S = Dim.symbol("B"), Dim.symbol("S")
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def count(*shape):
    return np.arange(prod(shape), dtype=np.int32).reshape(shape)


def shape_after(op, x, **attrs):
    """The inferred sizes for an f32 operand of symbolic shape `x`."""
    return op(param(0, tensor_type(x, "f32")), **attrs).type.shape


# --- reshape ---


@given(st.data())
def test_reshape_keeps_row_major_order(data):
    shape = data.draw(shapes)
    new = data.draw(st.permutations([*shape, 1]))
    same(call(reshape, count(*shape), shape=new), np.reshape(count(*shape), new))


@given(st.data())
def test_one_size_is_inferred_as_numpy_does(data):
    new = list(data.draw(st.permutations([2, 3, 4, 1])))
    at = data.draw(st.integers(0, 3))
    asked = [-1 if i == at else size for i, size in enumerate(new)]
    assert call(reshape, count(4, 6), shape=asked).shape == tuple(new)


def test_an_inferred_size_is_written_into_the_program():
    node = reshape(param(0, tensor_type((B, 12), "f32")), shape=(B, 3, -1))
    assert node.attrs["shape"] == (B, 3, 4)
    assert node is reshape(node.operands[0], shape=(B, 3, 4))


def test_reshape_with_a_symbolic_batch_of_zero_runs():
    node = reshape(param(0, tensor_type((B, 12), "f32")), shape=(B, -1, 3))
    attrs = node.attrs.substitute({"B": 0})
    assert reference(reshape, np.empty((0, 12)), **attrs).shape == (0, 4, 3)


@pytest.mark.parametrize(
    "x, asked, want",
    [
        ((B, S, 768), (B, S, 12, -1), (B, S, 12, 64)),
        ((B, S, 12, 64), (-1, S, 768), (B, S, 768)),
        ((B, S), (S, B), (S, B)),
        ((B, 6), (-1,), (B * 6,)),
        ((B * 6,), (B, -1), (B, 6)),
        ((B * 6,), (-1, 2), (B * 3, 2)),
        ((B * 2, S), (B, S * 2), (B, S * 2)),
        ((B * 2, S), (4, -1, S), None),
        ((B * 4 + 2, 3), (-1, 6), (B * 2 + 1, 6)),
        ((B + S, 4), (B + S, 2, -1), (B + S, 2, 2)),
        ((B, 0), (S, 0), (S, 0)),
        ((B, S), (-1,), None),
        ((B, 6), (B, 5), None),
        ((B, 6), (S, 6), None),
        ((B,), (0, -1), None),
        ((B, 0), (S, -1), None),
        ((B,), (0,), None),
        ((B, B), (B, -1), (B, B)),
        ((B,), (B, B), None),
    ],
    ids=str,
)
def test_symbolic_reshape_needs_a_provable_count(x, asked, want):
    if want is None:
        with pytest.raises(SpecError, match=r"\[(dim|shape)\]"):
            shape_after(reshape, x, shape=asked)
    else:
        assert shape_after(reshape, x, shape=asked) == want


@given(st.lists(st.sampled_from([B, S, 2, 3, B * 2, S * 6]), max_size=4), st.data())
def test_accepted_symbolic_reshape_holds_for_every_value(x, data):
    asked = data.draw(st.permutations(x))
    if asked:
        asked[data.draw(st.integers(0, len(asked) - 1))] = -1
    want = shape_after(reshape, x, shape=asked)
    for values in product((0, 1, 5), repeat=2):
        known = dict(zip("BS", values, strict=True))
        have, got = (tensor_type(s, "f32").substitute(known).shape for s in (x, want))
        assert prod(have) == prod(got)


# --- transpose, broadcast_to, tile, reverse ---


@given(st.data())
def test_transpose_moves_axis_perm_i_to_i(data):
    shape = data.draw(shapes)
    perm = data.draw(st.permutations(range(len(shape))))
    got = call(transpose, count(*shape), perm=[p - len(shape) for p in perm])
    want = torch.tensor(count(*shape)).permute(perm).numpy()
    same(got, want)


@given(shapes, st.data())
def test_broadcast_aligns_at_the_right(shape, data):
    ones = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    drop = data.draw(st.integers(0, len(shape)))
    own = [1 if one else size for one, size in zip(ones, shape, strict=True)][drop:]
    same(call(broadcast_to, count(*own), shape=shape), np.broadcast_to(count(*own), shape))


@given(shapes, shapes)
def test_broadcast_refuses_what_numpy_refuses(own, shape):
    try:
        want = np.broadcast_to(count(*own), shape)
    except ValueError:
        with pytest.raises(SpecError):
            call(broadcast_to, count(*own), shape=shape)
    else:
        same(call(broadcast_to, count(*own), shape=shape), want)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3))
def test_tile_equals_torch(sizes):
    shape, repeats = [n for n, _ in sizes], [r for _, r in sizes]
    want = torch.tensor(count(*shape)).repeat(repeats).numpy()
    same(call(tile, count(*shape), repeats=repeats), want)


@given(shapes, st.data())
def test_reverse_equals_torch_flip(shape, data):
    axes = data.draw(st.lists(st.sampled_from(range(len(shape))), unique=True)) if shape else []
    same(call(reverse, count(*shape), axes=axes), torch.tensor(count(*shape)).flip(axes).numpy())


@pytest.mark.parametrize("of", ALL)
def test_every_dtype_keeps_its_bits(of):
    x = ramp(of, 2, 3)
    assert call(transpose, x, perm=(1, 0))[2, 1].tobytes() == x[1, 2].tobytes()
    assert call(reverse, x, axes=1)[0, 0].tobytes() == x[0, 2].tobytes()
    assert call(concat, x, x, axis=0)[3, 1].tobytes() == x[1, 1].tobytes()
    assert call(tile, x, repeats=(1, 2))[1, 5].tobytes() == x[1, 2].tobytes()


# --- slice, concat ---


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(1, 8)),
        max_size=3,
    )
)
def test_slice_equals_python_slices(axes):
    axes = [(sorted(ends), stride) for *ends, stride in axes]
    shape = [high for (_, _, high), _ in axes]
    want = count(*shape)[tuple(slice(low, mid, step) for (low, mid, _), step in axes)]
    got = call(
        slice_,
        count(*shape),
        starts=[low for (low, _, _), _ in axes],
        limits=[mid for (_, mid, _), _ in axes],
        strides=[step for _, step in axes],
    )
    same(got, np.asarray(want))


@pytest.mark.parametrize(
    "size, start, limit, stride, want",
    [
        (B, B - 1, B, 1, 1),
        (B, 0, B - 2, 1, B - 2),
        (B + 4, 2, B + 4, 1, B + 2),
        (B * 2, 0, B * 2, 2, B),
        (B * 2, 1, B * 2, 2, B),
        (B * 2 + 1, 0, B * 2 + 1, 2, B + 1),
        (B * 3 + 5, 0, B * 3 + 5, 3, B + 2),
    ],
    ids=str,
)
def test_symbolic_slice_has_the_size_that_python_counts(size, start, limit, stride, want):
    attrs = {"starts": (start,), "limits": (limit,), "strides": (stride,)}
    assert shape_after(slice_, (size,), **attrs) == (want,)
    for value in (2, 3, 8):
        n, a, b, k = (
            s if isinstance(s, int) else s.substitute({"B": value})
            for s in (size, start, limit, want)
        )
        assert len(range(n)[a:b:stride]) == k


def test_slice_is_checked_again_at_run_time():
    node = slice_(param(0, tensor_type((B,), "f32")), starts=(2,), limits=(B,))
    attrs = node.attrs.substitute({"B": 1})
    with pytest.raises(SpecError, match=r"\[2, 1\) on axis 0.*\[index\]"):
        reference(slice_, np.ones(1, np.float32), **attrs)


@given(st.data())
def test_concat_equals_torch(data):
    shape = list(data.draw(shapes.filter(len)))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts: list[np.ndarray] = []
    for size in data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)):
        shape[axis] = size
        parts.append(count(*shape) + 100 * len(parts))
    same(call(concat, *parts, axis=axis), torch.cat(list(map(torch.tensor, parts)), axis).numpy())


def test_concat_adds_symbolic_sizes():
    x, y = (param(i, tensor_type((n, 3), "f32")) for i, n in enumerate((B, S + 1)))
    assert str(concat(x, y, x, axis=0).type) == "f32[2*?B+?S+1, 3]"


# --- pad ---


def padded(x, low, high, interior, value):
    """Where each element lands, one at a time."""
    ends = zip(x.shape, low, high, interior, strict=True)
    shape = [n + max(n - 1, 0) * gap + a + b for n, a, b, gap in ends]
    result = np.full(shape, value, x.dtype)
    for index in np.ndindex(x.shape):
        at = [a + i * (gap + 1) for i, a, gap in zip(index, low, interior, strict=True)]
        if all(0 <= i < n for i, n in zip(at, shape, strict=True)):
            result[tuple(at)] = x[index]
    return result


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(-6, 4), st.integers(-6, 4), st.integers(0, 3)),
        max_size=3,
    )
)
def test_pad_puts_each_element_where_it_belongs(axes):
    shape, low, high, interior = ([axis[i] for axis in axes] for i in range(4))
    attrs = {"low": low, "high": high, "interior": interior, "value": -7}
    if any(n + max(n - 1, 0) * gap + a + b < 0 for n, a, b, gap in axes):
        with pytest.raises(SpecError, match=r"\[shape\]"):
            call(pad, count(*shape), **attrs)
    else:
        want = padded(count(*shape), low, high, interior, -7)
        same(call(pad, count(*shape), **attrs), want)


def test_pad_without_interior_equals_torch():
    x = torch.randn(3, 4)
    want = torch.nn.functional.pad(x, (1, -2, -1, 3), value=0.5)
    same(call(pad, x.numpy(), low=(-1, 1), high=(3, -2), value=0.5), want.numpy())


def test_symbolic_pad_is_checked_at_run_time():
    node = pad(param(0, tensor_type((B,), "f32")), low=(-1,), high=(-1,), value=0)
    assert str(node.type) == "f32[?B-2]"
    with pytest.raises(SpecError, match=r"size -1 \[shape\]"):
        reference(pad, np.ones(1, np.float32), **node.attrs)


def test_interior_needs_an_axis_that_cannot_be_empty():
    attrs = {"low": (0,), "high": (0,), "interior": (2,), "value": Literal(0, "f32")}
    assert shape_after(pad, (B + 1,), **attrs) == (B * 3 + 1,)
    with pytest.raises(SpecError, match=r"known to be ≥ 1, not \?B \[dim\]"):
        shape_after(pad, (B,), **attrs)


def test_results_of_too_many_axes_are_refused():
    with pytest.raises(SpecError, match=r"broadcast_to: rank 33.*\[shape\]"):
        call(broadcast_to, count(1), shape=(1,) * 33)
