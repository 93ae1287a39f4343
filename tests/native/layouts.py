"""The same values in other places of memory, as kernels meet them."""

from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]

LAYOUTS = ("plain", "unaligned", "strided", "reversed", "transposed")
SIZES = (0, 1, 2, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)

FLOATS = (np.float32, ml_dtypes.bfloat16, np.float16)
WHOLE = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
NIBBLES = (ml_dtypes.int4, ml_dtypes.uint4)


def laid(array: Any, layout: str) -> Array:
    """A copy of `array` in this layout, with room of its own around it."""
    array = np.asarray(array)
    if layout == "transposed":
        made = np.empty(array.shape[::-1], array.dtype).T
    elif layout == "unaligned":
        raw = np.zeros(array.nbytes + 1, np.uint8)
        made = raw[1:].view(array.dtype).reshape(array.shape) if array.nbytes else array.copy()
    elif layout == "strided":
        made = np.zeros([2 * n for n in array.shape], array.dtype)[
            (slice(1, None, 2),) * array.ndim
        ]
    elif layout == "reversed":
        made = np.zeros(array.shape, array.dtype)[(slice(None, None, -1),) * array.ndim]
    else:
        made = np.empty(array.shape, array.dtype)
    if made.ndim:
        made[...] = array
        return made
    return np.array(array)


def some(shape: Any, dtype: Any, seed: int = 0) -> Array:
    """Small whole numbers of either sign where the dtype has them: exact in every type."""
    numbers = np.random.default_rng(seed).integers(-5, 8, shape)
    if np.dtype(dtype).kind == "u" or dtype is ml_dtypes.uint4:
        numbers = np.abs(numbers)
    return np.asarray(numbers).astype(np.int8).astype(dtype)


def same(found: Any, wanted: Any) -> bool:
    """Whether both are the same bits; one NaN is as good as another."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    if found.tobytes() == wanted.tobytes():
        return True
    if found.dtype in (*map(np.dtype, FLOATS), np.float64):
        a, b = found.astype(np.float64), wanted.astype(np.float64)
        zero = np.signbit(a) == np.signbit(b)
        return bool((((a == b) & zero) | (np.isnan(a) & np.isnan(b))).all())
    return False
