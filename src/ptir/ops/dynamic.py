"""Slices that start where a tensor says. Knows no index out of range: a start is clamped."""

import numpy as np

from ptir.ir import Op, Size, SpecError, TensorType, Type, attr, type_of

from .indices import expect_shape, expect_within, index_operand, same_dtype
from .numeric import Array
from .rule import tensor
from .shape import checked_type


def _expect_start(op: str, x: TensorType, start: Type, slot: int) -> None:
    expect_shape(op, f"operand {slot} (start)", index_operand(op, start, slot), (x.rank,))


def _expect_part(op: str, what: str, x: TensorType, sizes: tuple[Size, ...]) -> None:
    """Refuse a part of x that has other axes or is longer on one."""
    if len(sizes) != x.rank:
        raise SpecError("rank", op, f"{what} has {len(sizes)} axes, operand 0 is {x}")
    for axis, (size, limit) in enumerate(zip(sizes, x.shape, strict=True)):
        expect_within(op, what, size, limit, axis)


def _window(x: Array, sizes: tuple[int, ...], start: Array) -> tuple[slice, ...]:
    """The part of x of these sizes at `start`, moved inside where it would reach out."""
    first = [
        min(max(int(at), 0), limit - size)
        for at, limit, size in zip(start, x.shape, sizes, strict=True)
    ]
    return tuple(slice(at, at + size) for at, size in zip(first, sizes, strict=True))


# --- dynamic_slice ---


def _dynamic_slice(x: Type, start: Type, *, sizes: tuple[Size, ...]) -> TensorType:
    data = tensor("dynamic_slice", x)
    _expect_start("dynamic_slice", data, start, 1)
    _expect_part("dynamic_slice", "sizes", data, sizes)
    return checked_type("dynamic_slice", sizes, data.dtype)


def _run_dynamic_slice(x: Array, start: Array, *, sizes: tuple[int, ...]) -> Array:
    _dynamic_slice(type_of(x), type_of(start), sizes=sizes)  # sizes may have been symbolic
    return np.asarray(x[_window(x, sizes, start)])


dynamic_slice = Op(
    "dynamic_slice",
    infer=_dynamic_slice,
    attrs={"sizes": attr.sizes()},
    reference=_run_dynamic_slice,
    rearranges=True,
    doc="The part of x with these sizes at start [rank]; each start is clamped to"
    " [0, size of x − size of the part].",
)


# --- dynamic_update_slice ---


def _dynamic_update_slice(x: Type, update: Type, start: Type) -> TensorType:
    data, part = tensor("dynamic_update_slice", x), tensor("dynamic_update_slice", update, 1)
    same_dtype("dynamic_update_slice", data, part, 1)
    _expect_start("dynamic_update_slice", data, start, 2)
    _expect_part("dynamic_update_slice", "operand 1", data, part.shape)
    return data


def _run_dynamic_update_slice(x: Array, update: Array, start: Array) -> Array:
    _dynamic_update_slice(type_of(x), type_of(update), type_of(start))
    result = x.copy()
    result[_window(x, update.shape, start)] = update
    return result


dynamic_update_slice = Op(
    "dynamic_update_slice",
    infer=_dynamic_update_slice,
    reference=_run_dynamic_update_slice,
    doc="x with the part at start [rank] replaced by update; starts clamp as in dynamic_slice.",
)
