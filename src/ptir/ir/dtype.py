"""Element types: their names, widths and NumPy form. Knows nothing of shapes."""

from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np

from .error import SpecError, nearest

Kind = Literal["bool", "int", "uint", "float", "complex"]


@dataclass(frozen=True, eq=False, slots=True)
class DType:
    """One element type. Values are singletons: compare with `is` or `==`.

    `bits` is the storage width in a packed buffer; `numpy` is the NumPy dtype that holds one
    element (4-bit elements take a whole byte there, `i1` is `bool`).
    """

    name: str
    kind: Kind
    bits: int
    numpy: np.dtype[Any]

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned, not `i1`."""
        return self.kind in ("int", "uint")

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_complex(self) -> bool:
        return self.kind == "complex"

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type or `i1`."""
        if self.kind == "bool":
            return 0, 1
        if not self.is_integer:
            raise SpecError("dtype", "range", f"{self.name} is not an integer type")
        if self.kind == "uint":
            return 0, (1 << self.bits) - 1
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    def nbytes(self, count: int) -> int:
        """Bytes of `count` packed elements (4-bit types: two to a byte, low nibble first)."""
        return (count * self.bits + 7) // 8 if self.kind != "bool" else count

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return dtype, (self.name,)


i1 = DType("i1", "bool", 1, np.dtype(np.bool_))
si4 = DType("si4", "int", 4, np.dtype(ml_dtypes.int4))
ui4 = DType("ui4", "uint", 4, np.dtype(ml_dtypes.uint4))
si8 = DType("si8", "int", 8, np.dtype(np.int8))
ui8 = DType("ui8", "uint", 8, np.dtype(np.uint8))
si16 = DType("si16", "int", 16, np.dtype(np.int16))
ui16 = DType("ui16", "uint", 16, np.dtype(np.uint16))
si32 = DType("si32", "int", 32, np.dtype(np.int32))
ui32 = DType("ui32", "uint", 32, np.dtype(np.uint32))
si64 = DType("si64", "int", 64, np.dtype(np.int64))
ui64 = DType("ui64", "uint", 64, np.dtype(np.uint64))
f8e4m3 = DType("f8e4m3", "float", 8, np.dtype(ml_dtypes.float8_e4m3fn))
f8e5m2 = DType("f8e5m2", "float", 8, np.dtype(ml_dtypes.float8_e5m2))
bf16 = DType("bf16", "float", 16, np.dtype(ml_dtypes.bfloat16))
f16 = DType("f16", "float", 16, np.dtype(np.float16))
f32 = DType("f32", "float", 32, np.dtype(np.float32))
f64 = DType("f64", "float", 64, np.dtype(np.float64))
c64 = DType("c64", "complex", 64, np.dtype(np.complex64))
c128 = DType("c128", "complex", 128, np.dtype(np.complex128))

DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        i1, si4, ui4, si8, ui8, si16, ui16, si32, ui32, si64, ui64,
        f8e4m3, f8e5m2, bf16, f16, f32, f64, c64, c128,
    )
}  # fmt: skip
_BY_NUMPY: dict[np.dtype[Any], DType] = {d.numpy: d for d in DTYPES.values()}

DTypeLike = DType | str | np.dtype[Any] | type


def dtype(like: DTypeLike) -> DType:
    """The element type named by a PTIR name (`"bf16"`), a NumPy dtype or a NumPy scalar type."""
    if isinstance(like, DType):
        return like
    if isinstance(like, str):
        if like in DTYPES:
            return DTYPES[like]
        raise SpecError("dtype", "dtype", f"unknown dtype {like!r}{nearest(like, DTYPES)}")
    found = _BY_NUMPY.get(np.dtype(like).newbyteorder("="))
    if found is None:
        names = ", ".join(DTYPES)
        raise SpecError("dtype", "dtype", f"no PTIR dtype holds NumPy {like!r}; have {names}")
    return found
