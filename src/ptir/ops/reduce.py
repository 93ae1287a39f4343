"""Reductions along axes: reduce, argmax, argmin, cumulative. Knows no index operand, no window."""

import numpy as np

from ptir.ir import DType, Op, Size, SpecError, TensorType, Type, attr, dtype

from .accumulate import COMBINE, TAKES, accumulation, neutral, restored, sum_accumulator, widened
from .numeric import Array, compute, convert
from .rule import REAL, accepted

# --- reduce ---


def _dtypes(
    kind: str, element: DType, accum: DType | None, out: DType | None
) -> tuple[DType, DType]:
    """The accumulator and the result of a reduction; only sums and products accumulate."""
    if kind in ("sum", "prod"):
        return accumulation("reduce", element, sum_accumulator(element), accum, out)
    for name, given in (("accum_dtype", accum), ("out_dtype", out)):
        if given is not None and given is not element:
            raise SpecError("dtype", "reduce", f"{name}={given}, but {kind} of {element} is exact")
    return element, element


def _reduced(shape: tuple[Size, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[Size, ...]:
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _reduce(
    x: Type,
    *,
    kind: str,
    axes: tuple[int, ...],
    keepdims: bool,
    accum_dtype: DType | None,
    out_dtype: DType | None,
) -> TensorType:
    data = accepted("reduce", x, TAKES[kind])
    _, out = _dtypes(kind, data.dtype, accum_dtype, out_dtype)
    return TensorType(_reduced(data.shape, axes, keepdims), out)


def _run_reduce(
    x: Array,
    *,
    kind: str,
    axes: tuple[int, ...],
    keepdims: bool,
    accum_dtype: DType | None,
    out_dtype: DType | None,
) -> Array:
    accum, out = _dtypes(kind, dtype(x.dtype), accum_dtype, out_dtype)
    wide = widened(x, kind, accum)
    first = neutral(kind, dtype(x.dtype), accum)[()]
    with np.errstate(all="ignore"):
        total = COMBINE[kind].reduce(wide, axes, wide.dtype, keepdims=keepdims, initial=first)
    return convert(convert(restored(total, kind, accum), accum), out)


reduce = Op(
    "reduce",
    infer=_reduce,
    attrs={
        "kind": attr.choice(*COMBINE),
        "axes": attr.axes(),
        "keepdims": attr.flag(False),
        "accum_dtype": attr.element().optional(),
        "out_dtype": attr.element().optional(),
    },
    reference=_run_reduce,
    doc="x combined along axes. sum and prod run in accum_dtype (f8, bf16, f16 in f32; integers in"
    " 64 bits, wrapping) and are cast to out_dtype (as x; integers saturate); the reference rounds"
    " an f32 sum once, from f64. max and min propagate NaN; and, or are bitwise. Over nothing: sum"
    " 0, prod 1, max the least and min the greatest value (±inf, but ±448 for f8e4m3), and all"
    " ones, or 0.",
)

# --- argmax, argmin ---


def _arg_rule(op: str, x: Type, axis: int, keepdims: bool, out_dtype: DType) -> TensorType:
    data = accepted(op, x, REAL | {"bool"})
    if not out_dtype.is_integer or out_dtype.bits < 32:
        raise SpecError(
            "dtype", op, f"out_dtype={out_dtype}, wanted an integer of 32 or 64 bits; cast after"
        )
    _refuse_empty(op, data.shape[axis], axis)
    return TensorType(_reduced(data.shape, (axis,), keepdims), out_dtype)


def _refuse_empty(op: str, size: Size, axis: int) -> None:
    if size == 0:
        raise SpecError("empty", op, f"axis {axis} has size 0: no element has an index")


def _argmax(x: Type, *, axis: int, keepdims: bool, out_dtype: DType) -> TensorType:
    return _arg_rule("argmax", x, axis, keepdims, out_dtype)


def _argmin(x: Type, *, axis: int, keepdims: bool, out_dtype: DType) -> TensorType:
    return _arg_rule("argmin", x, axis, keepdims, out_dtype)


def _run_argmax(x: Array, *, axis: int, keepdims: bool, out_dtype: DType) -> Array:
    _refuse_empty("argmax", x.shape[axis], axis)
    return convert(np.asarray(np.argmax(compute(x), axis, keepdims=keepdims)), out_dtype)


def _run_argmin(x: Array, *, axis: int, keepdims: bool, out_dtype: DType) -> Array:
    _refuse_empty("argmin", x.shape[axis], axis)
    return convert(np.asarray(np.argmin(compute(x), axis, keepdims=keepdims)), out_dtype)


_ARG_ATTRS = {
    "axis": attr.axis(),
    "keepdims": attr.flag(False),
    "out_dtype": attr.element(dtype("si64")),
}
argmax = Op(
    "argmax",
    infer=_argmax,
    attrs=_ARG_ATTRS,
    reference=_run_argmax,
    doc="The index of the greatest element along one axis: the first of equals, the first NaN if"
    " there is one. An empty axis is an error.",
)
argmin = Op(
    "argmin",
    infer=_argmin,
    attrs=_ARG_ATTRS,
    reference=_run_argmin,
    doc="The index of the least element along one axis: the first of equals, the first NaN if there"
    " is one. An empty axis is an error.",
)

# --- cumulative ---


def _cumulative(x: Type, *, kind: str, axis: int, exclusive: bool, reverse: bool) -> TensorType:
    return accepted("cumulative", x, TAKES[kind])


def _run_cumulative(x: Array, *, kind: str, axis: int, exclusive: bool, reverse: bool) -> Array:
    element = dtype(x.dtype)
    accum, _ = _dtypes(kind, element, None, None)
    along = np.moveaxis(widened(x, kind, accum), axis, 0)
    if reverse:
        along = along[::-1]
    if exclusive:
        first = np.broadcast_to(neutral(kind, element, accum), (1, *along.shape[1:]))
        along = np.concatenate((first, along))[: len(along)]
    with np.errstate(all="ignore"):
        totals = COMBINE[kind].accumulate(along, 0, along.dtype)
    totals = np.moveaxis(totals[::-1] if reverse else totals, 0, axis)
    return convert(convert(restored(totals, kind, accum), accum), element)


cumulative = Op(
    "cumulative",
    infer=_cumulative,
    attrs={
        "kind": attr.choice("sum", "prod", "max", "min"),
        "axis": attr.axis(),
        "exclusive": attr.flag(False),
        "reverse": attr.flag(False),
    },
    reference=_run_cumulative,
    doc="At each position, reduce of the elements up to it (from it on, when reverse), without the"
    " element itself when exclusive; reduce's accumulation and empty values, the dtype of x.",
)
