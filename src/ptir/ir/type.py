"""What a value is before it exists: shape and element type, or a tuple of such."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .dim import Dim, Size, Symbolic, product, solve, substitute
from .dtype import DType, DTypeLike, dtype
from .error import SpecError

MAX_RANK = 32  # more axes than NumPy and every backend can index

Shape = tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class TensorType(Symbolic):
    """The type of a tensor: sizes, which may be symbolic, and the dtype of its elements."""

    shape: Shape
    dtype: DType

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Size:
        """Number of elements; a `SpecError` when it is not linear in the symbols."""
        return product(self.shape)

    @property
    def is_static(self) -> bool:
        return not any(isinstance(d, Dim) for d in self.shape)

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(d.symbols for d in self.shape if isinstance(d, Dim)))

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as integers; a `SpecError` when a size is still symbolic."""
        sizes = [d for d in self.shape if isinstance(d, int)]
        if len(sizes) != len(self.shape):
            raise SpecError("dim", "shape", f"{self} has symbolic sizes; bind them first")
        return tuple(sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed elements; a `SpecError` when a size is still symbolic."""
        return self.dtype.nbytes(math.prod(self.static_shape))

    def with_shape(self, shape: Sequence[Size]) -> "TensorType":
        return TensorType(tuple(shape), self.dtype)

    def with_dtype(self, dtype: DType) -> "TensorType":
        return TensorType(self.shape, dtype)

    def substitute(self, bindings: Mapping[str, Size]) -> "TensorType":
        return TensorType(tuple(substitute(d, bindings) for d in self.shape), self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class TupleType(Symbolic):
    """The type of several values that one op gives."""

    items: tuple["Type", ...]

    @property
    def is_static(self) -> bool:
        return all(t.is_static for t in self.items)

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(t.symbols for t in self.items))

    def substitute(self, bindings: Mapping[str, Size]) -> "TupleType":
        return TupleType(tuple(t.substitute(bindings) for t in self.items))

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"


Type = TensorType | TupleType


def tensor_type(shape: Sequence[Size], element: DTypeLike) -> TensorType:
    """A checked tensor type: sizes are non-negative ints or `Dim`s."""
    for size in shape:
        if not isinstance(size, (int, Dim)) or isinstance(size, bool):
            raise SpecError("shape", "shape", f"size {size!r} is neither an int nor a Dim")
        if isinstance(size, int) and size < 0:
            raise SpecError("shape", "shape", f"negative size {size} in {tuple(shape)}")
    if len(shape) > MAX_RANK:
        raise SpecError("shape", "shape", f"rank {len(shape)} is over the limit of {MAX_RANK}")
    return TensorType(tuple(shape), dtype(element))


def type_of(array: np.ndarray[Any, Any]) -> TensorType:
    """The type of a NumPy array. Raises `SpecError` (`dtype`) if no PTIR dtype is its own."""
    return _type_of(array.shape, array.dtype)


@lru_cache(maxsize=1024)  # the arguments of a step come again and again
def _type_of(shape: tuple[int, ...], element: np.dtype[Any]) -> TensorType:
    return TensorType(shape, dtype(element))


def bind(
    declared: Sequence[TensorType], actual: Sequence[tuple[int, ...]], op: str
) -> dict[str, int]:
    """The symbol values under which `declared` types take the `actual` shapes."""
    bindings: dict[str, int] = {}
    for _ in range(2):  # a size like ?A+?B is checked once other sizes have bound its symbols
        for slot, (want, shape) in enumerate(zip(declared, actual, strict=True)):
            fits = len(shape) == want.rank and all(map(_solver(bindings), want.shape, shape))
            if not fits:
                known = ", ".join(f"{k}={v}" for k, v in bindings.items())
                where = f" with {known}" if known else ""
                raise SpecError("shape", op, f"input {slot} is {shape}, wanted {want}{where}")
    return bindings


def _solver(bindings: dict[str, int]) -> Any:
    return lambda size, value: solve(size, value, bindings)
