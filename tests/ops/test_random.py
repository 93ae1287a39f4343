"""Random bits are the published Philox; uniform and normal numbers are their exact, even use."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptir import ops
from ptir.ir import Dim, Program, SpecError, param, tensor_type
from ptir.ops.evaluate import evaluate
from ptir.ops.random import philox4x32
from tests.ops.calling import call, decomposed

KEY = np.array([0xA4093822, 0x299F31D0], np.uint32)
SAMPLES = 100_000
FLOATS = {"f8e4m3": 4, "f8e5m2": 3, "bf16": 8, "f16": 11, "f32": 24, "f64": 53}  # digits

# Random123 (D. E. Shaw Research), examples/kat_vectors: philox 4x32 10, counter, key, block.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def philox_by_hand(counter, key):
    """One block, in Python's integers: the paper's definition."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        high, low = divmod(0xD2511F53 * a, 1 << 32)
        other_high, other_low = divmod(0xCD9E8D57 * c, 1 << 32)
        a, b, c, d = other_high ^ b ^ k, other_low, high ^ d ^ m, low
        k, m = (k + 0x9E3779B9) % (1 << 32), (m + 0xBB67AE85) % (1 << 32)
    return [a, b, c, d]


def words_by_hand(key, count):
    blocks = [philox_by_hand([n, 0, 0, 0], key) for n in range(-(-count // 4))]
    return [word for block in blocks for word in block][:count]


@pytest.mark.parametrize("counter, key, block", KNOWN)
def test_philox_equals_the_published_vectors(counter, key, block):
    found = philox4x32(np.array([counter], np.uint32), np.array(key, np.uint32))
    assert found.tolist() == [block]
    assert philox_by_hand(counter, key) == block


words = st.integers(0, 2**32 - 1)


@given(st.lists(words, min_size=4, max_size=4), st.lists(words, min_size=2, max_size=2))
def test_philox_equals_its_definition_on_any_counter(counter, key):
    found = philox4x32(np.array([counter, [0] * 4], np.uint32), np.array(key, np.uint32))
    assert found[0].tolist() == philox_by_hand(counter, key)


@given(st.lists(words, min_size=2, max_size=2), st.lists(st.integers(0, 5), max_size=3))
def test_bits_are_the_words_of_consecutive_blocks(key, shape):
    found = call(ops.random_bits, np.array(key, np.uint32), shape=shape, dtype="ui32")
    assert found.shape == tuple(shape)
    assert found.reshape(-1).tolist() == words_by_hand(key, math.prod(shape))


def test_wide_and_narrow_bits_are_the_same_words_low_part_first():
    stream = words_by_hand(KEY.tolist(), 10)
    pairs = [low | high << 32 for low, high in zip(stream[::2], stream[1::2], strict=True)]
    halves = [word >> shift & 0xFFFF for word in stream for shift in (0, 16)]
    octets = [word >> shift & 0xFF for word in stream for shift in (0, 8, 16, 24)]
    for dtype, want in (("ui64", pairs), ("ui16", halves), ("ui8", octets)):
        for count in (len(want), len(want) - 3, 1, 0):
            found = call(ops.random_bits, KEY, shape=(count,), dtype=dtype)
            assert found.tolist() == want[:count]


def test_the_block_counter_is_wide():
    counter = np.array([[0, 1, 0, 0]], np.uint32)  # block 2**32
    assert philox4x32(counter, KEY)[0].tolist() == philox_by_hand([0, 1, 0, 0], KEY.tolist())


@pytest.mark.parametrize("dtype", ["ui8", "ui16", "ui32", "ui64"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 7), (2, 0, 5), (300,)])
def test_bits_written_out_are_the_same_bits(dtype, shape):
    attrs = {"shape": shape, "dtype": dtype}
    want = call(ops.random_bits, KEY, **attrs)
    np.testing.assert_array_equal(decomposed(ops.random_bits, KEY, **attrs), want)


@pytest.mark.parametrize("dtype, digits", FLOATS.items())
def test_uniform_numbers_are_the_high_bits_exactly(dtype, digits):
    width = next(w for w in (8, 16, 32, 64) if w >= digits)
    bits = call(ops.random_bits, KEY, shape=(1000,), dtype=f"ui{width}").tolist()
    found = call(ops.random_uniform, KEY, shape=(1000,), dtype=dtype)
    assert found.astype(np.float64).tolist() == [(b >> width - digits) / 2**digits for b in bits]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_uniform_numbers_are_spread_evenly(dtype):
    x = np.sort(call(ops.random_uniform, KEY, shape=(SAMPLES,), dtype=dtype).astype(np.float64))
    assert x[0] >= 0
    assert x[-1] < 1
    assert abs(x.mean() - 1 / 2) < 4 * math.sqrt(1 / 12 / SAMPLES)
    assert abs(x.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / SAMPLES)
    assert distance(x) < 1.95  # Kolmogorov's limit at one in a thousand


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_normal_numbers_are_normal(dtype):
    x = np.sort(call(ops.random_normal, KEY, shape=(SAMPLES,), dtype=dtype).astype(np.float64))
    assert abs(x.mean()) < 4 / math.sqrt(SAMPLES)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / SAMPLES)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / SAMPLES)
    assert distance(torch.special.ndtr(torch.tensor(x)).numpy()) < 1.95


def distance(probabilities):
    """Kolmogorov and Smirnov's distance of sorted numbers from the even spread, times √n."""
    n = len(probabilities)
    steps = np.arange(n + 1) / n
    above, below = steps[1:] - probabilities, probabilities - steps[:-1]
    return max(above.max(), below.max()) * math.sqrt(n)


def test_normal_numbers_are_box_muller_of_uniform_ones():
    u, v = call(ops.random_uniform, KEY, shape=(2, 500), dtype="f32").astype(np.float64)
    want = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
    found = call(ops.random_normal, KEY, shape=(5, 100), dtype="f32")
    np.testing.assert_allclose(found.reshape(-1), want, rtol=1e-5, atol=2e-6)
    assert call(ops.random_normal, KEY, shape=(500,), dtype="bf16").tolist() == (
        found.reshape(-1).astype(tensor_type((), "bf16").dtype.numpy).tolist()
    )


@pytest.mark.parametrize("op", [ops.random_bits, ops.random_uniform, ops.random_normal])
def test_another_key_gives_other_numbers_and_the_same_key_the_same(op):
    dtype = "ui32" if op is ops.random_bits else "f32"
    one, same, other = (
        call(op, key.copy(), shape=(1000,), dtype=dtype)
        for key in (KEY, KEY, KEY + np.array([0, 1], np.uint32))
    )
    np.testing.assert_array_equal(one, same)
    assert np.mean(one == other) < 0.01


@pytest.mark.parametrize("batch", [0, 1, 7])
def test_shapes_may_be_symbolic(batch):
    shape = Dim.symbol("B"), 3
    inputs = [tensor_type((2,), "ui32"), tensor_type(shape, "f32")]
    for op in (ops.random_uniform, ops.random_normal):
        program = Program.of(
            inputs, lambda key, x, op=op: ops.add(x, op(key, shape=shape, dtype="f32"))
        ).verify()
        (found,) = evaluate(program, [KEY, np.zeros((batch, 3), np.float32)])
        np.testing.assert_array_equal(found, call(op, KEY, shape=(batch, 3), dtype="f32"))


@pytest.mark.parametrize("batch", [0, 1, 7])
@pytest.mark.parametrize("dtype", ["ui8", "ui64"])
def test_bits_of_symbolic_shape_are_the_same_written_out(batch, dtype):
    attrs = {"shape": (Dim.symbol("B"), 3), "dtype": dtype}
    inputs = [tensor_type((2,), "ui32"), tensor_type((Dim.symbol("B"),), "f32")]
    written_out = ops.random_bits.decompose
    assert written_out is not None
    program = Program.of(
        inputs, lambda key, x: written_out(key, **ops.random_bits(key, **attrs).attrs)
    )
    (found,) = evaluate(program.verify(), [KEY, np.zeros(batch, np.float32)])
    want = call(ops.random_bits, KEY, shape=(batch, 3), dtype=dtype)
    np.testing.assert_array_equal(found, want)


def test_a_key_is_two_words():
    with pytest.raises(SpecError, match=r"key is si64\[2\], wanted ui32\[2\] \[operand\]"):
        ops.random_bits(param(0, tensor_type((2,), "si64")), shape=(3,), dtype="ui32")
