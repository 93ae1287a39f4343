"""Samples of dynamic_slice, dynamic_update_slice."""

import numpy as np

from ptir.ir import tensor_type
from tests.elements import ANY, INTEGERS, array, numbered, small
from tests.samples import Case, OpSamples, Refused

F32, START = tensor_type((5, 3), "f32"), tensor_type((2,), "si32")
SPECIAL = array([np.nan, -0.0, np.inf, 1e-45], "f32")
# Where a start leaves the axes: inside, before the first, past the last that fits, far outside.
STARTS = [
    array([1, 2], "si32"),
    array([-3, -1], "si64"),
    array([4, 3], "si8"),
    array([2**31 - 1, -(2**31)], "si32"),
    array([2**64 - 1, 0], "ui64"),
]

SAMPLES = (
    OpSamples(
        "dynamic_slice",
        [Case((small(e, 4, 3), array([1, 1], "si32")), {"sizes": (2, 2)}) for e in ANY]
        + [Case((numbered("f32", 4, 3), array([1, 0], i)), {"sizes": (2, 2)}) for i in INTEGERS]
        + [Case((numbered("f32", 5, 4), start), {"sizes": (3, 2)}, "clamps") for start in STARTS]
        + [
            Case((SPECIAL, array([1], "si32")), {"sizes": (3,)}, "special values"),
            Case((array(2.5, "f32"), array([], "si32")), {"sizes": ()}, "rank 0"),
            Case((small("f32", 0, 3), array([0, 1], "si32")), {"sizes": (0, 2)}, "size 0"),
            Case((small("f32", 4, 3), array([9, 1], "si32")), {"sizes": (0, 1)}, "takes none"),
            Case((small("f32", 1, 3), array([1, 1], "si32")), {"sizes": (1, 3)}, "takes all"),
        ],
        [
            Refused("shape", (F32, tensor_type((1,), "si32")), {"sizes": (1, 1)}, "start"),
            Refused("shape", (F32, tensor_type((), "si32")), {"sizes": (1, 1)}),
            Refused("dtype", (F32, tensor_type((2,), "f32")), {"sizes": (1, 1)}),
            Refused("rank", (F32, START), {"sizes": (1,)}, "1 axes"),
            Refused("shape", (F32, START), {"sizes": (5, 4)}, "takes 4 on axis 1"),
            Refused("shape", (F32, START), {"sizes": (-1, 1)}, "negative"),
            Refused("attribute", (F32, START), {"sizes": (1.5, 1)}),
        ],
    ),
    OpSamples(
        "dynamic_update_slice",
        [Case((small(e, 4, 3), small(e, 2, 2, seed=1), array([1, 1], "si32"))) for e in ANY]
        + [Case((small("f32", 4, 3), numbered("f32", 2, 2), array([1, 0], i))) for i in INTEGERS]
        + [
            Case((small("f32", 5, 4), numbered("f32", 3, 2), start), note="clamps")
            for start in STARTS
        ]
        + [
            Case((small("f32", 4), SPECIAL[:3], array([1], "si32")), note="special values"),
            Case((array(2.5, "f32"), array(-0.0, "f32"), array([], "si32")), note="rank 0"),
            Case((small("f32", 0, 3), small("f32", 0, 2), array([0, 1], "si32")), note="size 0"),
            Case((small("f32", 4, 3), small("f32", 0, 1), array([9, 1], "si32")), note="nothing"),
            Case((small("f32", 1, 3), numbered("f32", 1, 3), array([1, 1], "si32")), note="all"),
        ],
        [
            Refused("dtype", (F32, tensor_type((1, 1), "f64"), START), {}, "cast one of them"),
            Refused("dtype", (F32, F32, tensor_type((2,), "f32"))),
            Refused("rank", (F32, tensor_type((3,), "f32"), START), {}, "1 axes"),
            Refused("shape", (F32, tensor_type((6, 3), "f32"), START), {}, "takes 6 on axis 0"),
            Refused("shape", (F32, F32, tensor_type((3,), "si32")), {}, "start"),
        ],
    ),
)
