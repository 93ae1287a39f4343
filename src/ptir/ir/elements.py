"""The elements of a literal as words and as bytes, both exact. Knows no grammar."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .dtype import DTYPES, DType
from .error import SpecError
from .literal import Literal
from .type import TensorType

Array = np.ndarray[Any, Any]

MAX_BYTES = 1 << 48  # what no memory holds, well below where NumPy's own arithmetic overflows

_PARTS = {"c64": "f32", "c128": "f64"}


class Bits(int):
    """A float element given by its bits, as text `0x7fc00001`."""


def count(type: TensorType) -> int:
    """The number of elements of a literal type; a `SpecError` for sizes that no array can have."""
    shape = type.static_shape
    if math.prod(max(d, 1) for d in shape) * type.dtype.numpy.itemsize > MAX_BYTES:
        raise SpecError("parse", "literal", f"{type} is too large for a literal")
    return math.prod(shape)


def pack(literal: Literal) -> bytes:
    """Row-major little-endian bytes; 4-bit elements two to a byte, low nibble first."""
    if literal.type.dtype.bits != 4:
        return literal.array.tobytes()
    return pack_nibbles(literal.array).tobytes()


def unpack(type: TensorType, data: bytes) -> Literal:
    """The literal of packed bytes; a `SpecError` unless exactly the bytes of `type` came."""
    element, size = type.dtype, count(type)
    if len(data) != element.nbytes(size):
        wanted = element.nbytes(size)
        raise SpecError("parse", "literal", f"{type} is {wanted} bytes, {len(data)} came")
    raw = np.frombuffer(data, np.uint8)
    if element.bits == 4:
        flat = unpack_nibbles(raw, size, element)
    elif element.kind == "bool":
        if raw.max(initial=0) > 1:
            raise SpecError("parse", "literal", "a byte of i1 is 0 or 1")
        flat = raw.view(np.bool_)
    else:
        flat = raw.view(element.numpy)
    return Literal(flat.reshape(type.static_shape))


def pack_nibbles(array: Array) -> Array:
    """The bytes [⌈N/2⌉] of N 4-bit elements in row-major order, low nibble first."""
    nibbles = array.reshape(-1).astype(np.int8).view(np.uint8) & 15
    if nibbles.size % 2:
        nibbles = np.append(nibbles, np.uint8(0))
    return nibbles[::2] | nibbles[1::2] << 4


def unpack_nibbles(raw: Array, size: int, element: DType) -> Array:
    """`size` 4-bit elements of packed bytes; a `SpecError` if an unused last nibble is not zero."""
    nibbles = np.stack((raw & 15, raw >> 4), axis=-1).reshape(-1)
    if nibbles[size:].any():
        raise SpecError("parse", "literal", "the unused last nibble is not zero")
    if element.kind == "int":
        nibbles = (nibbles ^ 8).astype(np.int8) - np.int8(8)  # extends the sign
    return nibbles[:size].astype(element.numpy)


def words(literal: Literal) -> list[str]:
    """Each element in row-major order, as the shortest text that `from_words` reads back
    exactly.
    """
    element, flat = literal.type.dtype, literal.array.reshape(-1)
    if element.kind == "bool":
        return ["true" if v else "false" for v in flat.tolist()]
    if element.is_integer:
        return [str(v) for v in flat.astype(_wide(element)).tolist()]
    if element.is_float:
        return _float_words(flat, element)
    parts = _float_words(flat.view(_part(element).numpy), _part(element))
    return [f"({re}, {im})" for re, im in zip(parts[::2], parts[1::2], strict=True)]


def _float_words(flat: Array, element: DType) -> list[str]:
    bits = flat.view(f"u{element.bits // 8}").tolist()
    with np.errstate(all="ignore"):  # widening a signalling NaN raises a flag
        values = flat.astype(np.float64).tolist()
        return [_float_word(v, b, element) for v, b in zip(values, bits, strict=True)]


def _float_word(value: float, bits: int, element: DType) -> str:
    if element.bits == 64 and math.isfinite(value):
        return repr(value)
    if not math.isfinite(value):
        plain = float(repr(value))  # without the payload, which a NaN keeps through every cast
        return (
            repr(plain)
            if _to_bits([plain], element)[0] == bits
            else f"{bits:#0{element.bits // 4 + 2}x}"
        )
    tries = (repr(float(f"{value:.{digits}g}")) for digits in range(1, 18))
    return next(word for word in tries if _to_bits([float(word)], element)[0] == bits)


def _to_bits(values: Sequence[float] | Array, element: DType) -> Array:
    found = np.array(values, np.float64).astype(element.numpy)
    return found.view(f"u{element.bits // 8}")


def from_values(type: TensorType, values: Sequence[Any]) -> Literal:
    """The literal of bools, ints, floats, `Bits` or pairs in row-major order, each checked for its
    dtype.
    """
    element, size = type.dtype, count(type)
    if len(values) != size:
        raise SpecError("parse", "literal", f"{type} has {size} elements, {len(values)} came")
    if element.kind == "bool":
        flat = np.array([_bool(v) for v in values], np.bool_)
    elif element.is_integer:
        wide = np.array([_integer(v, element) for v in values], _wide(element))
        flat = wide.astype(element.numpy)
    elif element.is_float:
        flat = _floats(values, element)
    else:
        parts = [part for pair in values for part in _pair(pair, element)]
        flat = _floats(parts, _part(element)).view(element.numpy)
    return Literal(flat.reshape(type.static_shape))


def _floats(values: Sequence[Any], element: DType) -> Array:
    asked = np.array([0.0 if isinstance(v, Bits) else _float(v, element) for v in values])
    with np.errstate(all="ignore"):  # overflow is found below
        bits = _to_bits(asked, element)
        got = bits.view(element.numpy).astype(np.float64)
    lost = asked[(np.isinf(asked) != np.isinf(got)) | (np.isnan(asked) != np.isnan(got))]
    if lost.size:
        raise SpecError("parse", "literal", f"{lost[0]} is out of range for {element}")
    for at, value in enumerate(values):
        if isinstance(value, Bits):
            if value >> element.bits:
                raise SpecError("parse", "literal", f"{value:#x} is wider than {element}")
            bits[at] = int(value)
    return bits.view(element.numpy)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SpecError("parse", "literal", f"{value!r} is not true or false")
    return value


def _integer(value: Any, element: DType) -> int:
    low, high = element.range
    if type(value) is not int or not low <= value <= high:
        raise SpecError("parse", "literal", f"{value!r} is not an integer of {low} to {high}")
    return value


def _float(value: Any, element: DType) -> float:
    if type(value) not in (int, float):
        raise SpecError("parse", "literal", f"{value!r} is not a number of {element}")
    return float(value)


def _pair(value: Any, element: DType) -> tuple[Any, Any]:
    if not isinstance(value, tuple) or len(value) != 2:
        raise SpecError("parse", "literal", f"{value!r} is not a pair (real, imaginary)")
    return value


def _part(element: DType) -> DType:
    return DTYPES[_PARTS[element.name]]


def _wide(element: DType) -> type[np.generic]:
    return np.uint64 if element.kind == "uint" else np.int64
