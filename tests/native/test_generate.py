"""Kernels that make tensors from numbers: iota and random_bits."""

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.ir import dtype as element
from tests.native.calling import Refused, call, levels
from tests.native.layouts import FLOATS, LAYOUTS, NIBBLES, SIZES, WHOLE, laid, same
from tests.ops.calling import reference

BY_LEVEL = pytest.mark.parametrize("level", levels())
THREADS = pytest.mark.parametrize("threads", [1, 2])
KEY = np.array([0xDEADBEEF, 0x12345678], np.uint32)


# --- iota ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("dtype", [*FLOATS, np.float64, *WHOLE, *NIBBLES])
def test_iota_is_its_numpy_meaning(level, threads, dtype):
    shapes = [(n,) for n in SIZES] + [(3, 129), (129, 3), (2, 5, 300), (300, 1, 2), (70_001,)]
    for shape in shapes:
        for axis in range(len(shape)):
            wanted = reference(ops.iota, shape=shape, dtype=element(dtype), axis=axis)
            for layout in LAYOUTS:
                out = laid(np.ones(shape, dtype), layout)
                call("iota", out, axis, threads=threads, level=level)
                assert same(out, wanted), (shape, axis, layout)


@BY_LEVEL
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float32])
def test_a_count_that_f32_lacks_is_rounded_once(level, dtype):
    size = 2**24 + 2**17
    out = np.zeros(size, dtype)
    call("iota", out, 0, level=level)
    wanted = reference(ops.iota, shape=(size,), dtype=element(dtype), axis=0)
    assert same(out[2**24 - 9 :], wanted[2**24 - 9 :])


@BY_LEVEL
def test_types_that_iota_does_not_count_in_refuse(level):
    for dtype in (ml_dtypes.float8_e4m3fn, np.complex64):
        with pytest.raises(Refused):
            call("iota", np.zeros(3, dtype), 0, level=level)


# --- random_bits ---


@BY_LEVEL
@THREADS
@pytest.mark.parametrize("dtype", ["ui8", "ui16", "ui32", "ui64"])
def test_random_bits_are_those_of_the_reference(level, threads, dtype):
    for shape in [*((n,) for n in SIZES), (3, 5, 7), (20_001,), ()]:
        wanted = reference(ops.random_bits, KEY, shape=shape, dtype=element(dtype))
        for layout in LAYOUTS:
            out = laid(np.zeros(shape, wanted.dtype), "unaligned")
            call("random_bits", laid(KEY, layout), out, threads=threads, level=level)
            assert same(out, wanted), (shape, layout)


@BY_LEVEL
def test_philox_gives_the_known_answer(level):
    """Of the Random123 distribution, for a zero counter and key."""
    out = np.zeros(4, np.uint32)
    call("random_bits", np.zeros(2, np.uint32), out, level=level)
    assert [f"{x:08x}" for x in out] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
