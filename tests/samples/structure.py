"""Samples of constants and of bodies applied to operands: every dtype, one result and several."""

import numpy as np

from ptir import ops
from ptir.ir import Literal, Program, tensor_type
from tests.data import ALL, ramp
from tests.samples import Case, OpSamples, Refused

ROW, PAIR = tensor_type((3,), "f32"), tensor_type((2,), "f32")
_SPECIAL = np.array([np.nan, -0.0, np.inf, -np.inf], np.float32)

_CONSTANT = OpSamples(
    "constant",
    cases=[
        *(Case((), {"value": Literal(ramp(d, 3, 2))}, d) for d in ALL),
        Case((), {"value": Literal(_SPECIAL)}, "special"),
        Case((), {"value": Literal(ramp("f32"))}, "rank 0"),
        Case((), {"value": Literal(ramp("si4", 0, 2))}, "empty"),
        Case((), {"value": Literal(np.full((1, 70), 2.5, np.float32))}, "uniform"),
    ],
    refused=[
        Refused("attribute", (), {"value": 3.0}, "Literal"),
        Refused("attribute", (), {}, "value"),
        Refused("arity", (ROW,), {"value": Literal(3.0)}),
    ],
)

_ONE = Program.of([ROW, ROW], lambda x, y: ops.sub(x, y))
_TWO = Program.of([ROW, ROW], lambda x, y: (ops.maximum(x, y), x))
_NONE = Program.of([], lambda: ops.iota(shape=(3,), dtype="si32", axis=0))
_NESTED = Program.of([ROW, ROW], lambda x, y: ops.call(ops.neg(x), y, body=_ONE))
_OPERANDS = ramp("f32", 3), ramp("f32", 2, 3)[1]


def _bodies(op: str, **attrs: str) -> OpSamples:
    return OpSamples(
        op,
        cases=[
            Case(_OPERANDS, {**attrs, "body": _ONE}, "one result"),
            Case(_OPERANDS, {**attrs, "body": _TWO}, "two results"),
            Case(_OPERANDS, {**attrs, "body": _NESTED}, "nested"),
            Case((), {**attrs, "body": _NONE}, "no operand"),
        ],
        refused=[
            Refused("region", (ROW,), {**attrs, "body": _ONE}, "1 region operands"),
            Refused("region", (ROW, PAIR), {**attrs, "body": _ONE}, "operand 1 is f32[2]"),
            Refused("attribute", (ROW, ROW), attrs, "body"),
            Refused("attribute", (ROW, ROW), {**attrs, "body": 3}, "Program"),
        ],
    )


SAMPLES = (_CONSTANT, _bodies("composite", name="sample.body"), _bodies("call"))
