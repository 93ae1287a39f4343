"""Random numbers that are pure functions of a key: the same on every backend, always.

Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

import math
from typing import Any

import numpy as np

from ptir.ir import (
    Dim,
    DType,
    Node,
    Op,
    Size,
    SpecError,
    TensorType,
    Type,
    attr,
    constant,
    tensor_type,
)
from ptir.ir.dim import product

from .binary import add, and_, mul, shift_right, sub, xor
from .convert import bitcast, cast
from .generate import iota
from .shape import broadcast_to, checked_type, concat, reshape, slice_
from .unary import cos, log, sqrt

_ROUNDS = 10
_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
_KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint32)  # golden ratio, √3 − 1
_UNSIGNED = {8: "ui8", 16: "ui16", 32: "ui32", 64: "ui64"}
_DIGITS = {"f8e4m3": 4, "f8e5m2": 3, "bf16": 8, "f16": 11, "f32": 24, "f64": 53}


def philox4x32(counters: np.ndarray[Any, Any], key: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Blocks of four random words, ui32[n, 4], of counters ui32[n, 4] and one key ui32[2]."""
    even, odd = counters[:, 0::2], counters[:, 1::2]  # words 0 and 2 are multiplied, 1 and 3 mixed
    for step in range(_ROUNDS):
        wide = even * _MULTIPLIERS
        high, low = (wide >> np.uint64(32)).astype(np.uint32), wide.astype(np.uint32)
        keys = key + np.uint32(step) * _KEY_STEPS
        even, odd = high[:, ::-1] ^ odd ^ keys, low[:, ::-1]
    return np.stack([even, odd], axis=2).reshape(counters.shape)


def _filled(value: float, like: Node) -> Node:
    assert isinstance(like.type, TensorType)
    return broadcast_to(constant(value, like.type.dtype), shape=like.type.shape)


# --- random_bits ---


def _key(op: str, key: Type) -> None:
    if key != tensor_type((2,), "ui32"):
        raise SpecError("operand", op, f"key is {key}, wanted ui32[2]")


def _random_bits(key: Type, *, shape: tuple[Size, ...], dtype: DType) -> Type:
    _key("random_bits", key)
    if dtype.name not in _UNSIGNED.values():
        wanted = ", ".join(_UNSIGNED.values())
        raise SpecError("dtype", "random_bits", f"dtype is {dtype}, wanted one of {wanted}")
    return checked_type("random_bits", shape, dtype)


def _bits(key: np.ndarray[Any, Any], *, shape: tuple[int, ...], dtype: DType) -> Any:
    count = math.prod(shape)
    blocks = np.arange(-(-count * dtype.bits // 128), dtype="<u8")
    counters = np.stack([blocks, np.zeros_like(blocks)], axis=1).view("<u4")
    # Little-endian words, so that narrow elements are slices of a word, low first, on any machine.
    words = philox4x32(counters, key).astype("<u4").reshape(-1)
    elements = words.view(dtype.numpy.newbyteorder("<"))[:count]
    return elements.astype(dtype.numpy).reshape(shape)


def _written_out(key: Node, *, shape: tuple[Size, ...], dtype: DType) -> Node:
    """The same in integer arithmetic, for backends without a Philox of their own."""
    count = product(shape)
    # How many blocks a symbolic count fills is not linear: one for each element is always enough.
    blocks = count if isinstance(count, Dim) else -(-count * dtype.bits // 128)
    words = _blocks(key, blocks)
    if dtype.bits == 64:
        words = reshape(words, shape=(blocks, 2, 2))
    elements = reshape(bitcast(words, dtype=dtype), shape=(blocks * (128 // dtype.bits),))
    return reshape(slice_(elements, starts=(0,), limits=(count,)), shape=shape)


def _blocks(key: Node, blocks: Size) -> Node:
    """The words of blocks 0, 1, 2, …, ui32[blocks, 4]; each is 64 bits wide on the way."""
    index = iota(shape=(blocks,), dtype="ui64", axis=0)

    def every(value: Any) -> Node:
        return _filled(int(value), index)

    def word(of_key: int) -> Node:
        picked = reshape(slice_(key, starts=(of_key,), limits=(of_key + 1,)), shape=())
        return broadcast_to(cast(picked, dtype="ui64"), shape=(blocks,))

    low, half = every(0xFFFFFFFF), every(32)
    a, b, c, d = and_(index, low), shift_right(index, half), every(0), every(0)
    keys = [word(0), word(1)]
    for _ in range(_ROUNDS):
        p, q = (mul(x, every(m)) for x, m in zip((a, c), _MULTIPLIERS, strict=True))
        a, b = xor(xor(shift_right(q, half), b), keys[0]), and_(q, low)
        c, d = xor(xor(shift_right(p, half), d), keys[1]), and_(p, low)
        keys = [and_(add(k, every(step)), low) for k, step in zip(keys, _KEY_STEPS, strict=True)]
    columns = [reshape(cast(x, dtype="ui32"), shape=(blocks, 1)) for x in (a, b, c, d)]
    words: Node = concat(*columns, axis=1)
    return words


random_bits = Op(
    "random_bits",
    infer=_random_bits,
    attrs={"shape": attr.sizes(), "dtype": attr.element()},
    reference=_bits,
    decompose=_written_out,
    doc="Philox4x32-10 under `key` ui32[2]: the words of blocks 0, 1, 2, … of a 128-bit counter, "
    "in order; ui64 joins two words, ui16 and ui8 split them, low part first.",
)


# --- random_uniform, random_normal ---


def _floats(op: str, key: Type, shape: tuple[Size, ...], dtype: DType) -> Type:
    _key(op, key)
    if not dtype.is_float:
        raise SpecError("dtype", op, f"dtype is {dtype}, wanted a float type")
    return checked_type(op, shape, dtype)


def _uniform(key: Node, *, shape: tuple[Size, ...], dtype: DType) -> Node:
    digits = _DIGITS[dtype.name]
    width = max(8, 1 << (digits - 1).bit_length())
    bits = random_bits(key, shape=shape, dtype=_UNSIGNED[width])
    drop = broadcast_to(constant(width - digits, _UNSIGNED[width]), shape=shape)
    whole = cast(shift_right(bits, drop), dtype=dtype)
    return mul(whole, _filled(2.0**-digits, whole))


random_uniform = Op(
    "random_uniform",
    infer=lambda key, *, shape, dtype: _floats("random_uniform", key, shape, dtype),
    attrs={"shape": attr.sizes(), "dtype": attr.element()},
    decompose=_uniform,
    doc="Multiples of 2⁻ᵖ in [0, 1), p the significant digits of the dtype: the p high bits of "
    "one element of `random_bits` (of the narrowest type that has them), exactly.",
)


def _normal(key: Node, *, shape: tuple[Size, ...], dtype: DType) -> Node:
    precise: Any = dtype if dtype.bits > 32 else "f32"
    count = product(shape)
    pair = random_uniform(key, shape=(2, count), dtype=precise)
    first, second = (slice_(pair, starts=(i, 0), limits=(i + 1, count)) for i in range(2))
    positive = sub(_filled(1.0, first), first)  # in (0, 1], so the logarithm is finite
    radius = sqrt(mul(_filled(-2.0, first), log(positive)))
    drawn = mul(radius, cos(mul(_filled(2 * math.pi, second), second)))
    return cast(reshape(drawn, shape=shape), dtype=dtype)


random_normal = Op(
    "random_normal",
    infer=lambda key, *, shape, dtype: _floats("random_normal", key, shape, dtype),
    attrs={"shape": attr.sizes(), "dtype": attr.element()},
    decompose=_normal,
    doc="Standard normal numbers by Box–Muller, √(−2 ln(1 − u))·cos(2πv), where [u, v] is "
    "`random_uniform` of shape [2, n]; computed in f32 (f64: in f64), then rounded.",
)
