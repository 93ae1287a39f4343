"""Combining at computed positions: scatter, scatter_nd, segment_reduce. Knows no window."""

from math import prod

import numpy as np

from ptir.ir import Node, Op, Size, SpecError, TensorType, Type, attr, constant, dtype, type_of

from .accumulate import COMBINE, TAKES, identity, restored, sum_accumulator, widened
from .convert import cast
from .gather import along_axis, flat_rows, indexed_axes
from .indices import expect_shape, in_range, index_operand, row_major, same_dtype
from .numeric import Array, convert, store
from .rule import ANY, accepted, tensor
from .shape import broadcast_to, checked_type, reshape

# What each scatter kind does where it meets an element, in the words of a reduction.
_REDUCTION = {"add": "sum", "mul": "prod", "max": "max", "min": "min"}
_SCATTER = {reduction: kind for kind, reduction in _REDUCTION.items()}
_KIND = attr.choice(*_REDUCTION, "replace")


def _written(op: str, x: Type, updates: Type, kind: str) -> tuple[TensorType, TensorType]:
    """The target and the updates of a scatter: one dtype, which `kind` can combine."""
    data = accepted(op, x, ANY if kind == "replace" else TAKES[_REDUCTION[kind]])
    new = accepted(op, updates, ANY, 2)
    same_dtype(op, data, new, 2)
    return data, new


def _write(kind: str, target: Array, rows: Array, updates: Array) -> Array:
    """`target` [R, M] after `updates` [U, M] went to `rows` [U], in order."""
    if kind == "replace":
        return _replaced(target, rows, updates)
    total = _combined(_REDUCTION[kind], target, rows, updates)
    return store(total, target.dtype)


def _replaced(target: Array, rows: Array, updates: Array) -> Array:
    """NumPy does not promise an order of assignments, so only the last to each row is made."""
    result = target.copy()
    written, from_the_end = np.unique(rows[::-1], return_index=True)
    result[written] = updates[::-1][from_the_end]
    return result


def _combined(kind: str, target: Array, rows: Array, updates: Array) -> Array:
    """The rows of `target` combined with `updates`, in the dtype that a reduction runs in."""
    element = dtype(target.dtype)
    accum = sum_accumulator(element)
    total = np.array(widened(target, kind, accum))  # a copy: `at` writes to it
    with np.errstate(all="ignore"):
        COMBINE[kind].at(total, rows, widened(updates, kind, accum))
    return restored(total, kind, element)


# --- scatter ---


def _scatter(x: Type, indices: Type, updates: Type, *, axis: int, kind: str) -> TensorType:
    data, new = _written("scatter", x, updates, kind)
    index = index_operand("scatter", indices)
    along_axis("scatter", data, index, axis)
    expect_shape("scatter", "operand 2", new, index.shape)
    return data


def _run_scatter(x: Array, indices: Array, updates: Array, *, axis: int, kind: str) -> Array:
    _scatter(type_of(x), type_of(indices), type_of(updates), axis=axis, kind=kind)
    found = in_range("scatter", indices, x.shape[axis], axis)
    coordinates = list[Array](np.indices(found.shape, sparse=True))
    coordinates[axis] = found
    flat = row_major(coordinates, x.shape)
    return _write(kind, x.reshape(-1), flat.reshape(-1), updates.reshape(-1)).reshape(x.shape)


scatter = Op(
    "scatter",
    infer=_scatter,
    attrs={"axis": attr.axis(), "kind": _KIND},
    reference=_run_scatter,
    doc="x with x[indices[i, j], j] combined with updates[i, j] along axis 0, x included. Where"
    " indices meet, replace keeps the last in row-major order. add and mul of f8, bf16 and f16 run"
    " in f32 and are rounded once; integers wrap around; max and min propagate NaN.",
)


# --- scatter_nd ---


def _scatter_nd(x: Type, indices: Type, updates: Type, *, kind: str) -> TensorType:
    data, new = _written("scatter_nd", x, updates, kind)
    index = index_operand("scatter_nd", indices)
    depth = indexed_axes("scatter_nd", data, index)
    expect_shape("scatter_nd", "operand 2", new, (*index.shape[:-1], *data.shape[depth:]))
    return data


def _run_scatter_nd(x: Array, indices: Array, updates: Array, *, kind: str) -> Array:
    depth = indices.shape[-1]
    lead, rest = prod(x.shape[:depth]), prod(x.shape[depth:])
    rows = flat_rows("scatter_nd", indices, x.shape[:depth]).reshape(-1)
    target, new = x.reshape(lead, rest), updates.reshape(rows.size, rest)
    return _write(kind, target, rows, new).reshape(x.shape)


scatter_nd = Op(
    "scatter_nd",
    infer=_scatter_nd,
    attrs={"kind": _KIND},
    reference=_run_scatter_nd,
    doc="x with the slice that each row of indices [..., k] addresses in its first k axes combined"
    " with that of updates; kinds, order and accumulation as scatter.",
)


# --- segment_reduce ---


def _segment_reduce(data: Type, ids: Type, *, kind: str, num_segments: Size) -> TensorType:
    values = accepted("segment_reduce", data, TAKES[kind])
    index = index_operand("segment_reduce", ids)
    if values.rank == 0:
        raise SpecError("rank", "segment_reduce", f"operand 0 is {values}, wanted an axis of rows")
    expect_shape("segment_reduce", "operand 1", index, values.shape[:1])
    return checked_type("segment_reduce", (num_segments, *values.shape[1:]), values.dtype)


def _run_segment_reduce(data: Array, ids: Array, *, kind: str, num_segments: int) -> Array:
    rows = in_range("segment_reduce", ids, num_segments, 0)
    neutral = identity(kind, dtype(data.dtype))
    empty = np.full((num_segments, *data.shape[1:]), neutral, data.dtype)
    return convert(_combined(kind, empty, rows, data), data.dtype)


def _segment_reduce_as_scatter(data: Node, ids: Node, *, kind: str, num_segments: Size) -> Node:
    x, rows = tensor("segment_reduce", data.type), tensor("segment_reduce", ids.type)
    counts = x.dtype.is_integer and kind in ("sum", "prod")
    accum = sum_accumulator(x.dtype) if counts else x.dtype  # floats widen inside scatter_nd
    neutral = constant(identity(kind, x.dtype), accum)
    total: Node = scatter_nd(
        broadcast_to(neutral, shape=(num_segments, *x.shape[1:])),
        reshape(ids, shape=(*rows.shape, 1)),
        cast(data, dtype=accum),
        kind=_SCATTER[kind],
    )
    return cast(total, dtype=x.dtype)


segment_reduce = Op(
    "segment_reduce",
    infer=_segment_reduce,
    attrs={"kind": attr.choice(*_SCATTER), "num_segments": attr.size()},
    reference=_run_segment_reduce,
    decompose=_segment_reduce_as_scatter,
    doc="Row i combines the rows of data whose id is i, in any order of ids: accumulation and"
    " empty segments as reduce.",
)
