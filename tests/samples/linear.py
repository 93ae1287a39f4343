"""Samples of dot_general: every dtype, layouts of batch and contraction, sizes 0, 1 and odd."""

import numpy as np

from ptir.ir import Dim, tensor_type
from tests.data import NUMBERS, ramp
from tests.samples import Case, OpSamples, Refused

MATMUL = {"contract_lhs": 1, "contract_rhs": 0}
F32 = tensor_type((2, 3), "f32")


def _dot(lhs: tuple[int, ...], rhs: tuple[int, ...], note: str, **attrs: object) -> Case:
    return Case((ramp("f32", *lhs), ramp("f32", *rhs)), attrs, note)


_CASES = [
    *(Case((ramp(d, 3, 5), ramp(d, 5, 2)), MATMUL, d) for d in NUMBERS),
    *(
        Case((ramp(d, 3, 5), ramp(d, 5, 2)), MATMUL | {"out_dtype": out}, f"{d} to {out}")
        for d, out in (
            ("si4", "si32"), ("ui8", "si32"), ("si8", "si32"), ("f8e4m3", "f32"), ("bf16", "f32"),
        )
    ),
    _dot((3, 5), (2, 5), "right transposed", contract_lhs=1, contract_rhs=1),
    _dot((5, 3), (5, 2), "left transposed", contract_lhs=0, contract_rhs=0),
    _dot((4,), (4,), "inner product", contract_lhs=0, contract_rhs=0),
    _dot((4,), (3,), "outer product", contract_lhs=(), contract_rhs=()),
    _dot((), (2, 3), "scalar", contract_lhs=(), contract_rhs=()),
    _dot((7, 1), (1, 3), "unit contraction", **MATMUL),
    _dot((3, 0), (0, 2), "zero-length contraction", **MATMUL),
    _dot((0, 3), (3, 2), "no rows", **MATMUL),
    _dot((17, 13), (13, 19), "odd sizes", **MATMUL),
    _dot(
        (2, 3, 4), (2, 4, 5), "batch first",
        batch_lhs=0, batch_rhs=0, contract_lhs=2, contract_rhs=1,
    ),
    _dot(
        (2, 3, 5, 4), (3, 6, 4, 2), "batch pairs out of order",
        batch_lhs=(1, 0), batch_rhs=(0, 3), contract_lhs=3, contract_rhs=2,
    ),
    _dot(
        (4, 2, 3), (3, 5, 4), "two contractions, crossed",
        contract_lhs=(2, 0), contract_rhs=(0, 2),
    ),
    _dot(
        (0, 3, 4), (0, 4, 5), "empty batch",
        batch_lhs=0, batch_rhs=0, contract_lhs=2, contract_rhs=1,
    ),
    Case(
        (np.array([[np.inf, 1], [np.nan, 0]], np.float32), np.array([[0.0], [1]], np.float32)),
        MATMUL,
        "inf · 0, NaN",
    ),
    Case((np.full((1, 4), 100, np.int8), np.full((4, 1), 100, np.int8)), MATMUL, "saturates"),
    Case((np.full((1, 3), 300, np.int16), np.full((3, 1), 300, np.int16)), MATMUL, "si16 wraps"),
    Case(
        (np.full((1, 3), 300, np.int16), np.full((3, 1), 300, np.int16)),
        MATMUL | {"accum_dtype": "si32", "out_dtype": "si32"},
        "si16 in si32",
    ),
    Case(
        (np.full((1, 2), 300, np.float16), np.full((2, 1), 300, np.float16)),
        MATMUL,
        "f16 overflow",
    ),
    Case(
        (np.array([[1e8, 1, -1e8]], np.float32), np.ones((3, 1), np.float32)),
        MATMUL | {"accum_dtype": "f64"},
        "f64 accumulator",
    ),
]  # fmt: skip

_REFUSED = [
    Refused("shape", (F32, F32), MATMUL, "size 3"),
    Refused("shape", (tensor_type((2, Dim.symbol("K")), "f32"), F32), MATMUL, "?K"),
    Refused("dtype", (F32, tensor_type((3, 2), "f64")), MATMUL, "cast"),
    Refused("dtype", (tensor_type((2, 3), "i1"), tensor_type((3, 2), "i1")), MATMUL),
    Refused("dtype", (F32, tensor_type((3, 2), "f32")), MATMUL | {"out_dtype": "si8"}),
    Refused("dtype", (F32, tensor_type((3, 2), "f32")), MATMUL | {"accum_dtype": "bf16"}),
    Refused("attribute", (F32, F32), {"contract_lhs": 1}, "contract_rhs"),
    Refused("attribute", (F32, F32), {"contract_lhs": (0, 1), "contract_rhs": 1}, "pairs"),
    Refused("attribute", (F32, F32), MATMUL | {"batch_lhs": 0}, "pairs"),
    Refused(
        "attribute",
        (F32, F32),
        {"contract_lhs": 1, "contract_rhs": 1, "batch_lhs": 1, "batch_rhs": 1},
        "overlap",
    ),
    Refused("attribute", (F32, F32), {"contract_lhs": 2, "contract_rhs": 0}, "rank 2"),
    Refused("arity", (F32,), MATMUL),
]

SAMPLES = (OpSamples("dot_general", _CASES, _REFUSED, ulp=38),)  # 2K for the longest, K = 19
