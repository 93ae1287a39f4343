"""Kernels that quantise and back, against the meaning of the ops."""

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.ir import dtype as element
from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, NIBBLES, WHOLE, laid, same
from tests.ops.calling import call as meaning

BY_LEVEL = pytest.mark.parametrize("level", levels())
THREADS = pytest.mark.parametrize("threads", [1, 2])
NARROW = [*NIBBLES, *(dtype for dtype in WHOLE if np.dtype(dtype).itemsize < 8)]
SHAPES = [(3, 40), (1, 600), (129, 8), (90, 160), (0, 8), (5, 0)]
RUNS = [(None, None), (0, None), (1, None), (1, 8)]
RNG = np.random.default_rng(4)


def whole(shape, dtype):
    low, high = element(dtype).range
    return RNG.integers(max(low, -90), min(high, 90), shape, endpoint=True).astype(dtype)


def scale_for(shape, axis, group, dtype):
    sizes: tuple[int, ...] = () if axis is None else (shape[axis],)
    if group is not None:
        sizes = (shape[0], shape[1] // group)
    return RNG.uniform(0.01, 2, sizes).astype(dtype)


def spread(array, shape, axis, group):
    """`array` with the sizes of x, or both grouped: stride 0 where it does not change."""
    if group is not None:
        return np.broadcast_to(array[..., None], (*array.shape, group))
    return np.broadcast_to(array if axis != 0 else array[:, None], shape)


def grouped(x, group):
    return x if group is None else x.reshape(len(x), -1, group) if x.size else x[..., None][..., :0]


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("number", FLOATS)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("axis, group", RUNS)
def test_quantize_and_dequantize_are_their_meaning(level, threads, number, dtype, axis, group):
    for shape in SHAPES:
        x = (RNG.standard_normal(shape) * 40).astype(number)
        scale = scale_for(shape, axis, group, np.float32)
        zero = whole(scale.shape, dtype)
        near = [spread(a, shape, axis, group) for a in (scale, zero)]
        for shifted in (True, False):
            given = (scale, zero) if shifted else (scale,)
            runs = {"axis": axis, "group_size": group}
            q = meaning(ops.quantize, x, *given, **runs, dtype=element(dtype))
            back = meaning(ops.dequantize, q, *given, **runs, dtype=element(number))
            words = (near[0], near[1] if shifted else near[0])
            for layout in LAYOUTS[:1] if group else LAYOUTS:
                if group and not x.size:
                    continue
                out, up = laid(np.ones(shape, dtype), layout), laid(np.ones(shape, number), layout)
                how = {"threads": threads, "level": level}
                call(
                    "quantize", grouped(laid(x, layout), group), *words, grouped(out, group), **how
                )
                assert same(out, q), (shape, layout)
                call(
                    "dequantize", grouped(laid(q, layout), group), *words, grouped(up, group), **how
                )
                assert same(up, back), (shape, layout)


@BY_LEVEL
@pytest.mark.parametrize("dtype", NARROW)
def test_what_has_no_integer_saturates_and_NaN_gives_0(level, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.5, 1.5, -0.5, -0.0], np.float32)
    scale, out = np.array(1, np.float32), np.ones(x.shape, dtype)
    near = np.broadcast_to(scale, x.shape)
    call("quantize", x, near, near, out, level=level)
    assert same(out, meaning(ops.quantize, x, scale, dtype=element(dtype)))


@BY_LEVEL
def test_types_that_are_not_served_refuse(level):
    scale, narrow = np.ones(3), np.ones(3, np.float32)
    with pytest.raises(Refused):
        call("dequantize", np.ones(3, np.int8), scale, scale, np.ones(3), level=level)
    with pytest.raises(Refused):
        call("quantize", narrow, narrow, narrow, np.ones(3, np.int64), level=level)
    with pytest.raises(Refused):
        call("quantize", narrow, narrow, narrow, np.ones(3, ml_dtypes.float8_e5m2), level=level)
