"""Kernels that slide windows, against their NumPy meaning."""

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.ir import Literal
from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, NIBBLES, WHOLE, laid, same, some
from tests.ops.calling import reference

BY_LEVEL = pytest.mark.parametrize("level", levels())
THREADS = pytest.mark.parametrize("threads", [1, 2])
KINDS = {"sum": 0, "prod": 1, "max": 2, "min": 3}
COMBINED = (*FLOATS, np.float64, *WHOLE, *NIBBLES)

# x; then for each axis window, stride, padding, base dilation, window dilation
WINDOWS = [
    ((17,), [(3, 2, (1, 1), 1, 1)]),
    ((700,), [(4, 2, (3, 0), 1, 1)]),
    ((33,), [(3, 1, (0, 4), 2, 3)]),
    ((5, 7), [(2, 1, (0, 0), 1, 1), (3, 3, (2, 2), 1, 1)]),
    ((2, 9, 8, 5), [(1, 1, (0, 0), 1, 1), (3, 2, (1, 1), 1, 1), (2, 2, (0, 1), 1, 1),
                    (1, 1, (0, 0), 1, 1)]),
    ((1, 3, 40, 33), [(1, 1, (0, 0), 1, 1), (1, 1, (0, 0), 1, 1), (3, 1, (1, 1), 1, 2),
                      (3, 2, (1, 1), 1, 1)]),
    ((3, 4), [(2, 1, (9, 9), 3, 2), (2, 5, (6, 0), 1, 1)]),
    ((0, 3), [(1, 1, (0, 0), 1, 1), (2, 1, (0, 0), 1, 1)]),
    ((0,), [(2, 1, (3, 0), 2, 1)]),
    ((2, 2, 3, 600), [(1, 1, (0, 0), 1, 1), (2, 1, (0, 0), 1, 1), (2, 1, (1, 0), 1, 1),
                      (1, 1, (0, 0), 1, 1)]),
    ((), []),
]  # fmt: skip


def slid(x, axes, kind):
    columns = zip(*axes, strict=True) if axes else [()] * 5
    window, strides, padding, base, dilation = map(tuple, columns)
    return reference(
        ops.reduce_window, x, kind=kind, window=window, strides=strides, padding=padding,
        base_dilation=base, window_dilation=dilation,
    )  # fmt: skip


def run_reduce(x, out, axes, kind, **how):
    words = [n for window, stride, (low, _), *rest in axes for n in (window, stride, low, *rest)]
    call("reduce_window", x, out, KINDS[kind], *words, **how)


def close(found, wanted):
    """The same, but for sums and products of floats, which round at every step."""
    if same(found, wanted):
        return True
    if wanted.dtype not in map(np.dtype, (*FLOATS, np.float64)):
        return False
    exact = {4: 2.0**-20, 8: 2.0**-49}.get(wanted.itemsize, 2.0**-7)
    return np.allclose(found.astype(float), wanted.astype(float), rtol=exact, atol=0)


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", COMBINED)
def test_reduce_window_is_its_numpy_meaning(level, threads, kind, dtype):
    for shape, axes in WINDOWS:
        x = some(shape, dtype)
        wanted = slid(x, axes, kind)
        for layout in LAYOUTS:
            out = laid(np.ones(wanted.shape, dtype), layout)
            run_reduce(laid(x, layout), out, axes, kind, threads=threads, level=level)
            assert close(out, wanted), (shape, axes, layout)


@BY_LEVEL
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [*FLOATS, np.float64])
def test_windows_over_special_values_are_those_of_the_reference(level, kind, dtype):
    values = np.array([-0.0, -0.0, 0.0, np.nan, np.inf, -np.inf, 1, -0.0, -0.0, np.inf, 2])
    x = values.astype(dtype)
    for padding in [(0, 0), (3, 3)]:
        for size in (1, 2, 3):
            axes = [(size, 1, padding, 1, 1)]
            wanted = slid(x, axes, kind)
            out = np.zeros(wanted.shape, dtype)
            run_reduce(x, out, axes, kind, level=level)
            assert same(out, wanted), (padding, size, out, wanted)


@BY_LEVEL
def test_sums_of_narrow_integers_saturate_once(level):
    x = np.array([127, 127, -128, -127], np.int8)
    out = np.zeros(1, np.int8)
    run_reduce(x, out, [(4, 1, (0, 0), 1, 1)], "sum", level=level)
    assert out[0] == -1
    run_reduce(x[:2], out, [(2, 1, (0, 0), 1, 1)], "sum", level=level)
    assert out[0] == 127


@BY_LEVEL
def test_types_that_windows_do_not_combine_refuse(level):
    for dtype in (ml_dtypes.float8_e4m3fn, np.complex64):
        x = np.zeros(3, dtype)
        with pytest.raises(Refused):
            run_reduce(x, x.copy(), [(1, 1, (0, 0), 1, 1)], "sum", level=level)


# --- extract_patches ---

# x; then for each spatial axis window, stride, dilation, padding
PATCHES = [
    ((2, 9, 3), [(3, 2, 1, (1, 1))]),
    ((1, 8, 9, 5), [(3, 1, 1, (1, 1)), (3, 1, 1, (1, 1))]),
    ((2, 6, 7, 1), [(2, 2, 2, (0, 3)), (3, 1, 2, (4, 0))]),
    ((1, 4, 5, 6, 2), [(2, 1, 1, (0, 0)), (1, 2, 1, (0, 0)), (2, 1, 1, (1, 1))]),
    ((3, 5, 65), [(1, 1, 1, (9, 9))]),
    ((2, 7), []),
    ((0, 4, 3), [(2, 1, 1, (0, 0))]),
    ((1, 0, 3), [(2, 1, 1, (3, 1))]),
    ((2, 4, 0), [(2, 1, 1, (0, 0))]),
    ((1, 60, 60, 16), [(3, 1, 1, (1, 1)), (3, 1, 1, (1, 1))]),
]


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("dtype", [np.uint8, ml_dtypes.bfloat16, np.float32, np.complex128])
def test_extract_patches_is_its_numpy_meaning(level, threads, dtype):
    for shape, axes in PATCHES:
        x, value = some(shape, dtype), np.array(3, np.int8).astype(dtype)
        columns = zip(*axes, strict=True) if axes else [()] * 4
        window, strides, dilation, padding = map(tuple, columns)
        wanted = reference(
            ops.extract_patches, x, window=window, strides=strides, dilation=dilation,
            padding=padding, value=Literal(value),
        )  # fmt: skip
        words = [n for *rest, (low, _) in axes for n in (*rest, low)]
        for layout in LAYOUTS:
            out = laid(np.ones(wanted.shape, dtype), layout)
            call("extract_patches", laid(x, layout), value, out, *words, threads=threads,
                 level=level)  # fmt: skip
            assert same(out, wanted), (shape, axes, layout)
