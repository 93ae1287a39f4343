"""A program under construction: values to draw from, and what a step may ask for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from ptir import ops
from ptir.ir import (
    DTYPES,
    OPS,
    Node,
    Program,
    TensorType,
    TupleType,
    Type,
    constant,
    dtype,
)
from ptir.ops.rule import ANY
from tests.exact import Array, edges

T = TypeVar("T")

MAX_ELEMENTS = 60
MAX_RANK = 4

elements = st.sampled_from(list(DTYPES.values()))
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def values(of: TensorType, seed: int) -> Array:
    """An array of edge values: zeros of both signs, infinities, NaN, extremes, small numbers."""
    chosen = np.random.default_rng(seed).choice(len(edges(of.dtype)), of.static_shape)
    return np.asarray(edges(of.dtype)[chosen])


class UnfitError(Exception):
    """The step has no call to make on the values that there are."""


class Builder:
    """A program under construction: the tensors that later steps may use."""

    def __init__(
        self, draw: st.DrawFn, tensors: Iterable[Node], steps: Mapping[str, "Step"], depth: int
    ) -> None:
        self.draw, self.steps, self.depth = draw, steps, depth
        self.tensors = list(tensors)

    # --- values ---

    def integer(self, low: int, high: int) -> int:
        drawn: int = self.draw(st.integers(low, high))
        return drawn

    def flag(self) -> bool:
        return bool(self.integer(0, 1))

    def choose(self, options: Sequence[T]) -> T:
        if not options:
            raise UnfitError
        chosen: T = self.draw(st.sampled_from(options))
        return chosen

    def pick(self, kinds: Iterable[str] = ANY, rank: int = 0) -> Node:
        """A tensor of one of these kinds and at least this rank; a new constant if none is."""
        fit = [x for x in self.tensors if typed(x).dtype.kind in kinds and typed(x).rank >= rank]
        if fit:
            return self.choose(fit)
        element = self.choose([d for d in DTYPES.values() if d.kind in kinds])
        return self.fresh((*self.draw(shapes), *[2] * rank)[-3:], element)

    def fresh(self, sizes: Sequence[int], element: Any) -> Node:
        """A constant of special values."""
        return constant(values(TensorType(tuple(sizes), dtype(element)), self.integer(0, 99)))

    def like(self, x: Node) -> Node:
        """A value of x's type."""
        same = [y for y in self.tensors if y.type == x.type]
        return self.choose(same) if same and self.flag() else self.fresh(shape(x), typed(x).dtype)

    def indices(self, sizes: Sequence[int], limit: int) -> Node:
        """Constant indices in range."""
        if limit == 0 and 0 not in sizes:
            raise UnfitError
        drawn = np.random.default_rng(self.integer(0, 99)).integers(0, max(limit, 1), sizes)
        return constant(drawn, self.choose(["si8", "ui8", "si32", "si64", "ui64"]))

    def axis(self, x: Node) -> int:
        return self.integer(-typed(x).rank, typed(x).rank - 1)

    def axes(self, x: Node) -> list[int]:
        return self.order(x)[: self.integer(0, typed(x).rank)]

    def order(self, x: Node) -> list[int]:
        """All axes of x, in any order."""
        axes: list[int] = self.draw(st.permutations(range(typed(x).rank)))
        return axes

    def per_axis(self, x: Node, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.integer(low, high) for _ in shape(x))

    # --- steps ---

    def grow(self, steps: int) -> None:
        fit = [name for name in self.steps if self.depth or not _has_body(name)]
        for _ in range(steps):
            self.add(self.choose(fit))

    def add(self, name: str) -> list[Node]:
        """One more call of this op, unless nothing fits; its results, which others use if small."""
        try:
            made = self.steps[name](self)
        except UnfitError:
            return []
        results = [made]
        if isinstance(made.type, TupleType):
            results = [ops.item(made, index=i) for i in range(len(made.type.items))]
        self.tensors += [x for x in results if small(typed(x))]
        return results

    def body(self, inputs: Sequence[Type], wanted: Sequence[Type] | None = None) -> Program:
        """A program on inputs of these types, with results of `wanted` types or of any."""

        def build(*tensors: Node) -> list[Node]:
            inner = Builder(self.draw, tensors, self.steps, self.depth - 1)
            inner.grow(self.integer(1, 4))
            if wanted is None:
                return inner.tensors[-self.integer(1, 2) :]
            return [[x for x in inner.tensors if x.type == t][-1] for t in wanted]

        return Program.of(inputs, build)


def typed(x: Node) -> TensorType:
    assert isinstance(x.type, TensorType)
    return x.type


def shape(x: Node) -> tuple[int, ...]:
    return typed(x).static_shape


def small(type: TensorType) -> bool:
    return type.rank <= MAX_RANK and prod(type.static_shape) <= MAX_ELEMENTS


Step = Callable[[Builder], Node]


def _has_body(name: str) -> bool:
    return any(attr.describe == "program" for attr in OPS[name].attrs.values())
