"""Sizes of plans: integers, or polynomials in symbols, for strides are products of sizes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Union, final

from ptir.ir import Dim, Size

Monomial = tuple["Factor", ...]


@final
@dataclass(frozen=True, slots=True)
class Polynomial:
    """`sum(coefficient * product of symbols)`, at least one symbol; equal when its terms are."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: "Extent") -> "Extent":
        return _collect((*self.terms, *_terms(other)))

    __radd__ = __add__

    def __sub__(self, other: "Extent") -> "Extent":
        return self + other * -1

    def __rsub__(self, other: int) -> "Extent":
        return self * -1 + other

    def __mul__(self, other: "Extent") -> "Extent":
        return _collect(
            (tuple(sorted((*a, *b), key=str)), x * y)
            for a, x in self.terms
            for b, y in _terms(other)
        )

    __rmul__ = __mul__

    def at(self, symbols: Mapping[str, int]) -> int:
        """The value for these values of the symbols."""
        total = 0
        for factors, number in self.terms:
            for factor in factors:
                number *= symbols[factor] if isinstance(factor, str) else factor.at(symbols)
            total += number
        return total

    def __str__(self) -> str:
        return "+".join(map(_written, self.terms)).replace("+-", "-")


@final
@dataclass(frozen=True, slots=True)
class Quotient:
    """`size / by`, rounded up: a factor that is no symbol."""

    size: Polynomial
    by: int

    def at(self, symbols: Mapping[str, int]) -> int:
        return -(-self.size.at(symbols) // self.by)

    def __str__(self) -> str:
        return f"ceil(({self.size})/{self.by})"


Factor = str | Quotient


Extent = Union[int, Polynomial]  # noqa: UP007 - a string annotation above needs the name


def extent(size: Size) -> Extent:
    """A size of a type as a size of a plan."""
    if isinstance(size, Dim):
        return _collect([*(((name,), c) for name, c in size.terms), ((), size.constant)])
    return size


def product(sizes: Iterable[Extent]) -> Extent:
    total: Extent = 1
    for size in sizes:
        total = total * size
    return total


def value(size: Extent, symbols: Mapping[str, int]) -> int:
    return size.at(symbols) if isinstance(size, Polynomial) else size


def ceil_div(size: Extent, by: int) -> Extent:
    """`size / by`, rounded up."""
    if isinstance(size, int):
        return -(-size // by)
    return Polynomial((((Quotient(size, by),), 1),))


def _terms(size: Extent) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Polynomial) else (((), size),)


def _collect(terms: Iterable[tuple[Monomial, int]]) -> Extent:
    total: dict[Monomial, int] = {}
    for names, c in terms:
        total[names] = total.get(names, 0) + c
    kept = tuple(sorted(((names, c) for names, c in total.items() if c), key=str))
    if all(not names for names, _ in kept):
        return kept[0][1] if kept else 0
    return Polynomial(kept)


def _written(term: tuple[Monomial, int]) -> str:
    factors, number = term
    names = [f"?{f}" if isinstance(f, str) else str(f) for f in factors]
    return "*".join(names if number == 1 and names else [str(number), *names])
