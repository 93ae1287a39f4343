"""Samples of iota: every dtype that counts, along each axis, sizes 0 and 1."""

from ptir.ir import Dim
from tests.data import REALS
from tests.samples import Case, OpSamples, Refused

_CASES = [
    *(Case((), {"shape": (2, 5), "dtype": d, "axis": 1}, d) for d in REALS),
    Case((), {"shape": (3, 2, 4), "dtype": "si32", "axis": 0}, "first axis"),
    Case((), {"shape": (3, 2, 4), "dtype": "f32", "axis": 1}, "middle axis"),
    Case((), {"shape": (0, 2), "dtype": "f32", "axis": 0}, "empty axis"),
    Case((), {"shape": (0, 2), "dtype": "f32", "axis": 1}, "empty result"),
    Case((), {"shape": (1,), "dtype": "bf16", "axis": 0}, "unit axis"),
    Case((), {"shape": (20,), "dtype": "si4", "axis": 0}, "saturates"),
    Case((), {"shape": (300,), "dtype": "bf16", "axis": 0}, "rounds"),
]

_REFUSED = [
    Refused("attribute", (), {"shape": (2,), "dtype": "f32", "axis": 1}, "out of range"),
    Refused("attribute", (), {"shape": (2,), "dtype": "f32", "axis": -1}, "at least 0"),
    Refused("attribute", (), {"shape": (), "dtype": "f32", "axis": 0}),
    Refused("attribute", (), {"shape": (2,), "axis": 0}, "dtype"),
    Refused("shape", (), {"shape": (2, -1), "dtype": "f32", "axis": 0}, "negative"),
    Refused("dtype", (), {"shape": (2,), "dtype": "i1", "axis": 0}, "cast"),
    Refused("dtype", (), {"shape": (Dim.symbol("N"),), "dtype": "c64", "axis": 0}),
]

SAMPLES = (OpSamples("iota", _CASES, _REFUSED),)
