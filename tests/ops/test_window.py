"""Sliding windows mean what Torch's pools and unfold and a loop over windows say."""

from itertools import product
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from ptir.ir import DTYPES, Dim, SpecError, param, tensor_type
from ptir.ops.reduce import reduce
from ptir.ops.window import extract_patches, reduce_window
from tests.ops.calling import call

RNG = np.random.default_rng(3)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
KINDS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
NEUTRAL = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}


def whole(rng: np.random.Generator, shape: Any) -> Any:
    """Small whole numbers in f32: sums and products of them are exact in any order."""
    return rng.integers(-2, 3, shape).astype(np.float32)


@st.composite
def slides(draw: Any) -> Any:
    """A size and how a window slides over it, with at least room for no window."""
    size, window, stride = draw(st.integers(0, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    low, high = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    base, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    spread = (size - 1) * base + 1 if size else 0
    assume(spread + low + high >= (window - 1) * dilation + 1 - stride)
    return size, window, stride, (low, high), base, dilation


def starts(size: int, window: int, stride: int, padding: Any, base: int, dilation: int) -> Any:
    """Where the windows of an axis begin, in padded positions: those that end inside."""
    end = sum(padding) + ((size - 1) * base + 1 if size else 0)
    return [at for at in range(0, end, stride) if at + (window - 1) * dilation < end]


def source(at: int, size: int, low: int, base: int) -> int | None:
    """The element at a padded position, or `None` for padding and gaps."""
    place, gap = divmod(at - low, base)
    return place if gap == 0 and 0 <= place < size else None


def loop_window(x: Any, kind: str, axes: Any) -> Any:
    """The definition, one window and one element at a time."""
    begins = [starts(*axis) for axis in axes]
    result = np.empty([len(b) for b in begins], x.dtype)
    for position in np.ndindex(result.shape):
        total = x.dtype.type(NEUTRAL[kind])
        for offsets in product(*(range(axis[1]) for axis in axes)):
            where = [
                source(begins[a][position[a]] + o * axis[5], axis[0], axis[3][0], axis[4])
                for a, (o, axis) in enumerate(zip(offsets, axes, strict=True))
            ]
            if None not in where:
                total = KINDS[kind](total, x[tuple(where)])
        result[position] = total
    return result


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(slides(), max_size=3), generators)
def test_reduce_window_equals_a_loop_over_windows(kind, axes, rng):
    x = whole(rng, [axis[0] for axis in axes])
    names = ("window", "strides", "padding", "base_dilation", "window_dilation")
    attrs = {name: [axis[i] for axis in axes] for i, name in enumerate(names, 1)}
    result = call(reduce_window, x, kind=kind, **attrs)
    np.testing.assert_array_equal(result, loop_window(x, kind, axes))


@pytest.mark.parametrize(
    "window, stride, padding, dilation", [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 2), (2, 3, 1, 3)]
)
def test_max_reduce_window_equals_max_pool2d(window, stride, padding, dilation):
    x = RNG.standard_normal((2, 9, 11, 3)).astype(np.float32)
    want = F.max_pool2d(torch.tensor(x).permute(0, 3, 1, 2), window, stride, padding, dilation)
    result = call(
        reduce_window, x, kind="max", window=(1, window, window, 1), strides=(1, stride, stride, 1),
        padding=((0, 0), (padding, padding), (padding, padding), (0, 0)),
        window_dilation=(1, dilation, dilation, 1),
    )  # fmt: skip
    np.testing.assert_array_equal(result, want.permute(0, 2, 3, 1).numpy())


def test_sum_reduce_window_over_the_area_equals_avg_pool2d():
    x = RNG.standard_normal((2, 8, 8, 3)).astype(np.float32)
    want = F.avg_pool2d(torch.tensor(x).permute(0, 3, 1, 2), 3, 2, 1)
    result = call(
        reduce_window, x, kind="sum", window=(1, 3, 3, 1), strides=(1, 2, 2, 1),
        padding=((0, 0), (1, 1), (1, 1), (0, 0)),
    )  # fmt: skip
    np.testing.assert_allclose(result / 9, want.permute(0, 2, 3, 1).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("element", DTYPES)
def test_a_window_over_everything_equals_reduce(element):
    dtype = DTYPES[element]
    kinds = {"bool": ("max", "min"), "complex": ("sum", "prod")}.get(dtype.kind, tuple(KINDS))
    low = 0 if dtype.kind in ("uint", "bool") else -3
    x = RNG.integers(low, 4 if dtype.bits > 1 else 2, (2, 3)).astype(np.float32).astype(dtype.numpy)
    for kind in kinds:
        result = call(reduce_window, x, kind=kind, window=(2, 3), padding=((0, 0), (0, 3)))
        assert result.shape == (1, 4)
        want = call(reduce, x, kind=kind, axes=(0, 1))
        np.testing.assert_array_equal(result[0, 0], want)
        empty = call(reduce, x[:, :0], kind=kind, axes=(0, 1))
        np.testing.assert_array_equal(result[0, 3], empty)


def test_narrow_floats_add_in_f32_and_integers_saturate():
    ones = np.ones(4096, ml_dtypes.bfloat16)  # in bf16 the sum would stop growing at 256
    assert call(reduce_window, ones, kind="sum", window=(4096,)).tolist() == [4096]
    x = np.array([100, 100, -100], np.int8)
    assert call(reduce_window, x, kind="sum", window=(2,)).tolist() == [127, 0]


def test_NaN_and_infinities_stay_in_their_windows():
    x = np.array([1, np.nan, 2, np.inf, -np.inf, 0], np.float32)
    assert str(call(reduce_window, x, kind="max", window=(2,))) == "[nan nan inf inf  0.]"
    assert str(call(reduce_window, x, kind="sum", window=(2,))) == "[ nan  nan  inf  nan -inf]"


@pytest.mark.parametrize(
    "window, stride, padding, dilation",
    [
        ((2, 3), (1, 1), (0, 0), (1, 1)),
        ((3, 3), (2, 1), (1, 2), (1, 1)),
        ((2, 2), (1, 2), (1, 0), (2, 3)),
    ],
)
def test_patches_equal_unfold(window, stride, padding, dilation):
    N, H, W, C = 2, 7, 8, 3
    x = RNG.standard_normal((N, H, W, C)).astype(np.float32)
    unfolded = F.unfold(torch.tensor(x).permute(0, 3, 1, 2), window, dilation, padding, stride)
    result = call(
        extract_patches, x, window=window, strides=stride, dilation=dilation,
        padding=[(p, p) for p in padding],
    )  # fmt: skip
    # Torch: [N, C · window, places]; ours: [N, places..., window · C].
    want = unfolded.reshape(N, C, prod(window), -1).permute(0, 3, 2, 1).reshape(result.shape)
    np.testing.assert_array_equal(result, want.numpy())


@given(st.lists(slides(), max_size=2), st.integers(0, 2), st.integers(0, 2), generators)
def test_patches_equal_a_loop_over_windows(axes, batch, channels, rng):
    N, C = batch, channels
    axes = [(*axis[:4], 1, axis[5]) for axis in axes]
    for size, window, stride, padding, _, dilation in axes:
        assume(size + sum(padding) >= (window - 1) * dilation + 1 - stride)
    x = whole(rng, (N, *(axis[0] for axis in axes), C))
    begins = [starts(*axis) for axis in axes]
    names = {"window": 1, "strides": 2, "padding": 3, "dilation": 5}
    attrs = {name: [axis[i] for axis in axes] for name, i in names.items()}
    result = call(extract_patches, x, **attrs, value=9)
    P = prod(axis[1] for axis in axes)
    assert result.shape == (N, *map(len, begins), P * C)
    for position in np.ndindex(result.shape[:-1]):
        patch: list[float] = []
        for offsets in product(*(range(axis[1]) for axis in axes)):
            where = [
                source(begins[a][position[a + 1]] + o * axis[5], axis[0], axis[3][0], 1)
                for a, (o, axis) in enumerate(zip(offsets, axes, strict=True))
            ]
            patch += [9.0] * C if None in where else x[(position[0], *where)].tolist()
        assert result[position].tolist() == patch


@pytest.mark.parametrize("element", DTYPES)
def test_patches_of_every_dtype_are_its_own_elements(element):
    x = RNG.integers(0, 2, (1, 4, 1)).astype(np.int8).astype(DTYPES[element].numpy)
    result = call(extract_patches, x, window=(2,), padding=((0, 1),), value=1)
    one = np.ones((1, 1, 1), np.int8).astype(x.dtype)
    want = np.stack((x[..., 0], np.concatenate((x[:, 1:], one), 1)[..., 0]), -1)
    assert result.tobytes() == want.tobytes()


def test_symbolic_sizes_give_linear_window_counts():
    N, H = Dim.symbol("N"), Dim.symbol("H")
    x = param(0, tensor_type((N, 2 * H + 1, 8, 3), "f32"))
    pad = ((1, 1), (0, 0))
    patches = extract_patches(x, window=(3, 3), strides=(2, 1), padding=pad)
    assert str(patches.type) == "f32[?N, ?H+1, 6, 27]"
    pooled = reduce_window(x, kind="max", window=(1, 2, 2, 1), strides=(1, 2, 2, 1))
    assert str(pooled.type) == "f32[?N, ?H, 4, 3]"
    for size in range(1, 4):  # the linear count is the true one
        bound = reduce_window.infer(x.type.substitute({"H": size}), **pooled.attrs)
        assert bound == pooled.type.substitute({"H": size})
    with pytest.raises(SpecError, match="room for 2\\*\\?H-2 in strides of 3, which is not linear"):
        extract_patches(x, window=(3, 3), strides=(3, 1))
    with pytest.raises(SpecError, match="axis 0 of size \\?N may be empty"):
        reduce_window(x, kind="max", window=(1, 1, 1, 1), base_dilation=(2, 1, 1, 1))


def test_a_window_that_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="reaches over 5 does not fit in axis 1 of size 3"):
        call(extract_patches, whole(RNG, (1, 3, 1)), window=(3,), dilation=(2,))
    assert call(reduce_window, whole(RNG, (0, 3)), kind="max", window=(1, 2)).shape == (0, 2)
