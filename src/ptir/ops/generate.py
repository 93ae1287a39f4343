"""Tensors from attributes alone: iota. Constants belong to the IR, random numbers to `random`."""

import numpy as np

from ptir.ir import DType, Op, Size, SpecError, TensorType, attr

from .numeric import Array, convert
from .rule import REAL
from .shape import checked_type


def _iota(*, shape: tuple[Size, ...], dtype: DType, axis: int) -> TensorType:
    if axis >= len(shape):
        raise SpecError("attribute", "iota", f"axis {axis} is out of range for shape {shape}")
    if dtype.kind not in REAL:
        raise SpecError("dtype", "iota", f"cannot count in {dtype}; count in si64 and cast")
    return checked_type("iota", shape, dtype)


def _run_iota(*, shape: tuple[int, ...], dtype: DType, axis: int) -> Array:
    _iota(shape=shape, dtype=dtype, axis=axis)
    column = [-1 if a == axis else 1 for a in range(len(shape))]
    return np.broadcast_to(convert(np.arange(shape[axis]), dtype).reshape(column), shape)


iota = Op(
    "iota",
    infer=_iota,
    attrs={"shape": attr.sizes(), "dtype": attr.element(), "axis": attr.integer(minimum=0)},
    reference=_run_iota,
    doc="Each element is its index along axis (0, 1, 2, …; axis ≥ 0), cast to dtype: integers"
    " saturate, floats round.",
)
