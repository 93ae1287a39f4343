"""Samples of random numbers: every dtype, counts that end inside a block, keys at their limits."""

import numpy as np

from ptir.ir import tensor_type
from tests.samples import Case, OpSamples, Refused

KEY = np.array([0xA4093822, 0x299F31D0], np.uint32)
KEY_TYPE = tensor_type((2,), "ui32")
UNSIGNED = ("ui8", "ui16", "ui32", "ui64")
FLOATS = ("f8e4m3", "f8e5m2", "bf16", "f16", "f32", "f64")
SHAPES = {"rank 0": (), "unit axes": (1, 1), "empty": (3, 0), "part of a block": (3, 7)}


def _samples(op: str, dtypes: tuple[str, ...], wrong: str, ulp: float = 0.0) -> OpSamples:
    shaped = {"shape": (2, 3), "dtype": dtypes[-1]}
    limits = {"zero key": np.zeros(2, np.uint32), "full key": ~np.zeros(2, np.uint32)}
    return OpSamples(
        op,
        ulp=ulp,
        cases=[
            *(Case((KEY,), {"shape": (5, 13), "dtype": d}, d) for d in dtypes),
            *(Case((KEY,), {"shape": s, "dtype": dtypes[2]}, n) for n, s in SHAPES.items()),
            *(Case((key,), {"shape": (9,), "dtype": dtypes[2]}, n) for n, key in limits.items()),
        ],
        refused=[
            Refused("operand", (tensor_type((2,), "si64"),), shaped, "ui32[2]"),
            Refused("operand", (tensor_type((4,), "ui32"),), shaped, "ui32[2]"),
            Refused("dtype", (KEY_TYPE,), {"shape": (3,), "dtype": wrong}, wrong),
            Refused("shape", (KEY_TYPE,), {**shaped, "shape": (3, -1)}, "negative"),
            Refused("attribute", (KEY_TYPE,), {"shape": (3,)}, "dtype"),
            Refused("attribute", (KEY_TYPE,), {"dtype": dtypes[0]}, "shape"),
        ],
    )


SAMPLES = (
    _samples("random_bits", UNSIGNED, "si32"),
    _samples("random_uniform", FLOATS, "ui32"),
    # The angle is one rounded product everywhere; log, √ and cos then add their own errors.
    _samples("random_normal", FLOATS, "c64", ulp=12),
)
