"""Samples of control flow: both branches, loops run never, once and often, scans both ways."""

import numpy as np

from ptir import ops
from ptir.ir import Node, Program, TupleType, constant, tensor_type
from tests.data import ALL, ramp
from tests.samples import Case, OpSamples, Refused

I1, COUNT, F32 = (tensor_type((), name) for name in ("i1", "si32", "f32"))
ROW = tensor_type((3,), "f32")
TRUE, FALSE = np.array(True), np.array(False)

_SAME = Program.of([ROW], lambda x: x)
_NEGATED = Program.of([ROW], lambda x: ops.neg(x))
_BOTH = Program.of([ROW], lambda x: (x, ops.neg(x)))
_SIGNS = {"on_true": _SAME, "on_false": _NEGATED}
_CONSTANTS = {
    "on_true": Program.of([], lambda: constant(1.5, "f32")),
    "on_false": Program.of([], lambda: constant(-0.0, "f32")),
}


def _swapped(name: str) -> dict[str, Program]:
    pair = [tensor_type((2, 2), name)] * 2
    straight, crossed = Program.of(pair, lambda x, y: (x, y)), Program.of(pair, lambda x, y: (y, x))
    return {"on_true": straight, "on_false": crossed}


_COND = OpSamples(
    "cond",
    cases=[
        Case((TRUE, ramp("f32", 3)), _SIGNS, "true"),
        Case((FALSE, ramp("f32", 3)), _SIGNS, "false"),
        Case((FALSE,), _CONSTANTS, "no operand"),
        *(Case((FALSE, ramp(d, 2, 2), ramp(d, 2, 2).T.copy()), _swapped(d), d) for d in ALL),
    ],
    refused=[
        Refused("operand", (F32, ROW), _SIGNS, "i1[]"),
        Refused("operand", (tensor_type((1,), "i1"), ROW), _SIGNS, "i1[]"),
        Refused("region", (I1, F32), _SIGNS, "region operand 0"),
        Refused("region", (I1, ROW, ROW), _SIGNS, "2 region operands"),
        Refused("region", (I1, ROW), {"on_true": _SAME, "on_false": _BOTH}, "on_false"),
        Refused("attribute", (I1, ROW), {"on_true": _SAME}, "on_false"),
        Refused("attribute", (I1, ROW), {"on_true": _SAME, "on_false": 3}, "Program"),
        Refused("arity", (), _SIGNS),
    ],
)


def _below(limit: int) -> Program:
    return Program.of([COUNT, ROW], lambda n, x: ops.compare(n, constant(limit, "si32"), op="lt"))


def _step(n: Node, x: Node) -> tuple[Node, Node]:
    return ops.add(n, constant(1, "si32")), ops.add(x, x)


_STEP = Program.of([COUNT, ROW], _step)
_START = np.array(0, np.int32), ramp("f32", 3)
_NEVER = Program.of([ROW], lambda x: constant(False, "i1"))

_WHILE = OpSamples(
    "while",
    cases=[
        Case(_START, {"condition": _below(5), "body": _STEP}, "five times"),
        Case(_START, {"condition": _below(1), "body": _STEP}, "once"),
        Case(_START, {"condition": _below(0), "body": _STEP}, "never"),
        Case((ramp("f32", 3),), {"condition": _NEVER, "body": _NEGATED}, "one carry"),
    ],
    refused=[
        Refused("region", (COUNT, F32), {"condition": _below(1), "body": _STEP}, "operand 1"),
        Refused("region", (ROW,), {"condition": _NEVER, "body": _BOTH}, "2 carried results"),
        Refused("region", (ROW,), {"condition": _SAME, "body": _SAME}, "i1[]"),
        Refused("region", (ROW,), {"condition": _BOTH, "body": _SAME}, "i1[]"),
        Refused("attribute", (ROW,), {"body": _SAME}, "condition"),
    ],
)


def _running(name: str, *shape: int) -> dict[str, object]:
    body = Program.of([tensor_type(shape, name)] * 2, lambda c, x: (ops.maximum(c, x), c))
    return {"body": body, "carries": 1, "inputs": 1}


def _sum(total: Node, x: Node, y: Node, weight: Node) -> tuple[Node, ...]:
    total = ops.add(total, ops.mul(x, weight))
    return total, y, ops.reduce(total, kind="sum", axes=0)


_SUM = {
    "body": Program.of([ROW, ROW, COUNT, ROW], _sum),
    "carries": 1,
    "inputs": 2,
}
_OPERANDS = ramp("f32", 3), ramp("f32", 4, 3), ramp("si32", 4), ramp("f32", 3)
_COUNTED = {
    "body": Program.of([COUNT], lambda n: (ops.add(n, n), n)),
    "carries": 1,
    "inputs": 0,
}
_MAPPED = {"body": _NEGATED, "carries": 0, "inputs": 1}
_ORDERED = ("si4", "ui4", "si8", "ui64", "f8e4m3", "bf16", "f16", "f32", "f64")

_SCAN = OpSamples(
    "scan",
    cases=[
        *(Case((ramp(d, 2), ramp(d, 5, 2)), _running(d, 2), d) for d in _ORDERED),
        Case(_OPERANDS, _SUM, "inputs, constants, outputs"),
        Case(_OPERANDS, {**_SUM, "reverse": True}, "reverse"),
        Case(_OPERANDS, {**_SUM, "length": 4}, "length given"),
        Case((np.array(3, np.int32),), {**_COUNTED, "length": 4}, "no inputs"),
        Case((np.array(3, np.int32),), {**_COUNTED, "length": 0}, "no inputs, no steps"),
        Case((ramp("f32", 4, 3),), _MAPPED, "no carries"),
        Case((ramp("f32", 1, 3),), _MAPPED, "one step"),
        Case((ramp("f32", 0, 3),), _MAPPED, "no steps"),
        Case((ramp("bf16", 0), ramp("bf16", 4, 0)), _running("bf16", 0), "empty slices"),
        Case((ramp("f32"), ramp("f32", 4)), _running("f32"), "rank 0"),
    ],
    refused=[
        Refused("arity", (F32,), _SUM, "1 carries and 2 inputs"),
        Refused("attribute", (COUNT,), _COUNTED, "length"),
        Refused("attribute", (COUNT,), {**_COUNTED, "length": -1}),
        Refused("rank", (F32,), _MAPPED, "no axis"),
        Refused("rank", (TupleType((ROW,)),), _MAPPED, "no axis"),
        Refused("shape", (tensor_type((4, 3), "f32"),), {**_MAPPED, "length": 5}, "5 steps"),
        Refused("region", (tensor_type((4, 2), "f32"),), _MAPPED, "operand 0 is f32[2]"),
        Refused("region", (F32,), {**_COUNTED, "length": 1}, "operand 0"),
        Refused("region", (ROW, ROW), {**_MAPPED, "carries": 1}, "2 region operands"),
    ],
)

SAMPLES = (_COND, _WHILE, _SCAN)
