"""Kernels that move elements: copy and fill."""

from itertools import permutations

import ml_dtypes
import numpy as np
import pytest

from tests.native.calling import call, levels
from tests.native.layouts import LAYOUTS, SIZES, laid, same, some

DTYPES = (np.uint8, ml_dtypes.bfloat16, np.float32, np.float64, np.complex128)
BY_LEVEL = pytest.mark.parametrize("level", levels())


def random_bytes(shape, dtype):
    made = np.empty(shape, dtype)
    raw = np.random.default_rng(1).integers(0, 256, made.nbytes).astype(np.uint8)
    return raw.view(dtype).reshape(shape) if made.nbytes else made


def bits(array):
    return np.ascontiguousarray(array).tobytes()


@BY_LEVEL
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_from_and_to_any_layout_has_the_same_bits(level, dtype, layout):
    for n in SIZES:
        for m in (1, 2, 3, 16, 33):
            x = random_bytes((m, n), dtype)
            for to_layout in LAYOUTS:
                to = laid(np.zeros((m, n), dtype), to_layout)
                call("copy", laid(x, layout), to, level=level)
                assert bits(to) == bits(x), (n, m, to_layout)


@BY_LEVEL
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [*permutations(range(4))])
def test_axes_in_any_order_are_copied(level, dtype, order):
    for shape in [(2, 5, 3, 64), (3, 17, 2, 4), (1, 19, 35, 1)]:
        x = random_bytes(shape, dtype).transpose(order)
        to = np.zeros(x.shape, dtype)
        call("copy", x, to, level=level)
        assert bits(to) == bits(x), shape


@BY_LEVEL
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300, 700), (1, 200_001), (700, 3), (2, 130, 129)])
def test_two_threads_copy_what_one_does(level, dtype, shape):
    x = random_bytes(shape, dtype)
    for source in (x, x[::-1], np.ascontiguousarray(x.T).T, np.broadcast_to(x[:1], shape)):
        to = np.zeros(shape, dtype)
        call("copy", source, to, threads=2, level=level)
        assert bits(to) == bits(source)


@BY_LEVEL
def test_what_stands_between_the_elements_is_left_alone(level):
    room = np.full((67, 71), 7, np.int32)
    x = random_bytes((33, 35), np.int32)
    call("copy", np.ascontiguousarray(x.T).T, room[1::2, 1::2], level=level)
    wanted = np.full((67, 71), 7, np.int32)
    wanted[1::2, 1::2] = x
    np.testing.assert_array_equal(room, wanted)


@BY_LEVEL
def test_a_tensor_copied_onto_itself_stays(level):
    x = random_bytes((40, 50), np.float32)
    kept = x.copy()
    call("copy", x, x, level=level)
    assert bits(x) == bits(kept)


@BY_LEVEL
def test_an_element_without_axes_is_copied(level):
    to = np.zeros((), np.float64)
    call("copy", np.array(2.5), to, level=level)
    assert to == 2.5


@BY_LEVEL
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fill_sets_every_element(level, threads, dtype):
    for shape in [(), (0,), (1,), (17,), (3, 0), (5, 129), (100_003,)]:
        for layout in LAYOUTS:
            to = laid(np.zeros(shape, dtype), layout)
            value = some((), dtype, 3)
            call("fill", to, value, threads=threads, level=level)
            assert same(to, np.full(shape, value)), (shape, layout)
