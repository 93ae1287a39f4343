"""Samples of compare, select and clamp: special values squared in every dtype."""

import numpy as np

from ptir.ir import TensorType, TupleType, dtype, tensor_type
from tests.data import ALL, REALS
from tests.exact import edges, squared
from tests.samples import Case, OpSamples, Refused

F32 = tensor_type((2, 3), "f32")
I1 = tensor_type((2, 3), "i1")
C64 = tensor_type((2, 3), "c64")
ORDER = ("lt", "le", "eq", "ge", "gt", "ne")


def _typed(x: TensorType, name: str) -> TensorType:
    return x.with_dtype(dtype(name))


_COMPARE = OpSamples(
    "compare",
    cases=[
        *(
            Case(squared(edges(d)), {"op": op}, f"{op} {d}")
            for d in ALL
            for op in (ORDER if d[0] != "c" else ("eq", "ne"))
        ),
        Case((np.array(1.0), np.array(np.nan)), {"op": "ne"}, "rank 0"),
        Case((np.ones((2, 0)), np.ones((2, 0))), {"op": "eq"}, "size-0 axis"),
        Case((np.ones((1, 3, 1)), np.zeros((1, 3, 1))), {"op": "gt"}, "size-1 axes"),
    ],
    refused=[
        *(Refused("dtype", (C64, C64), {"op": op}, "no order") for op in ("lt", "le", "ge", "gt")),
        Refused("dtype", (F32, _typed(F32, "f64")), {"op": "eq"}, "cast"),
        Refused("shape", (F32, tensor_type((3,), "f32")), {"op": "eq"}, "broadcast_to"),
        Refused("operand", (F32, TupleType((F32,))), {"op": "eq"}, "tuple"),
        Refused("attribute", (F32, F32), {}, "missing"),
        Refused("attribute", (F32, F32), {"op": "less"}, "wanted one of"),
        Refused("arity", (F32,), {"op": "eq"}),
    ],
)


def _choice(of: str) -> Case:
    x, y = squared(edges(of))
    return Case((np.arange(len(x)) % 3 == 1, x, y), note=of)


_SELECT = OpSamples(
    "select",
    cases=[
        *map(_choice, ALL),
        Case((np.array(True), np.array(1.0), np.array(2.0)), note="rank 0"),
        Case((np.ones((2, 0), bool), np.ones((2, 0)), np.ones((2, 0))), note="size-0 axis"),
        Case((np.zeros((1, 3), bool), np.ones((1, 3)), np.zeros((1, 3))), note="size-1 axis"),
    ],
    refused=[
        Refused("dtype", (F32, F32, F32), {}, "use compare"),
        Refused("dtype", (I1, F32, C64), {}, "cast"),
        Refused("shape", (tensor_type((), "i1"), F32, F32), {}, "broadcast_to"),
        Refused("shape", (I1, F32, tensor_type((2, 1), "f32")), {}, "broadcast_to"),
        Refused("operand", (TupleType((I1,)), F32, F32), {}, "tuple"),
        Refused("arity", (I1, F32)),
    ],
)


def _bounded(of: str) -> Case:
    """Bounds that meet, hold and cross, and NaN as each operand where there is one."""
    x, low = squared(edges(of))
    return Case((x, low, np.roll(x, 3)), note=of)


_CLAMP = OpSamples(
    "clamp",
    cases=[
        *map(_bounded, REALS),
        Case((np.array(7.0), np.array(0.0), np.array(6.0)), note="rank 0"),
        Case((np.ones((0, 2)), np.ones((0, 2)), np.ones((0, 2))), note="size-0 axis"),
        Case((np.full((1, 2), 9), np.zeros((1, 2), int), np.ones((1, 2), int)), note="size-1 axis"),
    ],
    refused=[
        Refused("dtype", (I1, I1, I1), {}, "wanted"),
        Refused("dtype", (C64, C64, C64), {}, "wanted"),
        Refused("dtype", (F32, F32, _typed(F32, "f16")), {}, "cast"),
        Refused("shape", (F32, tensor_type((), "f32"), F32), {}, "broadcast_to"),
        Refused("operand", (TupleType((F32,)), F32, F32), {}, "tuple"),
        Refused("arity", (F32, F32)),
    ],
)

SAMPLES = (_COMPARE, _SELECT, _CLAMP)
