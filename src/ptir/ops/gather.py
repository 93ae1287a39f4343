"""Reading at computed positions: take, gather, gather_nd. Knows no op that writes."""

from math import prod

import numpy as np

from ptir.ir import Op, SpecError, TensorType, Type, attr, type_of

from .indices import expect_within, in_range, index_operand, row_major
from .numeric import Array
from .rule import tensor
from .shape import checked_type

# --- take ---


def _take(x: Type, indices: Type, *, axis: int) -> Type:
    data, index = tensor("take", x), index_operand("take", indices)
    shape = (*data.shape[:axis], *index.shape, *data.shape[axis + 1 :])
    return checked_type("take", shape, data.dtype)


def _run_take(x: Array, indices: Array, *, axis: int) -> Array:
    return np.asarray(np.take(x, in_range("take", indices, x.shape[axis], axis), axis))


take = Op(
    "take",
    infer=_take,
    attrs={"axis": attr.axis()},
    reference=_run_take,
    rearranges=True,
    doc="Slices of x along one axis; the axes of the indices stand in its place.",
)


# --- gather ---


def along_axis(op: str, x: TensorType, indices: TensorType, axis: int) -> None:
    """Refuse indices that do not address x along `axis`: equal ranks, no longer on other axes."""
    if indices.rank != x.rank:
        raise SpecError("rank", op, f"operand 0 is {x}, indices are {indices}; ranks must be equal")
    for other, size in enumerate(indices.shape):
        if other != axis:
            expect_within(op, "indices", size, x.shape[other], other)


def _gather(x: Type, indices: Type, *, axis: int) -> TensorType:
    data, index = tensor("gather", x), index_operand("gather", indices)
    along_axis("gather", data, index, axis)
    return data.with_shape(index.shape)


def _run_gather(x: Array, indices: Array, *, axis: int) -> Array:
    _gather(type_of(x), type_of(indices), axis=axis)  # sizes may have been symbolic
    found = in_range("gather", indices, x.shape[axis], axis)
    reached = tuple(slice(None if a == axis else n) for a, n in enumerate(found.shape))
    return np.asarray(np.take_along_axis(x[reached], found, axis))


gather = Op(
    "gather",
    infer=_gather,
    attrs={"axis": attr.axis()},
    reference=_run_gather,
    rearranges=True,
    doc="One element for each index: result[i, j] = x[indices[i, j], j] along axis 0.",
)


# --- gather_nd ---


def indexed_axes(op: str, x: TensorType, indices: TensorType) -> int:
    """How many leading axes of x a row of `indices` addresses: the size of its last axis."""
    if indices.rank == 0:
        raise SpecError("rank", op, f"indices are {indices}, wanted a last axis of coordinates")
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        raise SpecError("dim", op, f"indices are {indices}; the last size must be an int")
    if depth > x.rank:
        raise SpecError("shape", op, f"rows of {depth} coordinates for operand 0, {x}")
    return depth


def flat_rows(op: str, indices: Array, sizes: tuple[int, ...]) -> Array:
    """The row-major position that each row of `indices` addresses in these axes, checked."""
    columns = [in_range(op, indices[..., axis], size, axis) for axis, size in enumerate(sizes)]
    return np.broadcast_to(row_major(columns, sizes), indices.shape[:-1])


def _gather_nd(x: Type, indices: Type) -> Type:
    data, index = tensor("gather_nd", x), index_operand("gather_nd", indices)
    depth = indexed_axes("gather_nd", data, index)
    shape = (*index.shape[:-1], *data.shape[depth:])
    return checked_type("gather_nd", shape, data.dtype)


def _run_gather_nd(x: Array, indices: Array) -> Array:
    depth = indices.shape[-1]
    rows = flat_rows("gather_nd", indices, x.shape[:depth])
    return np.asarray(np.take(x.reshape(prod(x.shape[:depth]), *x.shape[depth:]), rows, 0))


gather_nd = Op(
    "gather_nd",
    infer=_gather_nd,
    reference=_run_gather_nd,
    rearranges=True,
    doc="The last axis of the indices [..., k] addresses the first k axes of x.",
)
