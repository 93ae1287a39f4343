"""A function of tensors becomes a program: composites, loop bodies, compiled steps. One tracer for
all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ptir.engine import Argument
from ptir.ir import (
    LEAF,
    Node,
    Program,
    Role,
    Source,
    SpecError,
    TensorType,
    leaf,
    postorder,
    transform,
)
from ptir.tensor import Tensor, capturing
from ptir.tree import Shape, flatten


@dataclass(frozen=True)
class Traced:
    """A traced function: its program, what it used from outside, and the shape of its result.

    `outside` values are inputs of the program behind its arguments, in this order.
    """

    program: Program
    outside: tuple[Node, ...]
    result: Shape


def trace(
    fn: Callable[..., Any],
    types: Sequence[TensorType],
    *,
    roles: Sequence[Role] | None = None,
    backend: str | None = None,
) -> Traced:
    """Call `fn` on one symbolic tensor for each type and capture what it returns.

    Values that `fn` takes from outside (closures, parameters) are hoisted: what depends on no
    argument is computed outside and passed in. Raises `SpecError` if `fn` returns what is no
    structure of tensors.
    """
    roles = roles or [Role.ARGUMENT] * len(types)
    places = [Argument(t, role) for t, role in zip(types, roles, strict=True)]
    with capturing():
        returned = fn(*(Tensor(leaf(place), backend) for place in places))
    tensors, shape = flatten(returned, is_tensor)
    if not tensors:
        raise SpecError("trace", _name(fn), f"it returned {returned!r}, wanted tensors")
    for t in tensors:
        t.type  # noqa: B018 - refuses several values that were not unpacked
    program, outside = close([t.node for t in tensors], places)
    return Traced(program, outside, shape)


def with_parameters(traced: Traced) -> Traced:
    """The same with what was computed outside from parameters alone computed inside.

    Its inputs are those parameters then, so that all programs share one value derived from them.
    """
    inside = [_stands_on_parameters(node) for node in traced.outside]
    inputs = traced.program.inputs[: len(traced.program.inputs) - len(traced.outside)]
    places = [Argument(i.type, i.role) for i in inputs]
    rest = [node for node, known in zip(traced.outside, inside, strict=True) if not known]
    stand_ins = {node: _Outside(node) for node in rest}
    operands = [leaf(place) for place in places]
    operands += [leaf(stand_ins[n]) if n in stand_ins else n for n in traced.outside]
    results = traced.program.inline(operands)
    program, sources = Program.capture(results, [*places, *stand_ins.values()])
    parameters = sources[len(places) + len(rest) :]
    return Traced(program, (*rest, *map(leaf, parameters)), traced.result)


def _stands_on_parameters(node: Node) -> bool:
    leaves = [n.attrs["source"] for n in postorder(node) if n.op is LEAF]
    return all(source.role is Role.PARAMETER for source in leaves)


def close(results: Sequence[Node], places: Sequence[Source]) -> tuple[Program, tuple[Node, ...]]:
    """A program over `places`, and the outer nodes that it takes as further inputs.

    A node is outer if it stands on data but neither on a place nor on a symbol that places bind.
    Constants are neither inner nor outer: they stay inside.
    """
    frontier = {node: _Outside(node) for node in _frontier(results, frozenset(places))}

    def stand_in(node: Node) -> Node | None:
        return leaf(frontier[node]) if node in frontier else None

    closed = transform(results, stand_in)
    program, _ = Program.capture(closed, [*places, *frontier.values()])
    return program, tuple(frontier)


def _frontier(results: Sequence[Node], places: frozenset[Source]) -> list[Node]:
    """The outer nodes that are results or operands of inner ones, in the order met."""
    symbols = frozenset().union(*(place.type.symbols for place in places))
    inner: set[Node] = set()
    outer: set[Node] = set()
    met: dict[Node, None] = {}
    for node in postorder(*results):
        if node.op is LEAF:
            (inner if node.attrs["source"] in places else outer).add(node)
        elif not inner.isdisjoint(node.operands) or node.attrs.symbols & symbols:
            inner.add(node)
            met.update(dict.fromkeys(x for x in node.operands if x in outer))
        elif not outer.isdisjoint(node.operands):
            outer.add(node)
    met.update(dict.fromkeys(r for r in results if r in outer))
    return list(met)


class _Outside(Argument):
    """Stands for an outer value while a program is closed; keeps a parameter's role and name.

    State of an enclosing function is only read here: nothing inside gives it a new value.
    """

    def __init__(self, node: Node) -> None:
        super().__init__(node.type)
        if node.op is LEAF and node.attrs["source"].role is Role.PARAMETER:
            self.role, self.name = Role.PARAMETER, node.attrs["source"].name


def is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)
