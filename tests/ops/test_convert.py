"""Casts as an op, and bits read as another type, against `struct` and Torch."""

import struct

import numpy as np
import pytest
import torch

from ptir import ops
from ptir.ir import DTYPES, Dim, SpecError, dtype, param, tensor_type
from tests.exact import edges, patterns, same
from tests.ops.calling import call


@pytest.mark.parametrize("to", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_every_pair_of_dtypes_casts_or_is_refused(source, to):
    values = edges(source)
    if source[0] == "c" and to[0] != "c":
        with pytest.raises(SpecError, match=r"drops a part.*\[dtype\]"):
            call(ops.cast, values, dtype=to)
    else:
        assert call(ops.cast, values, dtype=to).dtype == dtype(to).numpy


@pytest.mark.parametrize("source", ["si4", "ui4", "si8", "ui8", "f8e4m3", "f8e5m2"])
@pytest.mark.parametrize("to", ["bf16", "f16", "f32", "f64"])
def test_every_8_bit_value_survives_a_wider_cast_and_back(source, to):
    values = patterns(source)
    same(call(ops.cast, call(ops.cast, values, dtype=to), dtype=source), values)


PACKED = {"si8": "b", "ui8": "B", "si16": "h", "ui16": "H", "si32": "i", "ui32": "I"}
PACKED |= {"si64": "q", "ui64": "Q", "f16": "e", "f32": "f", "f64": "d"}


@pytest.mark.parametrize("to", PACKED)
@pytest.mark.parametrize("source", PACKED)
def test_bitcast_reads_the_bytes_that_struct_writes(source, to):
    data = np.random.default_rng(3).integers(0, 256, 96, np.uint8).tobytes()
    if source[0] == "f" or to[0] == "f":
        data = struct.pack(f"<24{'f'}", *np.linspace(-9, 9, 24).tolist())
    have, want = dtype(source).bits // 8, dtype(to).bits // 8
    last = (want // have,) if want > have else ()
    values = np.array(struct.unpack(f"<{96 // have}{PACKED[source]}", data), dtype(source).numpy)
    got = call(ops.bitcast, values.reshape(-1, *last), dtype=to)
    expected = np.array(struct.unpack(f"<{96 // want}{PACKED[to]}", data), dtype(to).numpy)
    added = (have // want,) if have > want else ()
    same(got, expected.reshape(-1, *added))


def test_bitcast_of_bf16_and_f8_is_torchs_view():
    for name, of in (("bf16", torch.bfloat16), ("f8e5m2", torch.float8_e5m2)):
        values = patterns(name)
        words = call(ops.bitcast, values, dtype=f"ui{dtype(name).bits}")
        signed = torch.from_numpy(words.view(f"i{values.itemsize}"))
        want = signed.view(of).double().numpy()
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(values.astype(np.float64), want)
        assert call(ops.bitcast, words, dtype=name).tobytes() == values.tobytes()


def test_bitcast_of_bytes_gives_the_low_nibble_first():
    octets = np.array([0x21, 0xF8], np.uint8)
    unsigned = call(ops.bitcast, octets, dtype="ui4")
    assert unsigned.astype(int).tolist() == [[1, 2], [8, 15]]
    signed = call(ops.bitcast, octets, dtype="si4")
    assert signed.astype(int).tolist() == [[1, 2], [-8, -1]]
    same(call(ops.bitcast, signed, dtype="ui8"), octets)
    same(call(ops.bitcast, unsigned, dtype="ui8"), octets)
    word = call(ops.bitcast, call(ops.bitcast, np.array(0x76543210), dtype="ui4"), dtype="si64")
    same(word, np.array(0x76543210))


def test_bitcast_between_4_bit_types_keeps_an_odd_shape():
    values = patterns("si4")[:15].reshape(3, 5)
    got = call(ops.bitcast, values, dtype="ui4")
    assert got.astype(int).tolist() == (values.astype(int) % 16).tolist()
    same(call(ops.bitcast, got, dtype="si4"), values)


def test_bitcast_of_complex_gives_its_parts():
    values = np.array([1 + 2j, -3 - 0.5j], np.complex64)
    parts = call(ops.bitcast, values, dtype="f32")
    same(parts, np.array([[1, 2], [-3, -0.5]], np.float32))
    same(call(ops.bitcast, parts, dtype="c64"), values)


def test_bitcast_of_a_transposed_array_follows_its_axes():
    values = np.arange(6, dtype=np.uint16).reshape(2, 3).T
    same(
        call(ops.bitcast, values, dtype="ui8"),
        np.stack([values & 255, values >> 8], -1).astype("u1"),
    )


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 1)])
def test_bitcast_of_small_shapes(shape):
    values = np.zeros(shape, np.uint32)
    assert call(ops.bitcast, values, dtype="ui8").shape == (*shape, 4)
    assert call(ops.bitcast, call(ops.bitcast, values, dtype="ui4"), dtype="f32").shape == shape
    assert call(ops.bitcast, np.zeros((*shape, 2), np.uint32), dtype="f64").shape == shape


def test_bitcast_of_symbolic_sizes_needs_a_known_last_axis():
    batch = Dim.symbol("B")
    x = param(0, tensor_type((batch, 4), "ui8"))
    assert ops.bitcast(x, dtype="f32").type == tensor_type((batch,), "f32")
    assert ops.bitcast(x, dtype="ui4").type == tensor_type((batch, 4, 2), "ui4")
    with pytest.raises(SpecError, match=r"last axis of 4.*\[shape\]"):
        ops.bitcast(param(0, tensor_type((4, batch), "ui8")), dtype="f32")


def test_stop_gradient_is_the_operand():
    for name in DTYPES:
        same(call(ops.stop_gradient, edges(name)), edges(name))
