"""What ops with index operands share: which types may index, and the run-time bounds check.

Knows no op by name and not what is read or written at an index.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ptir.ir import Size, SpecError, TensorType, Type, known_le

from .numeric import Array
from .rule import INTEGER, accepted


def index_operand(op: str, x: Type, slot: int = 1) -> TensorType:
    """`x` as a tensor of indices: any integer dtype."""
    return accepted(op, x, INTEGER, slot)


def same_dtype(op: str, x: TensorType, updates: TensorType, slot: int) -> None:
    if updates.dtype is not x.dtype:
        raise SpecError(
            "dtype", op, f"operand 0 is {x}, operand {slot} is {updates}; cast one of them"
        )


def expect_shape(op: str, what: str, x: TensorType, wanted: Sequence[Size]) -> None:
    if x.shape != tuple(wanted):
        raise SpecError("shape", op, f"{what} is {x}, wanted {x.with_shape(wanted)}")


def expect_within(op: str, what: str, size: Size, limit: Size, axis: int) -> None:
    """Refuse a size known to exceed that of operand 0; unknown ones are checked at run time."""
    if known_le(size, limit) is False:
        raise SpecError(
            "shape", op, f"{what} takes {size} on axis {axis}, where operand 0 has {limit}"
        )


def in_range(op: str, indices: Array, size: int, axis: int) -> Array:
    """`indices` as si64, each in `[0, size)`: a negative index does not count from the end."""
    found = np.asarray(indices.astype(np.int64))  # ui64 over the si64 range becomes negative
    bad = (found < 0) | (found >= size)
    if bad.any():
        position = tuple(map(int, np.argwhere(bad)[0]))
        raise SpecError(
            "index",
            op,
            f"index {int(indices[position])} at position {position}"
            f" is out of range for axis {axis} of size {size}",
        )
    return found


def row_major(coordinates: Sequence[Any], sizes: Sequence[int]) -> Array:
    """The flat position of each coordinate row: `np.ravel_multi_index`, size-0 axes included."""
    flat: Any = np.zeros((), np.int64)
    for size, coordinate in zip(sizes, coordinates, strict=True):
        flat = flat * size + coordinate
    return np.asarray(flat)
