"""The same data as another type, by value or by bits: type rule and NumPy meaning of each op."""

import numpy as np

from ptir.ir import DType, Op, SpecError, TensorType, Type, attr, type_of
from ptir.ir.dtype import si4, ui4

from .numeric import Array, compute, convert, wrap
from .rule import NUMBER, accepted, tensor
from .shape import checked_type


def _infer_cast(x: Type, *, dtype: DType) -> Type:
    found = tensor("cast", x)
    if found.dtype.is_complex and not dtype.is_complex:
        raise SpecError(
            "dtype", "cast", f"{found} to {dtype} drops a part; bitcast to floats, then take one"
        )
    return found.with_dtype(dtype)


cast = Op(
    "cast",
    infer=_infer_cast,
    attrs={"dtype": attr.element()},
    reference=lambda x, *, dtype: convert(x, dtype),
    doc="Nearest value of another dtype: ties to even, integers saturate, f8e4m3 overflows to NaN.",
)


def _infer_bitcast(x: Type, *, dtype: DType) -> TensorType:
    found = accepted("bitcast", x, NUMBER)
    if dtype.kind == "bool":
        raise SpecError("dtype", "bitcast", f"{found} to i1: i1 has no bit form; use compare")
    have, want = found.dtype.bits, dtype.bits
    if have >= want:
        shape = (*found.shape, have // want) if have > want else found.shape
        return checked_type("bitcast", shape, dtype)
    if found.shape[-1:] != (want // have,):
        raise SpecError(
            "shape",
            "bitcast",
            f"{found} to {dtype} needs a last axis of {want // have}; reshape it",
        )
    return TensorType(found.shape[:-1], dtype)


def _packed(x: Array) -> Array:
    """The bytes of `x` in memory order, 4-bit elements two to a byte, low nibble first."""
    if x.dtype not in (si4.numpy, ui4.numpy):
        return np.array(x, order="C").reshape(-1).view(np.uint8)
    low, high = wrap(compute(x), ui4).astype(np.uint8).reshape(-1, 2).T
    return np.asarray(low | high << np.uint8(4))


def _bitcast(x: Array, *, dtype: DType) -> Array:
    result = _infer_bitcast(type_of(x), dtype=dtype)
    if dtype.bits > 4:
        return _packed(x).view(dtype.numpy).reshape(result.static_shape)
    if x.dtype in (si4.numpy, ui4.numpy):  # alone: their number may be odd
        return wrap(compute(x), dtype)
    octets = _packed(x)
    nibbles = np.stack([octets & np.uint8(15), octets >> np.uint8(4)], axis=-1)
    return wrap(nibbles, dtype).reshape(result.static_shape)


bitcast = Op(
    "bitcast",
    infer=_infer_bitcast,
    attrs={"dtype": attr.element()},
    reference=_bitcast,
    doc="Same bits: a narrower dtype adds a last axis, a wider one consumes it; low part first.",
)

stop_gradient = Op(
    "stop_gradient",
    infer=lambda x: tensor("stop_gradient", x),
    reference=lambda x: x,
    rearranges=True,
    doc="The operand; a derivative does not pass through it.",
)
