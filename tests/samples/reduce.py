"""Samples of the reductions: every kind and dtype, empty and unit axes, NaN, overflow."""

import numpy as np

from ptir.ir import TupleType, tensor_type
from tests.data import INTEGERS, NUMBERS, REALS, ramp
from tests.samples import Case, OpSamples, Refused

F32 = tensor_type((2, 3), "f32")
NAN = np.array([[1, np.nan, 3], [-np.inf, np.inf, 0.0]], np.float32)
ORDERED = ("i1", *REALS)
EMPTY = ("f8e4m3", "f8e5m2", "bf16", "f32", "si4", "ui8", "si64", "ui64")


def _every(kind: str, dtypes: tuple[str, ...]) -> list[Case]:
    return [Case((ramp(d, 3, 5),), {"kind": kind, "axes": 1}, f"{kind} {d}") for d in dtypes]


def _empty(kind: str, dtypes: tuple[str, ...]) -> list[Case]:
    attrs = {"kind": kind, "axes": 1}
    return [Case((ramp(d, 2, 0),), attrs, f"empty {kind} {d}") for d in dtypes]


_REDUCE = OpSamples(
    "reduce",
    ulp=64,  # no sample is longer
    cases=[
        *_every("sum", NUMBERS),
        *_every("prod", NUMBERS),
        *_every("max", ORDERED),
        *_every("min", ORDERED),
        *_every("and", ("i1", *INTEGERS)),
        *_every("or", ("i1", *INTEGERS)),
        *_empty("sum", ("f32", "c64", "si8")),
        *_empty("prod", ("f16", "c64", "ui4")),
        *_empty("max", ("i1", *EMPTY)),
        *_empty("min", ("i1", *EMPTY)),
        *_empty("and", ("i1", "si4", "ui4", "ui64")),
        *_empty("or", ("i1", "si4")),
        Case((ramp("f32", 2, 3, 4),), {"kind": "sum", "axes": (0, -1)}, "outer axes"),
        Case((ramp("f32", 2, 3, 4),), {"kind": "sum", "axes": (0, 1, 2)}, "all axes"),
        Case((ramp("f32", 2, 3),), {"kind": "max", "axes": ()}, "no axis"),
        Case((ramp("f32", 2, 3),), {"kind": "sum", "axes": 1, "keepdims": True}, "keepdims"),
        Case((ramp("f32", 0, 3),), {"kind": "sum", "axes": 1}, "empty result"),
        Case((ramp("f32", 3, 1),), {"kind": "prod", "axes": 1}, "unit axis"),
        Case((ramp("f32"),), {"kind": "sum", "axes": ()}, "rank 0"),
        Case((NAN,), {"kind": "max", "axes": 1}, "NaN max"),
        Case((NAN,), {"kind": "min", "axes": 1}, "NaN min"),
        Case((NAN,), {"kind": "sum", "axes": 1}, "inf − inf"),
        Case((np.full(64, 0.1, np.float32),), {"kind": "sum", "axes": 0}, "inexact"),
        Case((np.full(3, 60000, np.float16),), {"kind": "sum", "axes": 0}, "f16 overflow"),
        Case(
            (np.full(3, 60000, np.float16),),
            {"kind": "sum", "axes": 0, "out_dtype": "f32"},
            "f16 to f32",
        ),
        Case((np.full(3, 100, np.int8),), {"kind": "sum", "axes": 0}, "saturates"),
        Case(
            (np.full(3, 100, np.int8),),
            {"kind": "sum", "axes": 0, "out_dtype": "si32"},
            "si8 to si32",
        ),
        Case((np.full(2, 2**63 - 1, np.int64),), {"kind": "sum", "axes": 0}, "si64 wraps"),
        Case(
            (np.array([2**31 - 1, 1], np.int32),),
            {"kind": "sum", "axes": 0, "accum_dtype": "si32"},
            "si32 wraps",
        ),
        Case(
            (np.array([1e8, 1, -1e8], np.float32),),
            {"kind": "sum", "axes": 0, "accum_dtype": "f64"},
            "f64 accumulator",
        ),
    ],
    refused=[
        Refused("dtype", (tensor_type((2,), "i1"),), {"kind": "sum", "axes": 0}),
        Refused("dtype", (tensor_type((2,), "c64"),), {"kind": "max", "axes": 0}),
        Refused("dtype", (F32,), {"kind": "and", "axes": 0}),
        Refused("dtype", (F32,), {"kind": "sum", "axes": 0, "out_dtype": "si32"}, "cast"),
        Refused("dtype", (F32,), {"kind": "sum", "axes": 0, "accum_dtype": "f16"}, "f32"),
        Refused("dtype", (F32,), {"kind": "max", "axes": 0, "accum_dtype": "f64"}, "exact"),
        Refused("attribute", (F32,), {"kind": "mean", "axes": 0}, "sum"),
        Refused("attribute", (F32,), {"kind": "sum", "axes": 2}, "rank 2"),
        Refused("attribute", (F32,), {"kind": "sum", "axes": (1, -1)}, "twice"),
        Refused("attribute", (TupleType((F32,)),), {"kind": "sum", "axes": 0}),
        Refused("arity", (F32, F32), {"kind": "sum", "axes": 0}),
    ],
)


def _arg(op: str) -> OpSamples:
    return OpSamples(
        op,
        [
            *(Case((ramp(d, 3, 12),), {"axis": 1}, d) for d in ORDERED),
            Case((NAN,), {"axis": 1}, "NaN, inf"),
            Case((np.array([1, np.nan, np.nan], np.float16),), {"axis": 0}, "first NaN"),
            Case((np.array([-0.0, 0.0, -0.0], np.float32),), {"axis": 0}, "equal zeros"),
            Case((ramp("f32", 3, 1),), {"axis": -1, "keepdims": True}, "unit axis"),
            Case((ramp("f32", 0, 3),), {"axis": 1}, "empty result"),
            Case((ramp("si8", 4, 2),), {"axis": 0, "out_dtype": "ui32"}, "ui32"),
        ],
        [
            Refused("empty", (ramp("f32", 2, 0),), {"axis": 1}, "axis 1"),
            Refused("empty", (tensor_type((0, 0), "f32"),), {"axis": 0}),
            Refused("dtype", (tensor_type((2,), "c64"),), {"axis": 0}),
            Refused("dtype", (F32,), {"axis": 0, "out_dtype": "si8"}, "32 or 64"),
            Refused("attribute", (tensor_type((), "f32"),), {"axis": 0}, "rank 0"),
        ],
    )


def _running(kind: str, dtypes: tuple[str, ...]) -> list[Case]:
    return [Case((ramp(d, 2, 7),), {"kind": kind, "axis": 1}, f"{kind} {d}") for d in dtypes]


_CUMULATIVE = OpSamples(
    "cumulative",
    ulp=64,
    cases=[
        *_running("sum", NUMBERS),
        *_running("prod", NUMBERS),
        *_running("max", ORDERED),
        *_running("min", ORDERED),
        *(
            Case(
                (ramp("f32", 3, 4),),
                {"kind": kind, "axis": axis, "exclusive": exclusive, "reverse": reverse},
                f"{kind} axis {axis}, exclusive {exclusive}, reverse {reverse}",
            )
            for kind in ("sum", "max")
            for axis in (0, 1)
            for exclusive in (False, True)
            for reverse in (False, True)
        ),
        Case((ramp("f8e4m3", 3),), {"kind": "max", "axis": 0, "exclusive": True}, "f8 start"),
        Case((NAN,), {"kind": "max", "axis": 1}, "NaN stays"),
        Case((NAN,), {"kind": "min", "axis": 1, "reverse": True}, "NaN stays, reversed"),
        Case((ramp("f32", 2, 0),), {"kind": "sum", "axis": 1, "exclusive": True}, "empty axis"),
        Case((ramp("si8", 2, 1),), {"kind": "prod", "axis": 1, "exclusive": True}, "unit axis"),
        Case((np.full(3, 100, np.int8),), {"kind": "sum", "axis": 0}, "saturates"),
        Case((np.full(64, 0.1, np.float32),), {"kind": "sum", "axis": 0}, "inexact"),
    ],
    refused=[
        Refused("attribute", (F32,), {"kind": "and", "axis": 0}, "sum, prod, max, min"),
        Refused("attribute", (F32,), {"kind": "sum", "axis": 2}),
        Refused("dtype", (tensor_type((2,), "i1"),), {"kind": "sum", "axis": 0}),
        Refused("dtype", (tensor_type((2,), "c64"),), {"kind": "max", "axis": 0}),
    ],
)

SAMPLES = (_REDUCE, _arg("argmax"), _arg("argmin"), _CUMULATIVE)
