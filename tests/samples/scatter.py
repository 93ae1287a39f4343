"""Samples of scatter, scatter_nd, segment_reduce."""

from collections.abc import Sequence

import numpy as np

from ptir.ir import tensor_type
from tests.elements import ANY, COMPLEX, INTEGERS, NUMBERS, ORDERED, array, numbered, small
from tests.samples import Case, OpSamples, Refused

F32, ROW = tensor_type((5, 3), "f32"), tensor_type((2, 3), "f32")
INDEX = tensor_type((2, 3), "si32")
SPREAD = np.random.default_rng(7).uniform(0.5, 2, 8).astype(np.float32)  # no cancellation
NAN = array([np.nan, 1, -np.inf, np.inf], "f32")


def taken_by(kind: str) -> Sequence[str]:
    """The dtypes that a kind combines."""
    return {"replace": ANY, "max": ORDERED, "min": ORDERED}.get(kind, NUMBERS)


TWICE = array([[0, 3, 1], [0, 0, 1], [3, 3, 1], [2, 0, 1], [0, 1, 1]], "si32")  # indices meet
KINDS = ("add", "mul", "max", "min", "replace")

SAMPLES = (
    OpSamples(
        "scatter",
        [
            Case((small(e, 4, 3), TWICE, small(e, 5, 3, seed=1)), {"axis": 0, "kind": kind})
            for kind in KINDS
            for e in taken_by(kind)
        ]
        + [
            Case(
                (small("f32", 1, 3), array([[2, 0, 2, 1]], i), numbered("f32", 1, 4)),
                {"axis": -1, "kind": "replace"},
            )
            for i in INTEGERS
        ]
        + [
            Case(
                (small("f32", 2, 3, 4), small("ui8", 2, 5, 1), numbered("f32", 2, 5, 1)),
                {"axis": 1, "kind": "add"},
                "fewer elsewhere",
            ),
            Case(
                (SPREAD[:2], array([0, 1, 0, 0, 0, 1, 0, 0], "si32"), SPREAD),
                {"axis": 0, "kind": "add"},
                "rounded sums",
            ),
            *(
                Case(
                    (NAN, array([0, 1, 2, 3], "si32"), NAN[::-1].copy()), {"axis": 0, "kind": kind}
                )
                for kind in KINDS
            ),
            Case(
                (array([120, -128], "si8"), array([0, 1], "si8"), array([120, -1], "si8")),
                {"axis": 0, "kind": "add"},
                "wraps around",
            ),
            Case(
                (small("f32", 4), small("si32", 0), small("f32", 0)),
                {"axis": 0, "kind": "add"},
                "none",
            ),
            Case(
                (small("f32", 0), small("si32", 0), small("f32", 0)),
                {"axis": 0, "kind": "max"},
                "size 0",
            ),
        ],
        [
            Refused("shape", (F32, INDEX, tensor_type((2, 2), "f32")), {"axis": 0, "kind": "add"}),
            Refused("rank", (F32, tensor_type((2,), "si32"), ROW), {"axis": 0, "kind": "add"}),
            Refused(
                "shape",
                (F32, tensor_type((2, 4), "si32"), tensor_type((2, 4), "f32")),
                {"axis": 0, "kind": "add"},
                "takes 4 on axis 1, where operand 0 has 3",
            ),
            Refused("dtype", (F32, ROW, ROW), {"axis": 0, "kind": "add"}, "wanted int, uint"),
            Refused("dtype", (F32, INDEX, INDEX), {"axis": 0, "kind": "add"}, "cast one of them"),
            *(
                Refused(
                    "dtype",
                    (tensor_type((5, 3), e), INDEX, tensor_type((2, 3), e)),
                    {"axis": 0, "kind": kind},
                )
                for e, kind in [("i1", "add"), ("c64", "max")]
            ),
            Refused("attribute", (F32, INDEX, ROW), {"axis": 0, "kind": "sum"}, "kind"),
            Refused("attribute", (F32, INDEX, ROW), {"axis": 2, "kind": "add"}),
            *(
                Refused(
                    "index",
                    (small("f32", 5), array([0, bad], "si64"), small("f32", 2)),
                    {"axis": 0, "kind": kind},
                    f"index {bad} at position (1,) is out of range for axis 0 of size 5",
                )
                for kind, bad in [("add", 5), ("replace", -1), ("max", 2**62)]
            ),
        ],
        ulp=8,
    ),
    OpSamples(
        "scatter_nd",
        [
            Case((small(e, 4, 3), TWICE[:, :1], small(e, 5, 3, seed=1)), {"kind": kind})
            for kind in KINDS
            for e in taken_by(kind)
        ]
        + [
            Case(
                (small("f32", 4, 3), array([[2, 0], [1, 2]], i), numbered("f32", 2)),
                {"kind": "add"},
            )
            for i in INTEGERS
        ]
        + [
            Case(
                (small("f32", 4, 3), array([2], "si64"), numbered("f32", 3)),
                {"kind": "replace"},
                "one row",
            ),
            Case(
                (small("f32", 2, 3), small("si32", 2, 0), small("f32", 2, 2, 3)),
                {"kind": "add"},
                "all of x",
            ),
            Case(
                (array(2.5, "f32"), small("si32", 2, 0), small("f32", 2)),
                {"kind": "replace"},
                "rank 0",
            ),
            Case(
                (small("f32", 0, 3), small("si32", 0, 1), small("f32", 0, 3)),
                {"kind": "mul"},
                "size 0",
            ),
            Case(
                (NAN, array([[0], [1], [2], [3]], "ui8"), NAN[::-1].copy()), {"kind": "min"}, "NaN"
            ),
        ],
        [
            Refused(
                "shape",
                (F32, tensor_type((2, 1), "si32"), tensor_type((2, 2), "f32")),
                {"kind": "add"},
            ),
            Refused("rank", (F32, tensor_type((), "si32"), ROW), {"kind": "add"}),
            Refused("shape", (F32, INDEX, tensor_type((2,), "f32")), {"kind": "add"}, "rows of 3"),
            Refused("dtype", (F32, tensor_type((2, 1), "si32"), INDEX), {"kind": "add"}),
            Refused(
                "index",
                (small("f32", 5, 3), array([[1, 2], [0, 3]], "si32"), small("f32", 2)),
                {"kind": "add"},
                "index 3 at position (1,) is out of range for axis 1 of size 3",
            ),
        ],
        ulp=8,
    ),
    OpSamples(
        "segment_reduce",
        [
            Case(
                (small(e, 5, 3), array([2, 0, 0, 2, 4], "si32")), {"kind": kind, "num_segments": 5}
            )
            for kind in ("sum", "prod", "max", "min")
            for e in taken_by(kind)
        ]
        + [
            Case((numbered("f32", 3), array([1, 0, 1], i)), {"kind": "sum", "num_segments": 2})
            for i in INTEGERS
        ]
        + [
            Case(
                (SPREAD, array([0, 1, 0, 0, 1, 1, 0, 0], "si32")),
                {"kind": "sum", "num_segments": 2},
                "rounded",
            ),
            Case(
                (array([100, 100], "si8"), array([0, 0], "si32")),
                {"kind": "sum", "num_segments": 1},
                "saturates",
            ),
            Case((NAN, array([0, 0, 1, 1], "si32")), {"kind": "max", "num_segments": 2}, "NaN"),
            Case(
                (small("f32", 0, 2), small("si32", 0)),
                {"kind": "max", "num_segments": 2},
                "no rows",
            ),
            Case(
                (small("f32", 0, 2), small("si32", 0)),
                {"kind": "sum", "num_segments": 0},
                "no segments",
            ),
            Case(
                (small("f32", 2, 0), small("ui8", 2)), {"kind": "sum", "num_segments": 3}, "size 0"
            ),
        ],
        [
            Refused("rank", (tensor_type((), "f32"), INDEX), {"kind": "sum", "num_segments": 2}),
            Refused("shape", (F32, tensor_type((4,), "si32")), {"kind": "sum", "num_segments": 2}),
            Refused("dtype", (F32, tensor_type((5,), "f32")), {"kind": "sum", "num_segments": 2}),
            *(
                Refused(
                    "dtype",
                    (tensor_type((2,), e), tensor_type((2,), "si32")),
                    {"kind": kind, "num_segments": 2},
                )
                for e, kind in [("i1", "sum"), *((c, "max") for c in COMPLEX)]
            ),
            Refused(
                "attribute", (F32, tensor_type((5,), "si32")), {"kind": "sum", "num_segments": -1}
            ),
            Refused(
                "attribute", (F32, tensor_type((5,), "si32")), {"kind": "add", "num_segments": 2}
            ),
            *(
                Refused(
                    "index",
                    (small("f32", 2), array([0, bad], "si32")),
                    {"kind": "sum", "num_segments": 2},
                    f"index {bad} at position (1,)",
                )
                for bad in (2, -1)
            ),
        ],
        ulp=8,
    ),
)
