"""NumPy-like meetings of two types, made explicit: the common dtype and the common shape."""

from collections.abc import Sequence

from ptir.ir import DType, Size, SpecError, dtype
from ptir.ir.type import Shape

_RANK_OF_KIND = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3}

_WEAK = ((bool, "i1"), (int, "si64"), (float, "f32"), (complex, "c64"))


def common_dtype(op: str, a: DType, b: DType) -> DType:
    """The dtype in which `a` and `b` meet: of the higher kind, else the wider one.

    Kinds rise bool < integer < float < complex (an integer meets bf16 in bf16, as in PyTorch).
    Two 16-bit floats of different form meet in f32, a signed and an unsigned integer in the next
    wider signed one; si64 and ui64 have no common dtype.
    """
    if a is b:
        return a
    low, high = sorted((a, b), key=lambda d: (_RANK_OF_KIND[d.kind], d.bits))
    if _RANK_OF_KIND[low.kind] < _RANK_OF_KIND[high.kind]:
        return dtype("c128") if high.is_complex and low.bits == 64 and low.is_float else high
    if low.bits == high.bits and low.is_float:
        return dtype("f32" if low.bits == 16 else "bf16")
    if low.kind != high.kind:
        return _signed(op, low, high)
    return high


def _signed(op: str, a: DType, b: DType) -> DType:
    unsigned, signed = (a, b) if a.kind == "uint" else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise SpecError("dtype", op, f"{a} and {b} have no common dtype; cast one of them")
    return dtype(f"si{unsigned.bits * 2}")


def common_shape(op: str, *shapes: Shape) -> Shape:
    """The broadcast shape: aligned on the right, sizes equal or one of them 1."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    return tuple(_common_size(op, sizes, shapes) for sizes in zip(*padded, strict=True))


def _common_size(op: str, sizes: Sequence[Size], shapes: Sequence[Shape]) -> Size:
    wide = dict.fromkeys(s for s in sizes if s != 1)
    if len(wide) > 1:
        came = " and ".join(f"({', '.join(map(str, s))})" for s in shapes)
        raise SpecError(
            "shape", op, f"shapes {came} do not broadcast: {' ≠ '.join(map(str, wide))}"
        )
    return next(iter(wide), 1)


def weak_dtype(number: complex, like: DType | None) -> DType:
    """The dtype of a Python number: that of the tensor it meets where the kind fits, else f32, c64
    or si64."""
    own = dtype(next(name for kind, name in _WEAK if isinstance(number, kind)))
    if like is None or _RANK_OF_KIND[like.kind] < _RANK_OF_KIND[own.kind]:
        return own
    return like
