"""One dtype of each class, and small arrays of it whose sums and products are exact."""

from math import prod
from typing import Any

import numpy as np

from ptir.ir import DTypeLike, dtype

Array = np.ndarray[Any, Any]

FLOATS = ("f8e4m3", "f8e5m2", "bf16", "f16", "f32", "f64")
INTEGERS = ("si4", "ui4", "si8", "si32", "ui64")
COMPLEX = ("c64", "c128")
REAL = (*INTEGERS, *FLOATS)
NUMBERS = (*REAL, *COMPLEX)
ORDERED = ("i1", *REAL)
ANY = ("i1", *NUMBERS)


def small(element: DTypeLike, *shape: int, seed: int = 0) -> Array:
    """Whole numbers from −2 to 2 (0 to 2 where there is no sign, 0 and 1 for `i1`)."""
    want = dtype(element)
    low, high = (0, 1) if want.kind == "bool" else (0 if want.kind == "uint" else -2, 2)
    drawn = np.random.default_rng(seed).integers(low, high, shape, np.int8, endpoint=True)
    return np.asarray(drawn.astype(want.numpy))


def numbered(element: DTypeLike, *shape: int) -> Array:
    """Each position's own row-major number."""
    return np.arange(prod(shape), dtype=np.float64).reshape(shape).astype(dtype(element).numpy)


def array(values: Any, element: DTypeLike) -> Array:
    return np.array(values, dtype(element).numpy)
