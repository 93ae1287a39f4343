"""Samples of constants and of bodies applied to operands: every dtype, one result and several."""

import numpy as np

from ptir import ops
from ptir.ir import Literal, Program, TupleType, tensor_type
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


_TUPLE = OpSamples(
    "tuple",
    cases=[
        *(Case((ramp(d, 2), ramp("si8", 0), ramp(d, 1, 2)), note=d) for d in ALL),
        Case((ramp("f32"),), note="one value"),
    ],
)

# Whose operand is no array; `tests/ops` and `tests/backend` say what it gives.
_ITEM = OpSamples(
    "item",
    cases=[],
    refused=[
        Refused("type", (ROW,), {"index": 0}, "wanted a tuple"),
        Refused("attribute", (TupleType((ROW,)),), {"index": 1}, "tuple of 1"),
        Refused("attribute", (TupleType((ROW,)),), {"index": -1}, "at least 0"),
        Refused("attribute", (TupleType((ROW,)),), {}, "missing"),
        Refused("arity", (), {"index": 0}),
    ],
)

# What it gives is its backend's.
_CUSTOM_CALL = OpSamples(
    "custom_call",
    cases=[],
    refused=[
        Refused("attribute", (ROW,), {"target": "sample.v1", "type": ROW}, "namespaced"),
        Refused("attribute", (ROW,), {"target": "ptir.sample", "type": ROW}, "versioned"),
        Refused("attribute", (ROW,), {"target": "ptir.sample.v1"}, "type"),
        Refused("attribute", (ROW,), {"type": ROW}, "target"),
        Refused("attribute", (), {"target": "a.b.v1", "type": ROW, "attributes": 3}, "Mapping"),
        Refused("op", (ROW,), {"target": "ptir.no_such.v1", "type": ROW}, "no_such"),
    ],
)

SAMPLES = (
    _CONSTANT,
    _bodies("composite", name="sample.body"),
    _bodies("call"),
    _TUPLE,
    _ITEM,
    _CUSTOM_CALL,
)
