"""Text from programs: what is printed, in which order, under which names."""

import re

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.ir import (
    Dim,
    Input,
    Literal,
    Program,
    Role,
    constant,
    leaf,
    parse_program,
    print_program,
    tensor_type,
)
from ptir.ir.node import Source

B = Dim.symbol("B")
ROW = tensor_type((B, 4), "f32")


def constant_text(value: object, element: str) -> str:
    """What the literal of a constant's line says."""
    text = str(Program((), (constant(value, element),)))
    found = re.search(r"\{value=(.*)\}", text)
    assert found is not None
    return found[1]


def test_the_whole_form_of_a_program_with_regions_roles_and_defaults():
    exp = Program.of([ROW], lambda x: ops.exp(x))
    outer = Program.of([ROW], lambda x: ops.composite(x, name="soft max", body=exp))
    inputs = [
        Input(ROW),
        Input(tensor_type((4, 8), "f32"), Role.PARAMETER, "blocks.0.w"),
        Input(ROW, name="unused"),
        Input(ROW, Role.STATE, "cache"),
    ]

    def build(x, w, unused, state):
        a = ops.composite(x, name="f", attributes={"axis": -1, "scale": 0.5}, body=outer)
        b = ops.composite(a, name="soft max", body=exp)
        product = ops.dot_general(b, w, contract_lhs=[1], contract_rhs=[0])
        return product, ops.reduce(product, kind="sum", axes=[1], keepdims=True), state

    assert str(Program.of(inputs, build)) == (
        "program @soft_max.0 (ptir.v1) {\n"
        "  %0: f32[?B, 4] = argument(0)\n"
        "  %1: f32[?B, 4] = exp(%0)\n"
        "  return %1\n"
        "}\n"
        "\n"
        "program @f.0 (ptir.v1) {\n"
        "  %0: f32[?B, 4] = argument(0)\n"
        '  %1: f32[?B, 4] = composite(%0) {body=@soft_max.0, name="soft max"}\n'
        "  return %1\n"
        "}\n"
        "\n"
        "program @main (ptir.v1) {\n"
        "  %0: f32[?B, 4] = argument(0)\n"
        '  %1: f32[4, 8] = parameter("blocks.0.w")\n'
        '  %2: f32[?B, 4] = argument(2, "unused")\n'
        '  %3: f32[?B, 4] = state(3, "cache")\n'
        "  %4: f32[?B, 4] = composite(%0) "
        '{attributes={axis=-1, scale=0.5}, body=@f.0, name="f"}\n'
        '  %5: f32[?B, 4] = composite(%4) {body=@soft_max.0, name="soft max"}\n'
        "  %6: f32[?B, 8] = dot_general(%5, %1) {contract_lhs=[1], contract_rhs=[0]}\n"
        '  %7: f32[?B, 1] = reduce(%6) {axes=[1], keepdims=true, kind="sum"}\n'
        "  return %6, %7, %3\n"
        "}\n"
    )


@pytest.mark.parametrize(
    "value, element, expected",
    [
        (0.1, "f32", "f32 0.1"),
        (0.1, "f64", "f64 0.1"),
        (1 / 3, "f32", "f32 0.33333334"),
        (1 / 3, "bf16", "bf16 0.334"),
        (-0.0, "f16", "f16 -0.0"),
        (1e-45, "f32", "f32 1e-45"),
        (float("inf"), "f8e5m2", "f8e5m2 inf"),
        (float("nan"), "bf16", "bf16 nan"),
        (np.array(0x7FC00001, np.uint32).view(np.float32), "f32", "f32 0x7fc00001"),
        (np.array(0xFF800001, np.uint32).view(np.float32), "f32", "f32 0xff800001"),
        (complex(1.5, -0.0), "c64", "c64 (1.5, -0.0)"),
        ([True, False], "i1", "i1[2] [true, false]"),
        ([-8, 7], "si4", "si4[2] [-8, 7]"),
        ([15, 0], "ui4", "ui4[2] [15, 0]"),
        ([[1, 2], [3, 4]], "f32", "f32[2, 2] [1.0, 2.0, 3.0, 4.0]"),
        (2**64 - 1, "ui64", "ui64 18446744073709551615"),
        ([], "f32", "f32[0] []"),
    ],
)
def test_a_literal_is_its_shortest_exact_words(value, element, expected):
    assert constant_text(value, element) == expected


def test_every_half_and_byte_float_is_printed_exactly():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        for start in range(0, 1 << 16, 1 << 12):
            every = np.arange(start, start + (1 << 12), 61, dtype=np.uint16).view(dtype)
            for part in np.array_split(every, 2):
                check_exact(part)
    for dtype in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
        for part in np.array_split(np.arange(256, dtype=np.uint8).view(dtype), 4):
            check_exact(part)


def check_exact(array):
    program = Program((), (constant(array),))
    assert array.size <= 64
    assert parse_program(str(program)) == program


def test_a_large_literal_is_its_digest_unless_asked_in_full():
    big = Literal(np.arange(65, dtype=np.uint8))
    program = Program((), (constant(big),))
    assert f"value=ui8[65] #{big.digest}}}" in str(program)
    assert f'value=ui8[65] hex"{bytes(range(65)).hex()}"' in print_program(program, literals=True)
    assert parse_program(print_program(program, literals=True)) == program


def test_four_bit_elements_pack_low_nibble_first():
    program = Program((), (constant([1, -1, 7] * 22 + [2], "si4"),))
    text = print_program(program, literals=True)
    assert 'hex"f1' + "17" in text
    assert parse_program(text) == program


def test_output_is_ascii_without_control_characters():
    name = 'é\x00\x1b[31m\n"}'
    text = str(Program.of([Input(ROW, Role.PARAMETER, name)], lambda w: w))
    assert text.isascii()
    assert not re.search(r"[^\n -~]", text)
    assert r'parameter("\u00e9\u0000\u001b[31m\n\"}")' in text


def test_regions_as_deep_as_the_reader_takes_print_and_deeper_ones_too():
    body = Program.of([ROW], lambda x: ops.exp(x))
    for _ in range(2000):
        inner = body
        body = Program.of([ROW], lambda x, inner=inner: ops.call(x, body=inner))
    assert str(body).count("program @") == 2001


def test_an_invalid_program_and_a_lazy_graph_still_print():
    class Data(Source):
        type = tensor_type((2,), "f32")

        def load(self):
            raise AssertionError("printing loads nothing")

    program = Program((), (leaf(Data()),))
    assert "%0: f32[2] = leaf() {source=<Data>}" in str(program)
    undeclared = Program((), Program.of([ROW], lambda x: x).results)
    assert "= param() {slot=0, type=f32[?B, 4]}" in str(undeclared)
