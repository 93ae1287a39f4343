"""Patterns are written with the calls that build programs: `ops.add(x, 0.0)` is one if `x` is."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .attr import same
from .dtype import DType, dtype
from .error import SpecError, nearest
from .node import CONSTANT, Node
from .op import Op, Value
from .program import Program
from .type import TensorType

Number = bool | int | float | complex


@dataclass(frozen=True)
class Match:
    """What a pattern found: nodes by wildcard name, attributes by variable name, operands by the
    name of a `Rest`, and the nodes that the pattern itself stands for.
    """

    root: Node
    nodes: Mapping[str, Node]
    attrs: Mapping[str, Any]
    rests: Mapping[str, tuple[Node, ...]]
    interior: frozenset[Node]

    @property
    def found(self) -> dict[str, Any]:
        """Everything that is bound, by name."""
        return {**self.nodes, **self.attrs, **self.rests}

    def escapes(self, program: Program) -> tuple[Node, ...]:
        """Interior values other than the root that `program` also uses outside of the match.

        A replacement of the root cannot make these disappear.
        """
        outside = set(program.results)
        for node in program.nodes:
            if node not in self.interior:
                outside.update(node.operands)
        return tuple(n for n in program.nodes if n in (self.interior - {self.root}) & outside)


class _State(NamedTuple):
    """A partial match. Never changed: the matcher goes back by dropping it."""

    nodes: dict[str, Node]
    attrs: dict[str, Any]
    rests: dict[str, tuple[Node, ...]]
    seen: "dict[Pattern, Node]"


_NOTHING = _State({}, {}, {}, {})


class Pattern(Value):
    """A shape of graph. Patterns that stand in two places must match one node."""

    __slots__ = ()

    def emit(self, op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> "Pattern":
        for name in attrs:
            if name not in op.attrs:
                known = nearest(name, op.attrs) or "; it takes none"
                raise SpecError("attribute", op.name, f"unknown attribute {name!r}{known}")
        lifted = tuple(x if isinstance(x, Pattern) else Uniform(x) for x in operands)
        return Call(op, lifted, dict(attrs))

    def match(self, node: Node) -> Match | None:
        """The first way in which the pattern fits `node`, or `None`."""
        for nodes, attrs, rests, seen in self.matches(node, _NOTHING):
            return Match(node, nodes, attrs, rests, frozenset(seen.values()))
        return None

    @abstractmethod
    def matches(self, node: Node, state: _State) -> Iterator[_State]:
        """Every way in which the pattern fits `node`, given what is bound already."""


@dataclass(frozen=True, eq=False, slots=True)
class Wildcard(Pattern):
    """Any node (of this dtype, if stated; for which `where` says yes)."""

    name: str
    dtype: DType | None = None
    where: Callable[[Node], bool] | None = None

    def matches(self, node: Node, state: _State) -> Iterator[_State]:
        bound = state.nodes.get(self.name)
        if bound is not None:
            if bound is node:
                yield state
        elif self._admits(node):
            yield state._replace(nodes={**state.nodes, self.name: node})

    def _admits(self, node: Node) -> bool:
        if self.dtype is not None:
            fits = isinstance(node.type, TensorType) and node.type.dtype is self.dtype
            if not fits:
                return False
        return self.where is None or self.where(node)


@dataclass(frozen=True, eq=False, slots=True)
class Uniform(Pattern):
    """A constant filled with one number, seen through ops that only move elements."""

    value: Number

    def matches(self, node: Node, state: _State) -> Iterator[_State]:
        found = uniform_value(node)
        if found is not None and _same_number(found, self.value):
            yield state


@dataclass(frozen=True, eq=False, slots=True)
class Rest(Pattern):
    """Any number of operands of one call, in order; none too. Stands among a call's operands."""

    name: str

    def matches(self, node: Node, state: _State) -> Iterator[_State]:
        yield from self.bind((node,), state)

    def bind(self, nodes: tuple[Node, ...], state: _State) -> Iterator[_State]:
        bound = state.rests.get(self.name)
        if bound is None:
            yield state._replace(rests={**state.rests, self.name: nodes})
        elif bound == nodes:
            yield state


@dataclass(frozen=True, slots=True)
class Variable:
    """Stands for an attribute's value in a pattern: binds it (if `where` says yes)."""

    name: str
    where: Callable[[Any], bool] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Call(Pattern):
    """An op on patterns. Attributes that are not stated are free."""

    op: Op
    operands: tuple[Pattern, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    variadic: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "variadic", any(isinstance(x, Rest) for x in self.operands))

    def matches(self, node: Node, state: _State) -> Iterator[_State]:
        if self in state.seen:
            if state.seen[self] is node:
                yield state
            return
        if not self.admits(node):
            return
        attrs = self._attrs(node, state.attrs)
        if attrs is None:
            return
        begun = state._replace(attrs=attrs, seen={**state.seen, self: node})
        for operands in self._orders(node):
            yield from _all(self.operands, operands, begun)

    def admits(self, node: Node) -> bool:
        """A quick look at the ops of `node` and its operands: most nodes fail here, cheaply."""
        if node.op is not self.op:
            return False
        if self.variadic:
            return True
        if len(node.operands) != len(self.operands):
            return False
        if all(map(_may_be, self.operands, node.operands)):
            return True
        return self.op.commutative and all(map(_may_be, self.operands, node.operands[::-1]))

    def _orders(self, node: Node) -> Iterator[tuple[Node, ...]]:
        yield node.operands
        if self.op.commutative and node.operands[0] is not node.operands[1]:
            first, second, *rest = node.operands
            yield (second, first, *rest)

    def _attrs(self, node: Node, bound: dict[str, Any]) -> dict[str, Any] | None:
        types = [x.type for x in node.operands]
        for name, wanted in self.attrs.items():
            value = node.attrs[name]
            if isinstance(wanted, Variable):
                if wanted.name in bound and not same(bound[wanted.name], value):
                    return None
                if wanted.where is not None and not wanted.where(value):
                    return None
                bound = {**bound, wanted.name: value}
            elif not _equal(self.op, name, wanted, value, types):
                return None
        return bound


def _may_be(pattern: Pattern, node: Node) -> bool:
    if isinstance(pattern, Call):
        return node.op is pattern.op
    return not isinstance(pattern, Uniform) or node.op is CONSTANT or node.op.rearranges


def _equal(op: Op, name: str, wanted: Any, value: Any, types: Sequence[Any]) -> bool:
    """Whether a pattern's attribute, normalised for these operands (axis −1 …), is the node's."""
    try:
        return same(op.attrs[name].normalize(wanted, types), value)
    except (TypeError, ValueError):
        return False


def _all(patterns: tuple[Pattern, ...], nodes: tuple[Node, ...], state: _State) -> Iterator[_State]:
    if not patterns:
        if not nodes:
            yield state
        return
    first = patterns[0]
    if isinstance(first, Rest):
        for count in _counts(patterns[1:], nodes):
            for next_state in first.bind(nodes[:count], state):
                yield from _all(patterns[1:], nodes[count:], next_state)
        return
    if not nodes:
        return
    for next_state in first.matches(nodes[0], state):
        yield from _all(patterns[1:], nodes[1:], next_state)


def _counts(after: tuple[Pattern, ...], nodes: tuple[Node, ...]) -> Iterable[int]:
    """How many nodes a rest may take, as far as is seen at a glance: calls have many operands."""
    if not after:
        return (len(nodes),)
    if isinstance(after[0], Rest):
        return range(len(nodes) + 1)
    return (count for count, node in enumerate(nodes) if _may_be(after[0], node))


def uniform_value(node: Node) -> np.generic | None:
    """The number that fills a constant, seen through ops that only move elements; else `None`."""
    while node.op.rearranges:
        node = node.operands[0]
    return node.attrs["value"].uniform if node.op is CONSTANT else None


def _same_number(found: np.generic, wanted: Number) -> bool:
    """Equal in the dtype of `found`, zeros told apart by sign; a NaN is any NaN."""
    element = dtype(found.dtype)
    if not (element.is_float or element.is_complex):
        return bool(int(found) == wanted)
    if isinstance(wanted, complex) and not element.is_complex:
        return False
    with np.errstate(all="ignore"):
        target = np.asarray(wanted).astype(found.dtype)
    wide = (complex(found), complex(target))
    return all(
        (a != a and b != b) or (a == b and math.copysign(1, a) == math.copysign(1, b))
        for a, b in zip(*((z.real, z.imag) for z in wide), strict=True)
    )
