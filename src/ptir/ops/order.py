"""Ordering along an axis: sort, top_k. Knows no order of complex numbers."""

import numpy as np

from ptir.ir import Node, Op, SpecError, TensorType, TupleType, Type, attr, dtype, known_le, type_of

from .numeric import Array, compute
from .rule import REAL, accepted, tensor
from .shape import slice_
from .structure import item, tuple_


def _with_indices(values: TensorType) -> TupleType:
    return TupleType((values, values.with_dtype(dtype("si64"))))


def _order(x: Array, axis: int, descending: bool) -> Array:
    """The stable order of x along `axis`; NaN is greater than anything."""
    keys = compute(x)
    if not descending:
        return np.argsort(keys, axis, kind="stable")
    # Ascending on the mirrored axis: mirrored back, equal elements stand in their first order.
    mirrored = np.argsort(np.flip(keys, axis), axis, kind="stable")
    return np.asarray(x.shape[axis] - 1 - np.flip(mirrored, axis))


# --- sort ---


def _sort(x: Type, *, axis: int, descending: bool, stable: bool) -> TupleType:
    return _with_indices(accepted("sort", x, REAL | {"bool"}))


def _run_sort(x: Array, *, axis: int, descending: bool, stable: bool) -> tuple[Array, Array]:
    order = _order(x, axis, descending)
    return np.take_along_axis(x, order, axis), order


sort = Op(
    "sort",
    infer=_sort,
    attrs={
        "axis": attr.axis().derived(lambda types: -1),
        "descending": attr.flag(False),
        "stable": attr.flag(True),
    },
    reference=_run_sort,
    doc="(values, si64 indices) in order along one axis. NaN is greater than anything: last, or"
    " first when descending. Equal elements (−0 and 0 too) keep their order, in both directions;"
    " stable=False lets a backend break that.",
)


# --- top_k ---


def _top_k(x: Type, *, k: int, axis: int, largest: bool) -> TupleType:
    data = accepted("top_k", x, REAL | {"bool"})
    if known_le(k, data.shape[axis]) is False:
        raise SpecError("shape", "top_k", f"k={k} of {data.shape[axis]} elements on axis {axis}")
    return _with_indices(data.with_shape((*data.shape[:axis], k, *data.shape[axis + 1 :])))


def _run_top_k(x: Array, *, k: int, axis: int, largest: bool) -> tuple[Array, Array]:
    _top_k(type_of(x), k=k, axis=axis, largest=largest)  # the size may have been symbolic
    order = _order(x, axis, largest)[(slice(None),) * axis + (slice(k),)]
    return np.take_along_axis(x, order, axis), order


def _top_k_as_sort(x: Node, *, k: int, axis: int, largest: bool) -> Node:
    ordered = sort(x, axis=axis, descending=largest)
    shape = tensor("top_k", x.type).shape
    starts, limits = (0,) * len(shape), (*shape[:axis], k, *shape[axis + 1 :])
    first = [slice_(item(ordered, index=i), starts=starts, limits=limits) for i in (0, 1)]
    return tuple_(*first)


top_k = Op(
    "top_k",
    infer=_top_k,
    attrs={
        "k": attr.integer(minimum=0),
        "axis": attr.axis().derived(lambda types: -1),
        "largest": attr.flag(True),
    },
    reference=_run_top_k,
    decompose=_top_k_as_sort,
    doc="(values, si64 indices) of the k largest or smallest elements along one axis, in order; of"
    " equal ones the smallest index first. NaN is greater than anything.",
)
