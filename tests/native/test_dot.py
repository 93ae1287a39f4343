"""Matrix products: every way through the kernel against NumPy in float64."""

import ml_dtypes
import numpy as np
import pytest

from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, SIZES, laid, same, some

BY_LEVEL = pytest.mark.parametrize("level", levels())
BY_DTYPE = pytest.mark.parametrize("dtype", FLOATS)
BIAS, RESIDUAL = 1, 2
FEW = (1, 2, 3, 4, 5, 6, 7, 8)
INTEGERS = (
    (np.int8, np.int32), (np.uint8, np.int32),
    (np.int32, np.int32), (np.uint32, np.uint32), (np.int64, np.int64), (np.uint64, np.uint64),
)  # fmt: skip


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(dtype)


def product(x, w, dtype=np.float32, *, flags=0, added=(), out=None, **how):
    shape = (*x.shape[:-1], w.shape[-1])
    out = np.full(shape, 7).astype(dtype) if out is None else out
    call("dot", flags, x, w, out, *added, **how)
    return out


def wide(array):
    return np.asarray(array).astype(np.float64)


def assert_close(found, x, w, added=()):
    """Within 2K ULP of the sum of the magnitudes, and one rounding to a narrow type."""
    truth, size = wide(x) @ wide(w), abs(wide(x)) @ abs(wide(w))
    for part in added:
        truth, size = truth + wide(part), size + abs(wide(part))
    bound = size * 2.0**-23 * (x.shape[-1] + 2)
    if found.dtype != np.float32:
        bound += abs(truth) * float(ml_dtypes.finfo(found.dtype).eps) + 2.0**-24
    assert found.shape == truth.shape
    assert (abs(wide(found) - truth) <= bound).all()


def check_room(multiply, shape, level):
    """Around the result of [m, k] · [k, n] nothing is written."""
    m, n, k = shape
    room = np.full((m + 2, n + 2), 7, np.float32)
    x, w = some((m, k), np.float32, 1), some((k, n), np.float32, 2)
    multiply(x, w, out=room[1:-1, 1:-1], level=level)
    wanted = np.full((m + 2, n + 2), 7, np.float32)
    wanted[1:-1, 1:-1] = wide(x) @ wide(w)
    np.testing.assert_array_equal(room, wanted)


@BY_LEVEL
@pytest.mark.parametrize("m", [1, 4, 7, 17])
def test_each_number_of_columns_and_of_terms_is_multiplied(level, m):
    for n in SIZES:
        for k in SIZES:
            x, w = normal((m, k), np.float32, 1), normal((k, n), np.float32, 2)
            assert_close(product(x, w, level=level), x, w)
            across = np.ascontiguousarray(w.T).T
            assert_close(product(x, across, level=level), x, across)


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("m", [*FEW, 9, 12, 13, 31, 64, 145])
def test_each_number_of_rows_is_multiplied(level, dtype, m):
    for n, k in ((1, 33), (7, 65), (100, 129), (65, 400)):
        x, w = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
        for right in (w, np.ascontiguousarray(w.T).T):
            assert_close(product(x, right, dtype, level=level), x, right)


@BY_LEVEL
@pytest.mark.parametrize("left", FLOATS)
@pytest.mark.parametrize("right", FLOATS)
@pytest.mark.parametrize("made", FLOATS)
def test_each_mix_of_float_types_is_multiplied(level, left, right, made):
    for m in (1, 8, 20):
        x, w = normal((m, 70), left, 1), normal((70, 45), right, 2)
        for matrix in (w, np.ascontiguousarray(w.T).T):
            assert_close(product(x, matrix, made, level=level), x, matrix)
    x, w = normal((100, 300), left, 1), normal((300, 5), right, 2)  # tall and narrow
    assert_close(product(x, w, made, level=level), x, w)


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("m", [3, 25])
def test_operands_and_results_lie_anywhere(level, dtype, m):
    x, w, residual = some((m, 37), dtype, 1), some((37, 50), dtype, 2), some((m, 50), dtype, 3)
    bias = some((50,), dtype, 4)
    wanted = (wide(x) @ wide(w) + wide(bias) + wide(residual)).astype(np.float32).astype(dtype)
    for left in LAYOUTS:
        for right in LAYOUTS:
            made = laid(np.zeros((m, 50), dtype), left)
            others = laid(bias, right), laid(residual, left)
            given = laid(x, left), laid(w, right)
            product(*given, flags=BIAS | RESIDUAL, added=others, out=made, level=level)
            assert same(np.ascontiguousarray(made), wanted), (left, right)


@BY_LEVEL
@pytest.mark.parametrize("m", [1, 8, 30])
def test_what_is_added_may_be_of_any_float_type(level, m):
    x, w = normal((m, 20), np.float32, 1), normal((20, 35), np.float32, 2)
    for kind in FLOATS:
        bias, residual = normal((35,), kind, 3), normal((m, 35), kind, 4)
        for flags, added in (
            (BIAS, [bias]), (RESIDUAL, [residual]), (BIAS | RESIDUAL, [bias, residual]),
        ):  # fmt: skip
            made = product(x, w, flags=flags, added=added, level=level)
            assert_close(made, x, w, added)


@BY_LEVEL
@pytest.mark.parametrize("shape", [(5, 3, 7), (2, 40, 9), (40, 6, 2), (9, 300, 5)])
def test_what_stands_around_the_result_is_left_alone(level, shape):
    check_room(product, shape, level)


@BY_LEVEL
@pytest.mark.parametrize("m", [1, 5, 20])
def test_one_element_may_stand_for_many(level, m):
    x = np.broadcast_to(np.float32(3), (m, 30))
    w = np.broadcast_to(some((40,), np.float32), (30, 40))
    np.testing.assert_array_equal(product(x, w, level=level), wide(x) @ wide(w))
    same_columns = np.broadcast_to(some((30, 1), np.float32), (30, 40))
    np.testing.assert_array_equal(product(x, same_columns, level=level), wide(x) @ same_columns)
    bias = np.broadcast_to(np.float32(2), (40,))
    made = product(x, w, flags=BIAS, added=[bias], level=level)
    np.testing.assert_array_equal(made, wide(x) @ wide(w) + 2)


@BY_LEVEL
@BY_DTYPE
def test_without_terms_the_result_is_what_is_added(level, dtype):
    x, w = np.zeros((3, 0), dtype), np.zeros((0, 600), dtype)
    assert same(product(x, w, dtype, level=level), np.zeros((3, 600), dtype))
    bias = some((600,), dtype)
    made = product(x, w, dtype, flags=BIAS, added=[bias], level=level)
    assert same(made, np.ascontiguousarray(np.broadcast_to(bias, (3, 600))))


@BY_LEVEL
@pytest.mark.parametrize("m", [2, 11])
@pytest.mark.parametrize("threads", [1, 2])
def test_items_of_a_batch_are_products_of_their_own(level, m, threads):
    for batch in ((0,), (1,), (5,), (2, 3), (2, 1, 2, 1, 2, 2)):
        x, w = some((*batch, m, 19), np.float32, 1), some((*batch, 19, 66), np.float32, 2)
        residual = some((*batch, m, 66), np.float32, 3)
        made = product(
            x, w, flags=RESIDUAL, added=[residual], level=level, threads=threads,
        )  # fmt: skip
        np.testing.assert_array_equal(made, wide(x) @ wide(w) + residual)


@BY_LEVEL
@pytest.mark.parametrize("m", [1, 12])
def test_a_batch_may_share_one_operand(level, m):
    x = some((4, m, 21), np.float32, 1)
    w = np.broadcast_to(some((21, 30), np.float32, 2), (4, 21, 30))
    np.testing.assert_array_equal(product(x, w, level=level), wide(x) @ wide(w))
    flipped = x[::-1].swapaxes(1, 2).copy().swapaxes(1, 2)
    np.testing.assert_array_equal(product(flipped, w, level=level), wide(flipped) @ wide(w))


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize(
    "shape",
    [(1, 768, 1153), (8, 130, 3000), (7, 2000, 65), (16, 769, 100), (150, 1000, 70),
     (500, 40, 1100), (300, 90, 3), (5, 33_000, 20)],
)  # fmt: skip
def test_more_threads_make_the_same_bits(level, dtype, shape):
    m, k, n = shape
    x, w = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
    for right in (w, np.ascontiguousarray(w.T).T):
        alone = product(x, right, level=level)
        assert_close(alone, x, right)
        for threads in (2, 3):
            assert same(product(x, right, level=level, threads=threads), alone)


@BY_LEVEL
@BY_DTYPE
@pytest.mark.parametrize("shape", [(768, 768), (768, 3072), (3072, 768), (520, 4097), (64, 17)])
def test_a_row_gives_the_same_bits_in_any_company_of_up_to_8(level, dtype, shape):
    k, n = shape
    x, w = normal((8, k), dtype, 1), normal((k, n), dtype, 2)
    for weight in (w, np.ascontiguousarray(w.T).T):
        alone = np.concatenate([product(x[i : i + 1], weight, level=level) for i in range(8)])
        for m in FEW:
            assert same(product(x[:m], weight, level=level, threads=2), alone[:m])


@BY_LEVEL
@pytest.mark.parametrize("m", [1, 6, 40])
def test_infinities_and_nan_stay_in_their_rows_and_columns(level, m):
    x, w = some((m, 35), np.float32, 1), abs(some((35, 50), np.float32, 2)) + np.float32(1)
    w[34, 49], x[0, 34], w[3, 7] = np.inf, 0, np.nan
    with np.errstate(invalid="ignore"):
        wanted = wide(x) @ wide(w)
    for right in (w, np.ascontiguousarray(w.T).T, np.repeat(np.repeat(w, 2, 0), 2, 1)[::2, ::2]):
        np.testing.assert_array_equal(product(x, right, level=level), wanted)


@BY_LEVEL
@pytest.mark.parametrize("dtype", FLOATS[1:])
@pytest.mark.parametrize("m", [1, 9])
def test_a_narrow_result_is_rounded_once_to_the_nearest_even(level, dtype, m):
    x = np.ones((m, 2), np.float32)
    ulp = float(ml_dtypes.finfo(dtype).eps)
    first = np.full(20, 1, np.float32)
    second = np.linspace(0, 4 * ulp, 20, dtype=np.float32)
    made = product(x, np.stack([first, second]), dtype, level=level)
    assert same(made, np.tile((first + second).astype(dtype), (m, 1)))


@BY_LEVEL
@pytest.mark.parametrize("kinds", INTEGERS)
@pytest.mark.parametrize("threads", [1, 2])
def test_integers_wrap(level, kinds, threads):
    element, made = kinds
    limits = np.iinfo(element)
    draw = np.random.default_rng(5)
    for m, k, n in ((0, 3, 2), (1, 0, 3), (3, 17, 600), (12, 5, 7)):
        x, w = (
            draw.integers(limits.min, limits.max, shape, element, endpoint=True)
            for shape in ((2, m, k), (2, k, n))
        )
        wanted = np.einsum("bmk,bkn->bmn", x.astype(np.int64), w.astype(np.int64)).astype(made)
        for layout in LAYOUTS:
            out = laid(np.ones((2, m, n), made), layout)
            product(laid(x, layout), laid(w, layout), out=out, level=level, threads=threads)
            np.testing.assert_array_equal(out, wanted)


@BY_LEVEL
@pytest.mark.parametrize("threads", [1, 2])
def test_f64_is_multiplied_in_f64(level, threads):
    draw = np.random.default_rng(6)
    for m, k, n in ((0, 1, 1), (2, 0, 3), (1, 300, 1025), (33, 17, 65)):
        x, w = draw.standard_normal((m, k)), draw.standard_normal((k, n))
        for layout in LAYOUTS:
            made = product(laid(x, layout), laid(w, layout), np.float64, level=level,
                           threads=threads)  # fmt: skip
            np.testing.assert_allclose(made, x @ w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "left, right, made",
    [(np.float32, np.float64, np.float64), (np.int8, np.int16, np.int32),
     (np.float64, np.float64, np.float32), (np.int8, np.int8, np.float32),
     (np.int8, np.int8, np.int64), (np.int16, np.int16, np.int16),
     (np.complex64, np.complex64, np.complex64), (np.float32, np.float32, np.int32)],
)  # fmt: skip
def test_other_types_are_refused(left, right, made):
    with pytest.raises(Refused):
        product(np.ones((2, 3), left), np.ones((3, 2), right), made)


def test_integers_with_a_bias_are_refused():
    x = np.ones((2, 2), np.int8)
    with pytest.raises(Refused):
        product(x, x, np.int32, flags=BIAS, added=[np.ones(2, np.int32)])
