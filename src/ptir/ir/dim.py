"""Symbolic sizes: linear expressions over named symbols. Knows nothing of types or ops."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Union

from .error import SpecError

SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Symbolic(ABC):
    """Anything that may mention symbols and can be rewritten with values for them."""

    __slots__ = ()

    @property
    @abstractmethod
    def symbols(self) -> frozenset[str]:
        """The names mentioned."""

    @abstractmethod
    def substitute(self, bindings: "Mapping[str, Size]") -> Any: ...


@dataclass(frozen=True, slots=True)
class Dim(Symbolic):
    """`sum(coefficient * symbol) + constant` with integer coefficients and at least one symbol.

    A symbol stands for an unknown non-negative integer. Arithmetic returns a plain `int` as soon as
    no symbol is left, so a `Dim` never equals an `int`.
    """

    terms: tuple[tuple[str, int], ...]
    constant: int = 0

    @staticmethod
    def symbol(name: str) -> "Dim":
        if not SYMBOL.fullmatch(name):
            raise SpecError("dim", "Dim", f"symbol {name!r} is not an ASCII identifier")
        return Dim(((name, 1),))

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.terms)

    def __add__(self, other: "Size") -> "Size":
        if isinstance(other, int):
            return Dim(self.terms, self.constant + other)
        return _sum((*self.terms, *other.terms), self.constant + other.constant)

    def __radd__(self, other: int) -> "Size":
        return self + other

    def __neg__(self) -> "Dim":
        return Dim(tuple((name, -c) for name, c in self.terms), -self.constant)

    def __sub__(self, other: "Size") -> "Size":
        return self + -other

    def __rsub__(self, other: int) -> "Size":
        return -self + other

    def __mul__(self, other: "Size") -> "Size":
        if isinstance(other, Dim):
            raise SpecError(
                "dim", "Dim", f"({self}) * ({other}) is not linear; keep the two axes apart"
            )
        return _sum(((name, c * other) for name, c in self.terms), self.constant * other)

    def __rmul__(self, other: int) -> "Size":
        return self * other

    def __floordiv__(self, other: int) -> "Size":
        """Exact division; a remainder that is not known to be zero is an error."""
        if other == 0 or self.constant % other or any(c % other for _, c in self.terms):
            raise SpecError("dim", "Dim", f"({self}) is not known to be divisible by {other}")
        return Dim(tuple((name, c // other) for name, c in self.terms), self.constant // other)

    def substitute(self, bindings: "Mapping[str, Size]") -> "Size":
        """The same expression with symbols replaced; unknown symbols stay."""
        total: Size = self.constant
        for name, c in self.terms:
            total = total + bindings.get(name, Dim(((name, 1),))) * c
        return total

    def bounds(
        self, known: "Mapping[str, tuple[int, int | None]]" = MappingProxyType({})
    ) -> tuple[int | None, int | None]:
        """Smallest and largest value (`None`: unbounded), given inclusive bounds of symbols.

        A symbol without stated bounds is any non-negative integer.
        """
        low: int | None = self.constant
        high: int | None = self.constant
        for name, c in self.terms:
            least, most = known.get(name, (0, None))
            ends = (least, most) if c > 0 else (most, least)
            low = None if low is None or ends[0] is None else low + c * ends[0]
            high = None if high is None or ends[1] is None else high + c * ends[1]
        return low, high

    def __str__(self) -> str:
        text = ""
        for name, c in self.terms:
            sign = "-" if c < 0 else "+" if text else ""
            text += f"{sign}{f'{abs(c)}*' if abs(c) != 1 else ''}?{name}"
        return f"{text}{self.constant:+d}" if self.constant else text

    __repr__ = __str__


Size = Union[int, Dim]  # noqa: UP007 - a string annotation above needs the name at run time


def _sum(terms: Iterable[tuple[str, int]], constant: int) -> Size:
    total: dict[str, int] = {}
    for name, c in terms:
        total[name] = total.get(name, 0) + c
    kept = tuple(sorted((name, c) for name, c in total.items() if c))
    return Dim(kept, constant) if kept else constant


def substitute(size: Size, bindings: Mapping[str, Size]) -> Size:
    return size.substitute(bindings) if isinstance(size, Dim) else size


def known_le(a: Size, b: Size) -> bool | None:
    """Whether `a <= b` for every value of the symbols; `None` if that depends on them."""
    gap = b - a
    if isinstance(gap, int):
        return gap >= 0
    low, high = gap.bounds()
    if low is not None and low >= 0:
        return True
    return False if high is not None and high < 0 else None


def solve(size: Size, value: int, bindings: dict[str, int]) -> bool:
    """Bind the symbols of `size` so that it equals `value`; `False` if it cannot.

    With two or more unbound symbols nothing is bound and the answer is `True`: check again when
    other sizes have bound them.
    """
    rest = substitute(size, bindings)
    if isinstance(rest, int):
        return rest == value
    if len(rest.terms) > 1:
        return True
    (name, c), *_ = rest.terms
    answer, remainder = divmod(value - rest.constant, c)
    if remainder or answer < 0:
        return False
    bindings[name] = answer
    return True


def cancel(a: Iterable[Size], b: Iterable[Size]) -> tuple[list[Size], list[Size]]:
    """Two products of sizes without the factors that they share; the ints are multiplied last."""
    left, right = [x for x in a if x != 1], [x for x in b if x != 1]
    for factor in tuple(left):
        if factor in right:
            left.remove(factor)
            right.remove(factor)
    return left, right


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes; a `SpecError` when it is not linear."""
    factors = list(sizes)
    if 0 in factors:
        return 0
    total: Size = 1
    for size in factors:
        total = total * size
    return total
