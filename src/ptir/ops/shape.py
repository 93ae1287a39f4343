"""Data movement that is known when a program is written. Knows no values and no index operand."""

from collections.abc import Sequence
from math import gcd

import numpy as np

from ptir.ir import (
    Attr,
    Dim,
    DType,
    Literal,
    Op,
    Size,
    SpecError,
    TensorType,
    Type,
    attr,
    known_le,
    tensor_type,
    type_of,
)
from ptir.ir.dim import cancel

from .numeric import Array
from .rule import tensor

Shape = tuple[Size, ...]


def checked_type(op: str, shape: Sequence[Size], element: DType) -> TensorType:
    """The tensor type of a shape that a caller wrote; refuses negative sizes and too many axes."""
    try:
        return tensor_type(shape, element)
    except SpecError as error:
        raise SpecError(error.code, op, error.message) from None


def _fill(op: str, value: int) -> Attr:
    """One int ≥ `value` per axis of operand 0, all `value` where none are given."""

    def fill(types: Sequence[Type]) -> tuple[int, ...]:
        return (value,) * tensor(op, types[0]).rank

    return attr.integers(minimum=value).derived(fill)


def _check_per_axis(op: str, x: TensorType, **attrs: Sequence[Size]) -> None:
    for name, values in attrs.items():
        if len(values) != x.rank:
            raise SpecError(
                "attribute", op, f"{name}={values} for {x}; wanted one for each of {x.rank} axes"
            )


# --- reshape ---

_SIZES = attr.sizes()


def _target(value: object, types: Sequence[Type]) -> Shape:
    """The new shape with its −1 worked out, so that the attribute means one thing."""
    shape: Shape = _SIZES.normalize(value, types)
    if -1 not in shape:
        return shape
    at = shape.index(-1)
    rest = (*shape[:at], *shape[at + 1 :])
    if -1 in rest:
        raise ValueError("only one size can be inferred")
    return (*shape[:at], _inferred(tensor("reshape", types[0]), rest), *shape[at + 1 :])


def _factors(sizes: Sequence[Size]) -> tuple[int, list[Size]]:
    """A product of sizes as an integer and `Dim`s, each without the integer that divides it."""
    coefficient, dims = 1, list[Size]()
    for size in sizes:
        if isinstance(size, Dim):
            content = gcd(size.constant, *(c for _, c in size.terms))
            coefficient *= content
            dims.append(size // content)
        else:
            coefficient *= size
    return coefficient, dims


def _inferred(x: TensorType, rest: Shape) -> Size:
    """The size that makes `rest` hold as many elements as `x`."""
    if 0 in rest:
        raise SpecError("shape", "reshape", f"{x} to {rest}: next to a size 0, −1 may be anything")
    (count, given), (divisor, wanted) = _factors(x.shape), _factors(rest)
    over, under = cancel(given, wanted)
    if not under and len(over) <= 1 and count % divisor == 0:
        return (over[0] if over else 1) * (count // divisor)
    code = "dim" if given or wanted else "shape"
    raise SpecError(
        code, "reshape", f"{x} is not known to split into {rest} and one more size; give that size"
    )


def _reshape(x: Type, *, shape: Shape) -> TensorType:
    data = tensor("reshape", x)
    result = checked_type("reshape", shape, data.dtype)
    (have, given), (want, wanted) = _factors(data.shape), _factors(shape)
    over, under = cancel(given, wanted)
    # Both counts are 0 whatever the symbols are, or equal once the shared factors are gone.
    if have == want and (have == 0 or (not over and not under)):
        return result
    code = "dim" if given or wanted else "shape"
    raise SpecError(
        code, "reshape", f"{x} to {result}: the element counts are not known to be equal"
    )


def _run_reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    _reshape(type_of(x), shape=shape)
    return x.reshape(shape)


reshape = Op(
    "reshape",
    infer=_reshape,
    attrs={"shape": Attr("sizes, one may be −1", _target)},
    reference=_run_reshape,
    rearranges=True,
    doc="The same elements in row-major order under another shape. One size may be −1: it is worked"
    " out when the op is built. Symbolic counts must be equal after cancelling shared factors.",
)

# --- transpose ---


def _transpose(x: Type, *, perm: tuple[int, ...]) -> TensorType:
    data = tensor("transpose", x)
    _check_per_axis("transpose", data, perm=perm)
    return data.with_shape([data.shape[axis] for axis in perm])


transpose = Op(
    "transpose",
    infer=_transpose,
    attrs={"perm": attr.axes(ordered=True)},
    reference=lambda x, *, perm: x.transpose(perm),
    rearranges=True,
    doc="Axis i of the result is axis perm[i] of x.",
)

# --- broadcast_to ---


def _broadcast_to(x: Type, *, shape: Shape) -> TensorType:
    data = tensor("broadcast_to", x)
    result = checked_type("broadcast_to", shape, data.dtype)
    new = result.rank - data.rank
    if new < 0:
        raise SpecError("rank", "broadcast_to", f"{x} has more axes than {result}")
    for axis, (have, want) in enumerate(zip(data.shape, shape[new:], strict=True)):
        if have not in (1, want):
            raise SpecError(
                "shape",
                "broadcast_to",
                f"{x} to {result}: axis {axis} has size {have}, wanted 1 or {want}",
            )
    return result


def _run_broadcast_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    _broadcast_to(type_of(x), shape=shape)
    return np.broadcast_to(x, shape)


broadcast_to = Op(
    "broadcast_to",
    infer=_broadcast_to,
    attrs={"shape": attr.sizes()},
    reference=_run_broadcast_to,
    rearranges=True,
    doc="x repeated to shape: axes are aligned at the right, size 1 becomes any size, new axes come"
    " first. The only op that broadcasts.",
)

# --- slice ---


def _slice(x: Type, *, starts: Shape, limits: Shape, strides: tuple[int, ...]) -> TensorType:
    data = tensor("slice", x)
    _check_per_axis("slice", data, starts=starts, limits=limits, strides=strides)
    shape = []
    for axis, (size, start, limit) in enumerate(zip(data.shape, starts, limits, strict=True)):
        if False in (known_le(0, start), known_le(start, limit), known_le(limit, size)):
            raise SpecError(
                "index",
                "slice",
                f"[{start}, {limit}) on axis {axis} of {x}; wanted 0 ≤ start ≤ limit ≤ {size}",
            )
        shape.append(_steps(limit - start, strides[axis]))
    return data.with_shape(shape)


def _steps(span: Size, stride: int) -> Size:
    """`span / stride` rounded up."""
    if not isinstance(span, Dim):
        return -(-span // stride)
    if any(c % stride for _, c in span.terms):
        raise SpecError(
            "dim",
            "slice",
            f"{span} elements in steps of {stride} are no linear size; bind the size",
        )
    return (span - span.constant) // stride - (-span.constant // stride)


def _run_slice(
    x: Array, *, starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]
) -> Array:
    _slice(type_of(x), starts=starts, limits=limits, strides=strides)
    return np.asarray(x[tuple(map(slice, starts, limits, strides))])


slice_ = Op(
    "slice",
    infer=_slice,
    attrs={"starts": attr.sizes(), "limits": attr.sizes(), "strides": _fill("slice", 1)},
    reference=_run_slice,
    rearranges=True,
    doc="The elements start, start + stride, … below limit of each axis; 0 ≤ start ≤ limit ≤ size,"
    " stride ≥ 1.",
)

# --- concat ---


def _concat(first: Type, *rest: Type, axis: int) -> TensorType:
    data = tensor("concat", first)
    total = data.shape[axis]
    for slot, x in enumerate(rest, 1):
        part = tensor("concat", x, slot)
        if part.dtype is not data.dtype:
            raise SpecError(
                "dtype", "concat", f"operand 0 is {data}, operand {slot} is {x}; cast one of them"
            )
        if part.rank != data.rank or _without(part.shape, axis) != _without(data.shape, axis):
            code = "rank" if part.rank != data.rank else "shape"
            raise SpecError(
                code,
                "concat",
                f"operand 0 is {data}, operand {slot} is {x}; only axis {axis} may differ",
            )
        total = total + part.shape[axis]
    return data.with_shape((*data.shape[:axis], total, *data.shape[axis + 1 :]))


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _run_concat(*arrays: Array, axis: int) -> Array:
    _concat(*map(type_of, arrays), axis=axis)
    return np.concatenate(arrays, axis)


concat = Op(
    "concat",
    infer=_concat,
    attrs={"axis": attr.axis()},
    reference=_run_concat,
    doc="The operands one after the other along one axis; other sizes and the dtype are equal.",
)

# --- pad ---


def _pad(
    x: Type,
    *,
    low: tuple[int, ...],
    high: tuple[int, ...],
    interior: tuple[int, ...],
    value: Literal,
) -> TensorType:
    data = tensor("pad", x)
    _check_per_axis("pad", data, low=low, high=high, interior=interior)
    shape = []
    for axis, size in enumerate(data.shape):
        padded = _spread(size, interior[axis]) + low[axis] + high[axis]
        if known_le(0, padded) is False:
            raise SpecError("shape", "pad", f"axis {axis} of {x} is cropped to size {padded}")
        shape.append(padded)
    return checked_type("pad", shape, data.dtype)


def _spread(size: Size, interior: int) -> Size:
    """The size of an axis with `interior` elements between each two of its elements."""
    if size == 0 or interior == 0:
        return size
    if not known_le(1, size):  # of size 0, an axis has no gaps, and not minus one
        raise SpecError(
            "dim", "pad", f"interior={interior} needs an axis known to be ≥ 1, not {size}"
        )
    return size + (size - 1) * interior


def _run_pad(
    x: Array,
    *,
    low: tuple[int, ...],
    high: tuple[int, ...],
    interior: tuple[int, ...],
    value: Literal,
) -> Array:
    result = _pad(type_of(x), low=low, high=high, interior=interior, value=value)
    padded = np.full(result.static_shape, value.array, x.dtype)
    source, target = [], []
    for size, offset, gap, limit in zip(x.shape, low, interior, padded.shape, strict=True):
        step = gap + 1
        # Element i lands on offset + i·step; those below 0 and from limit on are cropped.
        first = min(size, max(0, -(offset // step)))
        last = max(first, min(size, -((offset - limit) // step)))
        source.append(slice(first, last))
        begin = offset + first * step
        target.append(
            slice(begin, begin + (last - first) * step, step) if last > first else slice(0)
        )
    padded[tuple(target)] = x[tuple(source)]
    return padded


pad = Op(
    "pad",
    infer=_pad,
    attrs={
        "low": attr.integers(),
        "high": attr.integers(),
        "interior": _fill("pad", 0),
        "value": attr.scalar(),
    },
    reference=_run_pad,
    doc="x with low and high elements of value before and after each axis and interior of them"
    " between each two elements; negative low and high crop, after interior is put in.",
)

# --- tile ---


def _tile(x: Type, *, repeats: tuple[int, ...]) -> TensorType:
    data = tensor("tile", x)
    _check_per_axis("tile", data, repeats=repeats)
    return data.with_shape([size * n for size, n in zip(data.shape, repeats, strict=True)])


tile = Op(
    "tile",
    infer=_tile,
    attrs={"repeats": attr.integers(minimum=0)},
    reference=lambda x, *, repeats: np.tile(x, repeats),
    rearranges=True,
    doc="The whole of x, repeats[i] times along axis i.",
)

# --- reverse ---

reverse = Op(
    "reverse",
    infer=lambda x, *, axes: tensor("reverse", x),
    attrs={"axes": attr.axes()},
    reference=lambda x, *, axes: np.asarray(np.flip(x, axes)),
    rearranges=True,
    doc="The elements along each of the axes in opposite order.",
)
