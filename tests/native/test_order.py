"""sort and top_k, against the meaning of the ops."""

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.ir import dtype as element
from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, NIBBLES, SIZES, WHOLE, laid
from tests.ops.calling import call as meaning

BY_LEVEL = pytest.mark.parametrize("level", levels())
DOWN = pytest.mark.parametrize("down", [False, True])
EIGHT = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
REAL = pytest.mark.parametrize("dtype", [*FLOATS, np.float64, *EIGHT, *WHOLE, *NIBBLES, np.bool_])
WIDE = pytest.mark.parametrize("dtype", [*FLOATS, np.float64])
KEPT = (4 << 20) // 16  # elements of a row that are sorted in a thread's own memory
WORKSPACE = 2
RNG = np.random.default_rng(8)


def some(shape, dtype):
    """Any value of an integer type; of floats few different ones, zeros and NaNs of both signs."""
    known = element(dtype)
    if known.kind == "bool":
        return RNG.random(shape) < 0.5
    if known.is_integer:
        low, high = known.range
        numbers = RNG.integers(low, high, shape, np.uint64 if low == 0 else np.int64)
        return numbers.astype(dtype)
    values = np.array([0.0, -0.0, 1.5, -2, 3, np.nan, -np.nan, np.inf, -np.inf, -1e-2])
    with np.errstate(invalid="ignore"):
        return RNG.choice(values, shape).astype(dtype)


def ordered(name, x, k, down, layout="plain", workspace=None, **how):
    shape = (*x.shape[:-1], k)
    values = laid(np.ones(shape, x.dtype), layout)
    indices = laid(np.full(shape, 99), layout)
    more = () if workspace is None else (workspace,)
    flags = int(down) | (WORKSPACE if more else 0)
    call(name, flags, laid(x, layout), values, indices, *more, **how)
    return np.array(values), np.array(indices)


def equal(found, wanted):
    """The same bits: what is equal in value keeps its sign, and a NaN its payload."""
    pairs = list(zip(found, wanted, strict=True))
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


@BY_LEVEL
@REAL
@DOWN
def test_sort_is_its_meaning(level, dtype, down):
    for size in (*SIZES, 300, 1100):
        x = some((3, size), dtype)
        wanted = meaning(ops.sort, x, axis=-1, descending=down)
        for layout in LAYOUTS:
            assert equal(ordered("sort", x, size, down, layout, level=level), wanted), size


@BY_LEVEL
@REAL
@DOWN
def test_top_k_is_its_meaning(level, dtype, down):
    for size in (*SIZES, 1100):
        x = some((3, size), dtype)
        for k in {0, 1, 2, 31, 128, 129, size} & set(range(size + 1)):
            wanted = meaning(ops.top_k, x, k=k, axis=-1, largest=down)
            for layout in LAYOUTS:
                assert equal(ordered("top_k", x, k, down, layout, level=level), wanted), (size, k)


@BY_LEVEL
@WIDE
@DOWN
def test_floats_of_all_sizes_are_in_order(level, dtype, down):
    exponents = RNG.uniform(-14, 14, (4, 3000))
    x = (RNG.choice([-1.0, 1.0], exponents.shape) * 2**exponents).astype(dtype)
    wanted = meaning(ops.sort, x, axis=-1, descending=down)
    assert equal(ordered("sort", x, 3000, down, level=level), wanted)
    wanted = meaning(ops.top_k, x, k=50, axis=-1, largest=down)
    assert equal(ordered("top_k", x, 50, down, level=level), wanted)


@BY_LEVEL
def test_numbers_that_differ_in_their_last_bit_are_in_order(level):
    x = (np.float64(1) + np.arange(400) * 2.0**-52)[RNG.permutation(400)][None]
    assert equal(ordered("sort", x, 400, False, level=level), meaning(ops.sort, x, axis=-1))
    whole = (np.arange(400) + (1 << 40))[RNG.permutation(400)][None]
    assert equal(ordered("sort", whole, 400, False, level=level), meaning(ops.sort, whole, axis=-1))


@BY_LEVEL
@DOWN
@pytest.mark.parametrize("given", [np.arange(2000.0), -np.arange(2000.0), np.ones(2000)])
def test_what_is_in_order_already_stays_or_turns_around(level, down, given):
    x = given[None].astype(np.float32)
    for k in (5, 128, 2000):
        wanted = meaning(ops.top_k, x, k=k, axis=-1, largest=down)
        assert equal(ordered("top_k", x, k, down, level=level), wanted)


@BY_LEVEL
@pytest.mark.parametrize("size", [KEPT, KEPT + 3])
def test_long_rows_are_sorted_in_a_workspace(level, size):
    x = RNG.standard_normal((2, size)).astype(np.float32)
    workspace = np.ones(2 * size)
    wanted = meaning(ops.sort, x, axis=-1)
    assert equal(ordered("sort", x, size, False, workspace=workspace, level=level), wanted)
    assert equal(
        ordered("sort", x, size, False, workspace=workspace, threads=2, level=level), wanted
    )
    if size > KEPT:
        with pytest.raises(Refused):
            ordered("sort", x, size, False, level=level)
        with pytest.raises(Refused):
            ordered("sort", x, size, False, workspace=workspace[1:], level=level)


@BY_LEVEL
@DOWN
def test_threads_do_not_change_a_bit(level, down):
    x = some((67, 515), np.float32)
    for name, k in (("sort", 515), ("top_k", 7)):
        one, two = (ordered(name, x, k, down, threads=n, level=level) for n in (1, 2))
        assert equal(one, two)


@BY_LEVEL
def test_what_has_no_order_refuses(level):
    with pytest.raises(Refused):
        ordered("sort", np.ones((2, 3), np.complex64), 3, False, level=level)
    with pytest.raises(Refused):
        ordered("top_k", np.ones((2, 3), np.float32), 4, False, level=level)
