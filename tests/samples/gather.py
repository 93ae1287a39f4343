"""Samples of take, gather, gather_nd."""

import numpy as np

from ptir.ir import TupleType, tensor_type
from tests.elements import ANY, INTEGERS, array, numbered, small
from tests.samples import Case, OpSamples, Refused

F32 = tensor_type((5, 3), "f32")
SPECIAL = array([np.nan, -0.0, np.inf, 1e-45], "f32")
OUT_OF_RANGE = [
    (array([[0, 1], [5, 2]], "si32"), "index 5 at position (1, 0) is out of range for axis 0"),
    (array([[0, -1], [1, 2]], "si64"), "index -1 at position (0, 1)"),
    (array([[0, 1], [2, 2**64 - 1]], "ui64"), "index 18446744073709551615 at position (1, 1)"),
]

SAMPLES = (
    OpSamples(
        "take",
        [Case((small(e, 4, 3), array([3, 0, 0], "si32")), {"axis": 0}) for e in ANY]
        + [Case((numbered("f32", 4, 3), array([2, 1], i)), {"axis": 1}) for i in INTEGERS]
        + [
            Case((numbered("f32", 2, 3, 4), array([[2, 0], [1, 1]], "si64")), {"axis": -2}, "rows"),
            Case((numbered("f32", 4, 3), array(2, "si32")), {"axis": 0}, "a rank-0 index"),
            Case((SPECIAL, array([3, 2, 1, 0], "si8")), {"axis": 0}, "special values"),
            Case((small("f32", 4, 3), array([], "si32")), {"axis": 0}, "no index"),
            Case((small("f32", 0, 3), array([1], "si32")), {"axis": 1}, "size 0"),
            Case((small("f32", 1, 3), array([0, 0], "si32")), {"axis": 0}, "size 1"),
        ],
        [
            Refused("dtype", (F32, tensor_type((2,), "f32")), {"axis": 0}, "wanted int, uint"),
            Refused("dtype", (F32, tensor_type((2,), "i1")), {"axis": 0}),
            Refused("attribute", (F32, tensor_type((2,), "si32")), {"axis": 2}, "out of range"),
            Refused("attribute", (F32, tensor_type((2,), "si32")), {}, "missing"),
            Refused("arity", (F32,), {"axis": 0}),
            Refused("index", (small("f32", 0, 3), array([0], "si32")), {"axis": 0}, "of size 0"),
            *(
                Refused("index", (numbered("f32", 5, 3), bad), {"axis": 0}, message)
                for bad, message in OUT_OF_RANGE
            ),
        ],
    ),
    OpSamples(
        "gather",
        [Case((small(e, 4, 3), array([[3, 0, 1]], "si32")), {"axis": 0}) for e in ANY]
        + [Case((numbered("f32", 4, 3), array([[2, 1, 2, 0]], i)), {"axis": 1}) for i in INTEGERS]
        + [
            Case((numbered("f32", 2, 3, 4), small("ui8", 2, 2, 1)), {"axis": 1}, "fewer elsewhere"),
            Case((SPECIAL, array([3, 2, 1, 0, 0], "si8")), {"axis": 0}, "special values"),
            Case((small("f32", 4, 3), small("si32", 0, 3)), {"axis": 0}, "no index"),
            Case((small("f32", 0, 3), small("si32", 0, 2)), {"axis": 0}, "size 0"),
            Case((small("f32", 1, 3), array([[0, 0, 0]] * 4, "si64")), {"axis": 0}, "size 1"),
        ],
        [
            Refused("rank", (F32, tensor_type((2,), "si32")), {"axis": 0}, "ranks must be equal"),
            Refused("shape", (F32, tensor_type((9, 4), "si32")), {"axis": 0}, "takes 4 on axis 1"),
            Refused("dtype", (F32, tensor_type((5, 3), "f64")), {"axis": 0}),
            *(
                Refused("index", (numbered("f32", 5, 3), bad), {"axis": 0}, message)
                for bad, message in OUT_OF_RANGE
            ),
        ],
    ),
    OpSamples(
        "gather_nd",
        [Case((small(e, 4, 3), array([[3, 0], [1, 1]], "si32"))) for e in ANY]
        + [Case((numbered("f32", 3, 2, 2), array([[2, 1], [0, 0]], i))) for i in INTEGERS]
        + [
            Case((numbered("f32", 3, 2, 2), array([[[2], [0]]], "si64")), note="slices"),
            Case((numbered("f32", 3, 2), array([2, 1], "si64")), note="one coordinate row"),
            Case((numbered("f32", 2, 2), small("si32", 3, 0)), note="no coordinates: all of x"),
            Case((array(2.5, "f32"), small("si32", 2, 0)), note="rank 0"),
            Case((small("f32", 0, 3), small("si32", 0, 2)), note="size 0"),
            Case((SPECIAL, array([[3], [2], [1], [0]], "si8")), note="special values"),
        ],
        [
            Refused("rank", (F32, tensor_type((), "si32")), {}, "last axis of coordinates"),
            Refused("shape", (F32, tensor_type((2, 3), "si32")), {}, "rows of 3 coordinates"),
            Refused("dtype", (F32, tensor_type((2, 2), "f32"))),
            Refused("operand", (TupleType((F32,)), tensor_type((2, 1), "si32"))),
            Refused("index", (small("f32", 5, 3), array([[0, 3]], "si32")), {}, "axis 1 of size 3"),
            Refused(
                "index", (small("f32", 5, 3), array([[-1, 0]], "si32")), {}, "axis 0 of size 5"
            ),
        ],
    ),
)
