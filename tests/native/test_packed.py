"""Matrix products with packed weights: every way through the kernel against NumPy in float64."""

import ml_dtypes
import numpy as np
import pytest

from tests.native.calling import call
from tests.native.layouts import FLOATS, LAYOUTS, SIZES, laid, same, some
from tests.native.test_dot import (
    BIAS,
    BY_DTYPE,
    BY_LEVEL,
    RESIDUAL,
    assert_close,
    check_room,
    normal,
    wide,
)

PACKED = 4
PANEL = 32
ROWS = (1, 2, 3, 5, 6, 7, 8, 9, 12, 13, 31, 64, 65, 96, 97, 145)


def packed(w):
    """Panels of 32 columns; rows side by side in each, those of bf16 two by two."""
    k, n = w.shape
    deep = 2 if w.dtype == ml_dtypes.bfloat16 else 1
    panels = -(-n // PANEL)
    made = np.zeros((panels, k // deep, PANEL, deep), w.dtype)
    for column in range(n):
        made[column // PANEL, :, column % PANEL] = w[:, column].reshape(-1, deep)
    return made if deep == 2 else made[..., 0]


def product(x, w, dtype=np.float32, *, flags=0, added=(), out=None, **how):
    out = np.full((len(x), w.shape[1]), 7).astype(dtype) if out is None else out
    call("dot", PACKED | flags, x, packed(w), out, *added, **how)
    return out


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("m", [1, 7, 17])
def test_each_number_of_columns_and_of_terms_is_multiplied(level, dtype, m):
    even = 2 if dtype == ml_dtypes.bfloat16 else 1
    for n in SIZES[1:]:
        for k in SIZES[1:]:
            x, w = normal((m, k * even), dtype, 1), normal((k * even, n), dtype, 2)
            assert_close(product(x, w, level=level), x, w)


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("m", ROWS)
def test_each_number_of_rows_is_multiplied(level, dtype, m):
    for n, k in ((1, 34), (100, 130), (65, 800), (1090, 20)):
        x, w = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
        assert_close(product(x, w, dtype, level=level), x, w)


@BY_LEVEL
@pytest.mark.parametrize("left", FLOATS)
@pytest.mark.parametrize("right", FLOATS)
@pytest.mark.parametrize("made", FLOATS)
def test_each_mix_of_float_types_is_multiplied(level, left, right, made):
    for m in (1, 8, 20, 70, 130):
        x, w = normal((m, 70), left, 1), normal((70, 45), right, 2)
        assert_close(product(x, w, made, level=level), x, w)


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("m", [2, 25, 100])
def test_operands_and_results_lie_anywhere(level, dtype, m):
    x, w, residual = some((m, 38), dtype, 1), some((38, 50), dtype, 2), some((m, 50), dtype, 3)
    bias = some((50,), dtype, 4)
    wanted = (wide(x) @ wide(w) + wide(bias) + wide(residual)).astype(np.float32).astype(dtype)
    for layout in LAYOUTS:
        made = laid(np.zeros((m, 50), dtype), layout)
        added = laid(bias, layout), laid(residual, layout)
        product(laid(x, layout), w, flags=BIAS | RESIDUAL, added=added, out=made, level=level)
        assert same(np.ascontiguousarray(made), wanted), layout
    panels, made = packed(w), np.zeros((m, 50), dtype)
    call("dot", PACKED, x, laid(panels, "unaligned"), made, level=level)
    assert same(made, product(x, w, dtype, level=level))


@BY_LEVEL
@pytest.mark.parametrize("shape", [(5, 3, 8), (2, 40, 10), (40, 6, 2), (9, 300, 6), (120, 33, 4)])
def test_what_stands_around_the_result_is_left_alone(level, shape):
    check_room(product, shape, level)


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize(
    "shape",
    [(1, 768, 1153), (8, 130, 3000), (7, 2000, 65), (16, 770, 100), (150, 1000, 70),
     (500, 40, 1100), (97, 6000, 90), (5, 33_000, 40)],
)  # fmt: skip
def test_more_threads_make_the_same_bits(level, dtype, shape):
    m, k, n = shape
    x, w = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
    alone = product(x, w, level=level)
    assert_close(alone, x, w)
    for threads in (2, 3, 5):
        assert same(product(x, w, level=level, threads=threads), alone)


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("shape", [(768, 100), (3072, 96), (5000, 33), (64, 1500)])
def test_a_row_gives_the_same_bits_in_any_company(level, dtype, shape):
    k, n = shape
    x, w = normal((145, k), dtype, 1), normal((k, n), dtype, 2)
    alone = np.concatenate([product(x[i : i + 1], w, level=level) for i in range(len(x))])
    for m in ROWS:
        assert same(product(x[:m], w, level=level, threads=2), alone[:m]), m


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("m", [1, 6, 40, 100])
def test_infinities_and_nan_stay_in_their_rows_and_columns(level, dtype, m):
    x, w = some((m, 36), dtype, 1), abs(some((36, 50), dtype, 2)) + dtype(1)
    w[35, 49], x[0, 35], w[3, 7], x[0, 4] = np.inf, 0, np.nan, np.inf
    with np.errstate(invalid="ignore"):
        wanted = wide(x) @ wide(w)
    np.testing.assert_array_equal(product(x, w, level=level), wanted)
