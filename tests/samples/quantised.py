"""Samples of quantisation: every granularity and dtype, halves, saturation, NaN and infinity."""

import numpy as np

from ptir.ir import TensorType, TupleType, tensor_type
from tests.data import INTEGERS, Array, ramp
from tests.samples import Case, OpSamples, Refused

FLOATS = ("f8e4m3", "f8e5m2", "bf16", "f16", "f32", "f64")
NARROW = ("si4", "ui4", "si8", "ui8", "si16", "ui16")
SCALE = np.array(0.25, np.float32)
SCALES = np.array([0.25, 0.5, 1.0, 2.0], np.float32)
GROUPED = np.array([[0.25, 0.5], [1.0, 2.0], [0.125, 4.0]], np.float32)
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.125, 0.375, 1e30, -1e30], np.float32)
GROUPS = {"axis": 1, "group_size": 2}


def _f32(*shape: int) -> TensorType:
    return tensor_type(shape, "f32")


def _si8(*shape: int) -> TensorType:
    return tensor_type(shape, "si8")


def _granular(x: Array, zero: str, **attrs: str) -> list[Case]:
    """Every granularity of `x` [3, 4] with a zero point of dtype `zero`."""
    return [
        Case((x, SCALE, ramp(zero)), attrs, "tensor"),
        Case((x, SCALES, ramp(zero, 4)), {**attrs, "axis": -1}, "last axis"),
        Case((x, SCALES[:3], ramp(zero, 3)), {**attrs, "axis": 0}, "first axis"),
        Case((x, GROUPED, ramp(zero, 3, 2)), {**attrs, **GROUPS}, "groups"),
        Case((x, GROUPED), {**attrs, **GROUPS}, "groups, no zero"),
        Case((x, SCALES[None]), {**attrs, "axis": 0, "group_size": 3}, "one group"),
        Case((x[:, :0], SCALES[:0]), {**attrs, "axis": 1}, "empty axis"),
        Case((x[:, :1], SCALES[:1]), {**attrs, "axis": 1}, "unit axis"),
        Case((x[0, 0], SCALE), attrs, "rank 0"),
    ]


def _refused(x: TensorType, wrong: TensorType, **attrs: str) -> list[Refused]:
    return [
        Refused("dtype", (wrong, _f32()), attrs),
        Refused("dtype", (x, _si8()), attrs, "operand 1"),
        Refused("shape", (x, _f32(4)), attrs, "no scale for an axis"),
        Refused("shape", (x, _f32(4)), {**attrs, "axis": 0}, "axis 0"),
        Refused("shape", (x, _f32(3, 4)), {**attrs, "axis": 1}, "axis 1"),
        Refused("shape", (x, _f32(3, 2)), {**attrs, "axis": 1, "group_size": 3}, "groups of 3"),
        Refused("shape", (x, _f32(2)), {**attrs, **GROUPS}, "groups of 2"),
        Refused("attribute", (x, _f32(3, 2)), {**attrs, "group_size": 2}, "axis="),
        Refused("attribute", (x, _f32(3, 2)), {**attrs, "axis": 1, "group_size": 0}),
        Refused("attribute", (x, _f32(4)), {**attrs, "axis": 2}, "out of range"),
        Refused("operand", (x, _f32(), TupleType(())), attrs, "operand 2"),
        Refused("operand", (x, _f32(), _f32()), attrs, "operand 2"),
        Refused("operand", (x, _f32(4), _si8()), {**attrs, "axis": 1}, "operand 2"),
        Refused("arity", (x,), attrs),
    ]


_QUANTIZE = OpSamples(
    "quantize",
    cases=[
        *(Case((ramp(d, 3, 4), SCALE), {"dtype": "si8"}, d) for d in FLOATS),
        *(Case((8 * ramp("f32", 3, 4), SCALE, ramp(d)), {"dtype": d}, d) for d in INTEGERS),
        *(Case((SPECIAL, SCALE), {"dtype": d}, f"special {d}") for d in NARROW),
        *_granular(ramp("f32", 3, 4), "si4", dtype="si4"),
        *_granular(ramp("bf16", 3, 4), "ui8", dtype="ui8"),
        Case((ramp("f32", 4), ramp("f16")), {"dtype": "si8"}, "narrow scale"),
        Case((ramp("f32", 4), np.array(0.25)), {"dtype": "si16"}, "f64 scale"),
        Case((np.zeros(2, np.float32), np.zeros((), np.float32)), {"dtype": "si8"}, "scale 0"),
    ],
    refused=[
        *_refused(_f32(3, 4), _si8(3, 4), dtype="si8"),
        Refused("dtype", (_f32(3, 4), _f32()), {"dtype": "f8e4m3"}, "integer"),
        Refused("attribute", (_f32(3, 4), _f32()), {}, "dtype"),
    ],
)

_DEQUANTIZE = OpSamples(
    "dequantize",
    ulp=1,
    cases=[
        *(Case((ramp(d, 3, 4), SCALE, ramp(d)), {}, d) for d in INTEGERS),
        *(Case((ramp("si8", 3, 4), SCALE), {"dtype": d}, f"to {d}") for d in FLOATS),
        *_granular(ramp("si4", 3, 4), "si4"),
        *_granular(ramp("ui8", 3, 4), "ui8", dtype="bf16"),
        Case((ramp("si8", 3), np.array(np.nan, np.float32)), {}, "NaN scale"),
        Case((ramp("si8", 3), np.array(0.1)), {"dtype": "f64"}, "f64"),
    ],
    refused=[
        *_refused(_si8(3, 4), _f32(3, 4)),
        Refused("dtype", (_si8(3, 4), _f32()), {"dtype": "si32"}, "float"),
    ],
)


def _requantized(from_: str, to: str) -> Case:
    scales = np.array(0.5, np.float32), ramp(from_), np.array(2.0, np.float32), ramp(to)
    return Case((ramp(from_, 3, 4), *scales), {"dtype": to}, f"{from_} to {to}")


_REQUANTIZE = OpSamples(
    "requantize",
    cases=[
        *(_requantized("si32", d) for d in NARROW),
        *(_requantized(d, "ui8") for d in INTEGERS),
        Case(
            (ramp("si32", 3, 4), SCALES, ramp("si32", 4), SCALE, ramp("si8")),
            {"axis": 1, "dtype": "si8"},
            "per axis to per tensor",
        ),
        Case(
            (ramp("si4", 3, 4), GROUPED, ramp("si4", 3, 2), GROUPED[:, ::-1], ramp("ui4", 3, 2)),
            {**GROUPS, "dtype": "ui4"},
            "groups",
        ),
        Case((ramp("si8"), SCALE, ramp("si8"), SCALE, ramp("si8")), {"dtype": "si8"}, "rank 0"),
        Case(
            (ramp("si8", 2, 0), SCALE, ramp("si8"), SCALE, ramp("si8")), {"dtype": "si8"}, "empty"
        ),
    ],
    refused=[
        Refused("dtype", (_f32(3), _f32(), _si8(), _f32(), _si8()), {"dtype": "si8"}),
        Refused("dtype", (_si8(3), _si8(), _si8(), _f32(), _si8()), {"dtype": "si8"}, "operand 1"),
        Refused("dtype", (_si8(3), _f32(), _si8(), _f32(), _si8()), {"dtype": "f16"}, "integer"),
        Refused("operand", (_si8(3), _f32(), _f32(), _f32(), _si8()), {"dtype": "si8"}, "2"),
        Refused("operand", (_si8(3), _f32(), _si8(), _f32(), _si8()), {"dtype": "ui8"}, "4"),
        Refused("shape", (_si8(3), _f32(), _si8(), _f32(3), _si8(3)), {"dtype": "si8"}, "3"),
        Refused("arity", (_si8(3), _f32(), _si8()), {"dtype": "si8"}),
    ],
)

SAMPLES = (_QUANTIZE, _DEQUANTIZE, _REQUANTIZE)
