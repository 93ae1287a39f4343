"""Samples of sort and top_k."""

import numpy as np

from ptir.ir import tensor_type
from tests.elements import FLOATS, ORDERED, array, small
from tests.samples import Case, OpSamples, Refused

F32 = tensor_type((5, 3), "f32")
TIES = [1, np.nan, -0.0, 3, 0.0, 1, -2, np.nan, 3]
DISTINCT = np.random.default_rng(5).permutation(60).reshape(3, 4, 5).astype(np.float32)

SAMPLES = (
    OpSamples(
        "sort",
        [
            Case((small(e, 3, 7),), {"axis": -1, "descending": d})
            for e in ORDERED
            for d in (False, True)
        ]
        + [Case((array(TIES, e),), {"descending": d}, "NaN") for e in FLOATS for d in (False, True)]
        + [
            Case((DISTINCT,), {"axis": 1}, "an inner axis"),
            Case((DISTINCT,), {"axis": 0, "stable": False}, "need not be stable"),
            Case((array([np.inf, -np.inf, np.nan, 0], "f32"),), {"axis": 0}, "infinities"),
            Case((array([2**64 - 1, 2**63, 2**63 + 1], "ui64"),), {"axis": 0}, "beyond f64"),
            Case((small("f32", 3, 0),), {"axis": 1}, "size 0"),
            Case((small("f32", 0, 3),), {"axis": 1}, "no rows"),
            Case((small("f32", 3, 1),), {"axis": 1, "descending": True}, "size 1"),
        ],
        [
            Refused("dtype", (tensor_type((3,), "c64"),), {"axis": 0}),
            Refused("attribute", (F32,), {"axis": 2}, "out of range"),
            Refused("attribute", (tensor_type((), "f32"),), {"axis": 0}, "out of range"),
            Refused("attribute", (F32,), {"axis": 0, "descending": 1}),
        ],
    ),
    OpSamples(
        "top_k",
        [Case((small(e, 3, 7),), {"k": 4, "largest": d}) for e in ORDERED for d in (False, True)]
        + [
            Case((array(TIES, e),), {"k": 5, "largest": d}, "NaN")
            for e in FLOATS
            for d in (False, True)
        ]
        + [
            Case((DISTINCT,), {"k": 2, "axis": 1}, "an inner axis"),
            Case((DISTINCT,), {"k": 5, "axis": -1, "largest": False}, "all of them"),
            Case((array([2**64 - 1, 2**63, 2**63 + 1], "ui64"),), {"k": 2}, "beyond f64"),
            Case((small("f32", 3, 4),), {"k": 0}, "none"),
            Case((small("f32", 3, 0),), {"k": 0}, "size 0"),
            Case((small("f32", 0, 3),), {"k": 2}, "no rows"),
            Case((small("f32", 3, 1),), {"k": 1}, "size 1"),
        ],
        [
            Refused("shape", (F32,), {"k": 4}, "k=4 of 3 elements on axis 1"),
            Refused("attribute", (F32,), {"k": -1}),
            Refused("attribute", (F32,), {}, "missing"),
            Refused("attribute", (F32,), {"k": 1, "axis": 2}),
            Refused("dtype", (tensor_type((3,), "c64"),), {"k": 1}),
        ],
    ),
)
