"""Affine quantisation, `x ≈ (q − zero) · scale`, defined by the simpler ops it decomposes to."""

from ptir.ir import DType, Node, Op, SpecError, TensorType, Type, attr, dtype

from .binary import add, div, mul, sub
from .convert import cast
from .rule import FLOAT, INTEGER, accepted
from .shape import broadcast_to, reshape
from .unary import round_

# A scale of rank 0 is for the whole tensor, [n] for the n indices of `axis`; with `group_size` each
# run of so many neighbours along `axis` has its own: x's shape, with the number of runs there.
_GRANULARITY = {
    "axis": attr.axis().optional(),
    "group_size": attr.integer(minimum=1).optional(),
}


# --- type rules ---


def _scaled(
    op: str, x: TensorType, scale: Type, slot: int, axis: int | None, group_size: int | None
) -> TensorType:
    """The type of `scale`, once it is known to tell every element of `x` its own."""
    found = accepted(op, scale, FLOAT, slot)
    if group_size is not None and axis is None:
        raise SpecError("attribute", op, f"group_size={group_size} groups along axis=; name it")
    if found.rank and not _fits(x, found, axis, group_size):
        each = "an axis" if axis is None else f"axis {axis}"
        each = each if group_size is None else f"groups of {group_size} along {each}"
        raise SpecError("shape", op, f"operand {slot} is {found}: no scale for {each} of {x}")
    return found


def _fits(x: TensorType, scale: TensorType, axis: int | None, group_size: int | None) -> bool:
    if axis is None:
        return False
    if group_size is None:
        return scale.shape == (x.shape[axis],)
    if scale.rank != x.rank:
        return False
    covered = scale.shape[axis] * group_size
    return (*scale.shape[:axis], covered, *scale.shape[axis + 1 :]) == x.shape


def _zeroed(op: str, zero: Type | None, slot: int, scale: TensorType, q: DType) -> None:
    if zero is not None and zero != scale.with_dtype(q):
        raise SpecError("operand", op, f"operand {slot} is {zero}, wanted {scale.with_dtype(q)}")


def _integer(op: str, dtype: DType) -> DType:
    if not dtype.is_integer:
        raise SpecError("dtype", op, f"dtype is {dtype}, wanted an integer type")
    return dtype


def _float(op: str, dtype: DType) -> DType:
    if not dtype.is_float:
        raise SpecError("dtype", op, f"dtype is {dtype}, wanted a float type")
    return dtype


# --- how a scale reaches the elements ---


def _spread(scale: Node, x: Node, axis: int | None, group_size: int | None) -> Node:
    """`scale` (or a zero point) repeated to the shape of `x`."""
    shape, have = _tensor(x).shape, _tensor(scale).shape
    if axis is not None and have and group_size is None:
        scale = reshape(scale, shape=(*have, *(1 for _ in shape[axis + 1 :])))
    elif axis is not None and have:
        head, tail = have[: axis + 1], have[axis + 1 :]
        scale = reshape(scale, shape=(*head, 1, *tail))
        scale = broadcast_to(scale, shape=(*head, group_size, *tail))
        scale = reshape(scale, shape=shape)
    spread: Node = broadcast_to(scale, shape=shape)
    return spread


def _tensor(x: Node) -> TensorType:
    assert isinstance(x.type, TensorType)
    return x.type


def _precise(*elements: DType) -> DType:
    return dtype("f64" if any(e.name == "f64" for e in elements) else "f32")


# --- quantize ---


def _quantize(
    x: Type, scale: Type, zero_point: Type | None = None, *,
    axis: int | None, group_size: int | None, dtype: DType,
) -> Type:  # fmt: skip
    found = accepted("quantize", x, FLOAT)
    scaled = _scaled("quantize", found, scale, 1, axis, group_size)
    _zeroed("quantize", zero_point, 2, scaled, _integer("quantize", dtype))
    return found.with_dtype(dtype)


def _to_integers(
    x: Node, scale: Node, zero_point: Node | None = None, *,
    axis: int | None, group_size: int | None, dtype: DType,
) -> Node:  # fmt: skip
    precise = _precise(_tensor(x).dtype, _tensor(scale).dtype)
    scale = _spread(cast(scale, dtype=precise), x, axis, group_size)
    steps = round_(div(cast(x, dtype=precise), scale))
    if zero_point is not None:
        steps = add(steps, _spread(cast(zero_point, dtype=precise), x, axis, group_size))
    q: Node = cast(steps, dtype=dtype)
    return q


quantize = Op(
    "quantize",
    infer=_quantize,
    attrs={**_GRANULARITY, "dtype": attr.element()},
    decompose=_to_integers,
    doc="round(x / scale) + zero_point as an integer type, computed in f32 (in f64 where x or the "
    "scale is), half to even, saturating; NaN gives 0. A scale of rank 0 is for the whole tensor, "
    "[n] for the indices of `axis`; with `group_size` each run of so many along `axis` has its "
    "own. zero_point has the result's dtype and the scale's shape.",
)


# --- dequantize ---


def _dequantize(
    q: Type, scale: Type, zero_point: Type | None = None, *,
    axis: int | None, group_size: int | None, dtype: DType,
) -> Type:  # fmt: skip
    found = accepted("dequantize", q, INTEGER)
    scaled = _scaled("dequantize", found, scale, 1, axis, group_size)
    _zeroed("dequantize", zero_point, 2, scaled, found.dtype)
    return found.with_dtype(_float("dequantize", dtype))


def _to_floats(
    q: Node, scale: Node, zero_point: Node | None = None, *,
    axis: int | None, group_size: int | None, dtype: DType,
) -> Node:  # fmt: skip
    precise = _precise(_tensor(scale).dtype, dtype)
    steps = cast(q, dtype=precise)
    if zero_point is not None:
        steps = sub(steps, _spread(cast(zero_point, dtype=precise), q, axis, group_size))
    scale = _spread(cast(scale, dtype=precise), q, axis, group_size)
    x: Node = cast(mul(steps, scale), dtype=dtype)
    return x


dequantize = Op(
    "dequantize",
    infer=_dequantize,
    attrs={**_GRANULARITY, "dtype": attr.element(dtype("f32"))},
    decompose=_to_floats,
    doc="(q − zero_point) · scale, computed in f32 (in f64 where the scale or the result is), then "
    "rounded to `dtype`; scale and zero_point as in `quantize`.",
)


# --- requantize ---


def _requantize(
    q: Type, scale_in: Type, zero_in: Type, scale_out: Type, zero_out: Type, *,
    axis: int | None, group_size: int | None, dtype: DType,
) -> Type:  # fmt: skip
    found = accepted("requantize", q, INTEGER)
    before = _scaled("requantize", found, scale_in, 1, axis, group_size)
    _zeroed("requantize", zero_in, 2, before, found.dtype)
    after = _scaled("requantize", found, scale_out, 3, axis, group_size)
    _zeroed("requantize", zero_out, 4, after, _integer("requantize", dtype))
    return found.with_dtype(dtype)


def _to_other_integers(
    q: Node, scale_in: Node, zero_in: Node, scale_out: Node, zero_out: Node, *,
    axis: int | None, group_size: int | None, dtype: DType,
) -> Node:  # fmt: skip
    precise = _precise(_tensor(scale_in).dtype, _tensor(scale_out).dtype)
    runs = {"axis": axis, "group_size": group_size}
    x = dequantize(q, scale_in, zero_in, dtype=precise, **runs)
    again: Node = quantize(x, scale_out, zero_out, dtype=dtype, **runs)
    return again


requantize = Op(
    "requantize",
    infer=_requantize,
    attrs={**_GRANULARITY, "dtype": attr.element()},
    decompose=_to_other_integers,
    doc="`dequantize` with scale_in and zero_in, then `quantize` with scale_out and zero_out; each "
    "scale is of rank 0 or as `axis` and `group_size` say.",
)
