"""Samples of data movement: every dtype, rank 0, sizes 0 and 1, crops, symbolic sizes."""

from typing import Any

import numpy as np

from ptir.ir import Dim, TupleType, tensor_type
from tests.data import ALL, ramp
from tests.samples import Case, OpSamples, Refused

F32 = tensor_type((2, 3), "f32")
B = Dim.symbol("B")
SYMBOLIC = tensor_type((B, 6), "f32")
PAIR = TupleType((F32, F32))
SPECIAL = np.array([[np.nan, -0.0, np.inf], [0.0, -np.inf, 1.0]], np.float32)


def _every(x: tuple[int, ...], **attrs: Any) -> list[Case]:
    return [Case((ramp(d, *x),), attrs, d) for d in ALL]


_RESHAPE = OpSamples(
    "reshape",
    [
        *_every((2, 6), shape=(3, 4)),
        Case((ramp("f32", 2, 6),), {"shape": (4, -1)}, "inferred"),
        Case((ramp("f32", 2, 6),), {"shape": (-1,)}, "flat"),
        Case((ramp("f32"),), {"shape": (1, 1)}, "from rank 0"),
        Case((ramp("f32", 1, 1),), {"shape": ()}, "to rank 0"),
        Case((ramp("f32", 0, 3),), {"shape": (5, 0)}, "empty"),
        Case((ramp("f32", 0, 3),), {"shape": (-1, 4)}, "inferred 0"),
        Case((SPECIAL,), {"shape": (6,)}, "NaN, −0"),
    ],
    [
        Refused("shape", (F32,), {"shape": (4,)}, "f32[2, 3] to f32[4]"),
        Refused("shape", (F32,), {"shape": (4, -1)}, "split"),
        Refused("shape", (tensor_type((0, 3), "f32"),), {"shape": (0, -1)}, "size 0"),
        Refused("shape", (F32,), {"shape": (-2, -3)}, "negative"),
        Refused("attribute", (F32,), {"shape": (-1, -1)}, "only one"),
        Refused("attribute", (F32,), {"shape": (2.0, 3)}),
        Refused("dim", (SYMBOLIC,), {"shape": (6,)}, "not known"),
        Refused("dim", (SYMBOLIC,), {"shape": (4, -1)}, "split"),
        Refused("dim", (tensor_type((B, Dim.symbol("C")), "f32"),), {"shape": (-1,)}),
        Refused("operand", (PAIR,), {"shape": (6,)}, "tuple"),
    ],
)

_TRANSPOSE = OpSamples(
    "transpose",
    [
        *_every((2, 3), perm=(1, 0)),
        Case((ramp("f32", 2, 3, 4),), {"perm": (2, 0, 1)}, "cycle"),
        Case((ramp("f32", 2, 3, 4),), {"perm": (0, -1, 1)}, "negative axis"),
        Case((ramp("f32"),), {"perm": ()}, "rank 0"),
        Case((ramp("f32", 2, 0, 1),), {"perm": (1, 2, 0)}, "empty"),
        Case((SPECIAL,), {"perm": (1, 0)}, "NaN, −0"),
    ],
    [
        Refused("attribute", (F32,), {"perm": (0,)}, "2 axes"),
        Refused("attribute", (F32,), {"perm": (0, 0)}, "twice"),
        Refused("attribute", (F32,), {"perm": (0, 2)}, "out of range"),
        Refused("attribute", (PAIR,), {"perm": (0, 1)}, "tuple"),
    ],
)

_BROADCAST = OpSamples(
    "broadcast_to",
    [
        *_every((3, 1), shape=(2, 3, 4)),
        Case((ramp("f32"),), {"shape": (2, 3)}, "rank 0"),
        Case((ramp("f32", 2, 3),), {"shape": (2, 3)}, "same shape"),
        Case((ramp("f32", 1),), {"shape": (0,)}, "to empty"),
        Case((ramp("f32", 0),), {"shape": (2, 0)}, "from empty"),
        Case((SPECIAL[:, None],), {"shape": (2, 2, 3)}, "NaN, −0"),
    ],
    [
        Refused("shape", (F32,), {"shape": (2, 4)}, "wanted 1 or 4"),
        Refused("shape", (F32,), {"shape": (3, 2)}),
        Refused("shape", (F32,), {"shape": (2, -3)}, "negative"),
        Refused("shape", (SYMBOLIC,), {"shape": (4, 6)}, "?B"),
        Refused("rank", (F32,), {"shape": (3,)}, "more axes"),
        Refused("operand", (PAIR,), {"shape": (3,)}, "tuple"),
    ],
)

_SLICE = OpSamples(
    "slice",
    [
        *_every((3, 5), starts=(1, 0), limits=(3, 5), strides=(1, 2)),
        Case((ramp("f32", 4, 4),), {"starts": (0, 1), "limits": (2, 3)}, "unit strides"),
        Case((ramp("f32", 7),), {"starts": (1,), "limits": (7,), "strides": (4,)}, "ragged"),
        Case((ramp("f32", 7),), {"starts": (7,), "limits": (7,)}, "nothing, at the end"),
        Case((ramp("f32", 0, 2),), {"starts": (0, 1), "limits": (0, 2)}, "empty"),
        Case((ramp("f32", 1),), {"starts": (0,), "limits": (1,), "strides": (9,)}, "unit axis"),
        Case((ramp("f32"),), {"starts": (), "limits": ()}, "rank 0"),
        Case((SPECIAL,), {"starts": (0, 0), "limits": (2, 2)}, "NaN, −0"),
    ],
    [
        Refused("index", (F32,), {"starts": (0, 0), "limits": (2, 4)}, "≤ 3"),
        Refused("index", (F32,), {"starts": (0, -1), "limits": (2, 3)}),
        Refused("index", (F32,), {"starts": (2, 0), "limits": (1, 3)}),
        Refused("index", (SYMBOLIC,), {"starts": (0, 0), "limits": (B + 1, 6)}, "?B+1"),
        Refused("dim", (SYMBOLIC,), {"starts": (0, 0), "limits": (B, 6), "strides": (2, 1)}),
        Refused("attribute", (F32,), {"starts": (0,), "limits": (2,)}, "2 axes"),
        Refused(
            "attribute",
            (F32,),
            {"starts": (0, 0), "limits": (2, 3), "strides": (0, 1)},
            "at least 1",
        ),
        Refused("operand", (PAIR,), {"starts": (), "limits": ()}, "tuple"),
    ],
)

_CONCAT = OpSamples(
    "concat",
    [
        *(Case((ramp(d, 2, 3), ramp(d, 2, 1)), {"axis": 1}, d) for d in ALL),
        Case((ramp("f32", 2, 3),), {"axis": 0}, "one operand"),
        Case((ramp("f32", 1, 2), ramp("f32", 0, 2), ramp("f32", 3, 2)), {"axis": -2}, "an empty"),
        Case((ramp("f32", 0), ramp("f32", 0)), {"axis": 0}, "all empty"),
        Case((SPECIAL, SPECIAL), {"axis": 0}, "NaN, −0"),
    ],
    [
        Refused("shape", (F32, tensor_type((3, 3), "f32")), {"axis": 1}, "only axis 1"),
        Refused("rank", (F32, tensor_type((3,), "f32")), {"axis": 0}),
        Refused("dtype", (F32, tensor_type((2, 3), "f64")), {"axis": 0}, "cast"),
        Refused("attribute", (tensor_type((), "f32"),), {"axis": 0}, "rank 0"),
        Refused("operand", (F32, PAIR), {"axis": 0}, "operand 1"),
        Refused("arity", (), {"axis": 0}),
    ],
)


def _pad(shape: tuple[int, ...], note: str, **attrs: Any) -> Case:
    return Case((ramp("f32", *shape),), {"value": 9.5} | attrs, note)


_PAD = OpSamples(
    "pad",
    [
        *_every((2, 3), low=(1, 0), high=(0, 2), interior=(0, 1), value=1),
        _pad((2, 3), "no interior", low=(0, 1), high=(1, 0)),
        _pad((5,), "cropped", low=(-1,), high=(-2,)),
        _pad((5,), "cropped to nothing", low=(-3,), high=(-2,)),
        _pad((4,), "crops gaps", low=(-1,), high=(-2,), interior=(2,)),
        _pad((2,), "cropped beyond the end", low=(-4,), high=(5,)),
        _pad((2,), "cropped beyond the start", low=(5,), high=(-4,)),
        _pad((0, 2), "from empty", low=(1, 0), high=(1, 0), interior=(3, 1)),
        _pad((1,), "unit axis", low=(0,), high=(0,), interior=(4,)),
        _pad((), "rank 0", low=(), high=()),
        _pad((2,), "NaN", low=(1,), high=(1,), value=float("nan")),
        _pad((2,), "−0", low=(1,), high=(1,), value=-0.0),
    ],
    [
        Refused("shape", (F32,), {"low": (-3, 0), "high": (0, 0), "value": 0}, "size -1"),
        Refused("attribute", (F32,), {"low": (1,), "high": (1, 1), "value": 0}, "low"),
        Refused("attribute", (F32,), {"low": (1, 1), "high": (1, 1)}, "value"),
        Refused(
            "attribute",
            (F32,),
            {"low": (0, 0), "high": (0, 0), "interior": (-1, 0), "value": 0},
            "at least 0",
        ),
        Refused(
            "dim",
            (SYMBOLIC,),
            {"low": (0, 0), "high": (0, 0), "interior": (1, 0), "value": 0},
            "?B",
        ),
    ],
)

_TILE = OpSamples(
    "tile",
    [
        *_every((2, 3), repeats=(2, 1)),
        Case((ramp("f32", 2, 3),), {"repeats": (3, 2)}, "both axes"),
        Case((ramp("f32", 2),), {"repeats": (0,)}, "to empty"),
        Case((ramp("f32", 0, 1),), {"repeats": (2, 3)}, "from empty"),
        Case((ramp("f32"),), {"repeats": ()}, "rank 0"),
        Case((SPECIAL,), {"repeats": (1, 2)}, "NaN, −0"),
    ],
    [
        Refused("attribute", (F32,), {"repeats": (2,)}, "2 axes"),
        Refused("attribute", (F32,), {"repeats": (2, -1)}, "at least 0"),
        Refused("operand", (PAIR,), {"repeats": (1,)}, "tuple"),
    ],
)

_REVERSE = OpSamples(
    "reverse",
    [
        *_every((2, 3), axes=1),
        Case((ramp("f32", 2, 3),), {"axes": (0, -1)}, "both axes"),
        Case((ramp("f32", 2, 3),), {"axes": ()}, "no axis"),
        Case((ramp("f32", 0, 1),), {"axes": (0, 1)}, "empty, unit"),
        Case((ramp("f32"),), {"axes": ()}, "rank 0"),
        Case((SPECIAL,), {"axes": 0}, "NaN, −0"),
    ],
    [
        Refused("attribute", (F32,), {"axes": 2}, "out of range"),
        Refused("attribute", (F32,), {"axes": (0, -2)}, "twice"),
    ],
)

SAMPLES = (_RESHAPE, _TRANSPOSE, _BROADCAST, _SLICE, _CONCAT, _PAD, _TILE, _REVERSE)
