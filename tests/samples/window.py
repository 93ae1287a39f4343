"""Samples of reduce_window and extract_patches."""

import numpy as np

from ptir.ir import Dim, tensor_type
from tests.elements import ANY, NUMBERS, ORDERED, array, numbered, small
from tests.samples import Case, OpSamples, Refused

IMAGE = np.random.default_rng(3).uniform(0.5, 2, (2, 5, 6, 3)).astype(np.float32)
POOL = {"window": (1, 2, 2, 1), "strides": (1, 2, 2, 1)}
SAME = {"window": (1, 3, 3, 1), "padding": ((0, 0), (1, 1), (1, 1), (0, 0))}
NAN = array([1, np.nan, 2, np.inf, -np.inf, 0], "f32")
F32, NHWC = tensor_type((5, 3), "f32"), tensor_type((2, 5, 6, 3), "f32")
N = Dim.symbol("N")

SAMPLES = (
    OpSamples(
        "reduce_window",
        [
            Case((small(e, 5, 4),), {"kind": kind, "window": (2, 3), "padding": ((1, 0), (0, 1))})
            for kind in ("sum", "prod", "max", "min")
            for e in (ORDERED if kind in ("max", "min") else NUMBERS)
        ]
        + [
            Case((IMAGE,), {"kind": "max", **POOL}, "max pool"),
            Case((IMAGE,), {"kind": "sum", **SAME}, "sums for an average pool"),
            Case((IMAGE,), {"kind": "sum", "window": (1, 5, 6, 1)}, "global"),
            Case((numbered("f32", 6),), {"kind": "max", "window": (2,), "window_dilation": (3,)}),
            Case((numbered("f32", 4),), {"kind": "sum", "window": (3,), "base_dilation": (2,)}),
            Case(
                (numbered("f32", 4),),
                {"kind": "min", "window": (2,), "base_dilation": (3,), "padding": ((2, 2),)},
                "windows over nothing",
            ),
            Case((numbered("f32", 7),), {"kind": "sum", "window": (2,), "strides": (4,)}, "skips"),
            Case((array([100, 100, -100], "si8"),), {"kind": "sum", "window": (2,)}, "saturates"),
            *(
                Case((NAN,), {"kind": kind, "window": (2,)}, "NaN and infinities")
                for kind in ("sum", "prod", "max", "min")
            ),
            Case((array(2.5, "f32"),), {"kind": "sum", "window": ()}, "rank 0"),
            Case((small("f32", 0, 4),), {"kind": "max", "window": (1, 2)}, "size 0"),
            Case((small("f32", 2, 3),), {"kind": "max", "window": (1, 4)}, "no window fits"),
            Case((small("f32", 1, 1),), {"kind": "sum", "window": (1, 1)}, "size 1"),
        ],
        [
            Refused("attribute", (F32,), {"kind": "max", "window": (2,)}, "wanted 2 entries"),
            Refused("attribute", (F32,), {"kind": "max", "window": (2, 0)}, "at least 1"),
            Refused("attribute", (F32,), {"kind": "max", "window": (2, 2), "strides": (1,)}),
            Refused("attribute", (F32,), {"kind": "max", "window": (2, 2), "strides": (1, 0)}),
            Refused("attribute", (F32,), {"kind": "mean", "window": (2, 2)}),
            Refused(
                "attribute",
                (F32,),
                {"kind": "max", "window": (2, 2), "padding": ((0, 0), (0, -1))},
            ),
            Refused("shape", (F32,), {"kind": "max", "window": (1, 5)}, "does not fit in axis 1"),
            Refused("dtype", (tensor_type((3,), "i1"),), {"kind": "sum", "window": (2,)}),
            Refused("dtype", (tensor_type((3,), "c64"),), {"kind": "max", "window": (2,)}),
            Refused(
                "dim",
                (tensor_type((N,), "f32"),),
                {"kind": "max", "window": (2,), "strides": (2,)},
                "not linear",
            ),
            Refused(
                "dim",
                (tensor_type((N,), "f32"),),
                {"kind": "max", "window": (2,), "base_dilation": (2,)},
                "may be empty",
            ),
        ],
        ulp=64,
    ),
    OpSamples(
        "extract_patches",
        [
            Case((small(e, 2, 4, 3),), {"window": (2,), "padding": ((1, 0),), "value": 1})
            for e in ANY
        ]
        + [
            Case((IMAGE,), {"window": (3, 3), "padding": ((1, 1), (1, 1))}, "same size"),
            Case((IMAGE,), {"window": (3, 2), "strides": (2, 3)}, "strides"),
            Case((IMAGE,), {"window": (2, 2), "dilation": (3, 2)}, "dilation"),
            Case((IMAGE,), {"window": (2, 2), "strides": (2, 2)}, "tiles"),
            Case((numbered("f32", 1, 3, 4, 3, 2),), {"window": (2, 2, 2)}, "three axes"),
            Case(
                (numbered("f32", 1, 3, 1),),
                {"window": (2,), "padding": ((2, 1),), "value": float("nan")},
                "pads with NaN",
            ),
            Case((small("f32", 4, 3),), {"window": ()}, "no spatial axis"),
            Case((small("f32", 0, 4, 3),), {"window": (2,)}, "no batch"),
            Case((small("f32", 2, 4, 0),), {"window": (2,)}, "no channel"),
            Case((small("f32", 2, 1, 3),), {"window": (2,)}, "no window fits"),
            Case((small("f32", 1, 1, 1),), {"window": (1,)}, "size 1"),
        ],
        [
            Refused("rank", (tensor_type((3,), "f32"),), {"window": ()}, "[N, spatial..., C]"),
            Refused("attribute", (NHWC,), {"window": (2,)}, "wanted 2 entries"),
            Refused("attribute", (NHWC,), {"window": (2, 0)}),
            Refused("attribute", (NHWC,), {"window": (2, 2), "padding": ((0, 0),)}),
            Refused("attribute", (NHWC,), {"window": (2, 2), "dilation": (0, 1)}),
            Refused("shape", (NHWC,), {"window": (7, 1)}, "reaches over 7"),
            Refused(
                "dim",
                (tensor_type((2, N, 3), "f32"),),
                {"window": (2,), "strides": (2,)},
                "not linear",
            ),
        ],
    ),
)
