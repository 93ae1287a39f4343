"""Samples of cast, bitcast and stop_gradient: every pair of dtypes."""

import numpy as np

from ptir.ir import Dim, TupleType, dtype, tensor_type
from tests.data import ALL, NUMBERS
from tests.exact import edges, patterns
from tests.samples import Case, OpSamples, Refused

F32 = tensor_type((2, 3), "f32")
WIDTHS = ("si4", "ui8", "bf16", "f32", "si64", "c64")
C64 = tensor_type((2,), "c64")
# What f32 would take to a tie of a narrower dtype, which then falls to the wrong side.
ROUNDED_TWICE = np.array(
    [1 + 2.0**-8 + 2.0**-40, 1.0625 + 2.0**-40, -(1.125 + 2.0**-50), 2.0**-134]
)


_CAST = OpSamples(
    "cast",
    cases=[
        *(
            Case((edges(d),), {"dtype": to}, f"{d} to {to}")
            for d in ALL
            for to in ALL
            if d[0] != "c" or to[0] == "c"
        ),
        *(
            Case((patterns(d),), {"dtype": to}, f"every {d} to {to}")
            for d in ("si4", "ui4", "si8", "ui8", "f8e4m3", "f8e5m2")
            for to in ("f32", "f8e4m3", "f8e5m2", "bf16", "si4", "ui8")
        ),
        *(
            Case((ROUNDED_TWICE,), {"dtype": to}, f"f64 to {to} rounds once")
            for to in ("f8e4m3", "f8e5m2", "bf16", "f16", "f32")
        ),
        Case((np.array([2**62 + 2**54 + 1]),), {"dtype": "bf16"}, "si64 to bf16 rounds once"),
        Case((np.array(2.5, np.float32),), {"dtype": "si32"}, "rank 0"),
        Case((np.ones((2, 0)),), {"dtype": "si8"}, "size-0 axis"),
        Case((np.ones((1, 3, 1)),), {"dtype": "bf16"}, "size-1 axes"),
    ],
    refused=[
        *(Refused("dtype", (C64,), {"dtype": d}, "drops a part") for d in ALL if d[0] != "c"),
        Refused("dtype", (F32,), {"dtype": "float"}, "unknown dtype"),
        Refused("operand", (TupleType((F32,)),), {"dtype": "f16"}, "tuple"),
        Refused("attribute", (F32,), {}, "missing"),
        Refused("arity", (), {"dtype": "f16"}),
    ],
)


def _as_bits(of: str, to: str) -> Case:
    """Both ways of every ratio: values in an array whose last axis a wider dtype consumes."""
    ratio = max(dtype(to).bits // dtype(of).bits, 1)
    values = edges(of)[: len(edges(of)) // 2]
    return Case(
        (np.resize(values, (3, ratio) if ratio > 1 else 3),), {"dtype": to}, f"{of} to {to}"
    )


_BITCAST = OpSamples(
    "bitcast",
    cases=[
        *(_as_bits(d, to) for d in NUMBERS for to in WIDTHS),
        Case((np.array(-1.5, np.float32),), {"dtype": "si32"}, "rank 0"),
        Case((np.array(-1.5, np.float32),), {"dtype": "ui8"}, "rank 0 to bytes"),
        Case((np.ones((0, 2), np.uint16),), {"dtype": "f32"}, "size-0 axis, wider"),
        Case((np.ones((2, 0), np.uint16),), {"dtype": "ui8"}, "size-0 axis, narrower"),
        Case((np.ones((3, 1), np.float64),), {"dtype": "si64"}, "size-1 axis"),
        Case((patterns("si4")[:5],), {"dtype": "ui4"}, "odd 4-bit"),
    ],
    refused=[
        Refused("dtype", (tensor_type((2,), "i1"),), {"dtype": "ui8"}, "wanted"),
        Refused("dtype", (tensor_type((2,), "ui8"),), {"dtype": "i1"}, "no bit form"),
        Refused("shape", (tensor_type((2, 3), "ui8"),), {"dtype": "f32"}, "last axis of 4"),
        Refused("shape", (tensor_type((), "ui8"),), {"dtype": "ui16"}, "last axis of 2"),
        Refused("shape", (tensor_type((2, Dim.symbol("B")), "ui8"),), {"dtype": "ui16"}),
        Refused("shape", (tensor_type((1,) * 32, "f32"),), {"dtype": "ui8"}, "limit"),
        Refused("operand", (TupleType((F32,)),), {"dtype": "ui32"}, "tuple"),
        Refused("attribute", (F32,), {}, "missing"),
    ],
)

_STOP_GRADIENT = OpSamples(
    "stop_gradient",
    cases=[
        *(Case((edges(d),), note=d) for d in ALL),
        Case((np.array(1.0),), note="rank 0"),
        Case((np.ones((2, 0)),), note="size-0 axis"),
    ],
    refused=[
        Refused("operand", (TupleType((F32,)),), {}, "tuple"),
        Refused("arity", (F32, F32)),
    ],
)

SAMPLES = (_CAST, _BITCAST, _STOP_GRADIENT)
