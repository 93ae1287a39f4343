"""The meaning of a program: each node's NumPy reference, in order. Knows no backend, no op by name.

An op without a reference means what it decomposes to.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from ptir.ir import PARAM, Attrs, Node, Program, SpecError, TensorType, bind, type_of

Kernel = Callable[..., Any]
"""A NumPy function: operands by position, attributes by keyword; a tuple for several results."""

KEPT_BINDINGS = 16  # of one node's symbolic attributes, for lengths that come back


def evaluate(
    program: Program, values: Sequence[Any], bindings: Mapping[str, int] | None = None
) -> tuple[Any, ...]:
    """The results of `program` on NumPy arrays; `bindings` gives symbols that no input binds.

    Raises `SpecError` when a value does not fit its input or an op has no NumPy meaning.
    """
    return _interpreter(program)(values, bindings)


class Interpreter:
    """A program prepared for many runs."""

    def __init__(self, program: Program) -> None:
        self.program = program
        place = {node: index for index, node in enumerate(program.nodes)}
        dead = uses(program)
        self._inputs = [(place[n], n.attrs["slot"]) for n in program.nodes if n.op is PARAM]
        self._steps = [
            _Step(node, place, dead.get(node, ())) for node in program.nodes if node.op is not PARAM
        ]
        self._results = [place[r] for r in program.results]
        self._symbolic = bool(program.symbols)

    def __call__(
        self, values: Sequence[Any], bindings: Mapping[str, int] | None = None
    ) -> tuple[Any, ...]:
        symbols = dict(bindings or {})
        if self._symbolic:
            symbols |= input_bindings(self.program, values)
        known: list[Any] = [None] * len(self.program.nodes)
        for place, slot in self._inputs:
            known[place] = values[slot]
        for step in self._steps:
            step.run(known, symbols)
        return tuple([known[r] for r in self._results])


class _Step:
    """One node of an interpreter: where its operands lie, what runs, what is not needed after."""

    __slots__ = ("attrs", "bound", "dead", "kernel", "operands", "place", "symbols")

    def __init__(self, node: Node, place: Mapping[Node, int], dead: Sequence[Node]) -> None:
        self.kernel = node.op.reference or _decomposed(node)
        self.operands = tuple(place[x] for x in node.operands)
        self.place = place[node]
        self.dead = tuple(place[x] for x in dead)
        self.attrs = node.attrs
        self.symbols = tuple(sorted(node.attrs.symbols))
        self.bound: dict[tuple[int | None, ...], Attrs] = {}

    def run(self, known: list[Any], symbols: Mapping[str, int]) -> None:
        attrs = self._bind(symbols) if self.symbols else self.attrs
        known[self.place] = self.kernel(*[known[x] for x in self.operands], **attrs)
        for place in self.dead:
            known[place] = None

    def _bind(self, symbols: Mapping[str, int]) -> Attrs:
        key = tuple([symbols.get(s) for s in self.symbols])
        attrs = self.bound.get(key)
        if attrs is None:
            if len(self.bound) >= KEPT_BINDINGS:
                self.bound = {}
            attrs = self.bound[key] = self.attrs.substitute(symbols)
        return attrs


def _decomposed(node: Node) -> Kernel:
    if node.op.decompose is None:
        raise SpecError("op", node.op.name, "has no NumPy meaning; a backend must claim it")
    decompose = node.op.decompose

    def run(*values: Any, **attrs: Any) -> Any:
        types = [type_of(value) for value in values]  # concrete, as the attributes are by now
        return evaluate(Program.of(types, partial(decompose, **attrs)), values)[0]

    return run


@lru_cache(maxsize=1024)
def _interpreter(program: Program) -> Interpreter:
    return Interpreter(program)


def input_bindings(program: Program, values: Sequence[Any]) -> dict[str, int]:
    """The values of the symbols in the types of a program's inputs."""
    if len(values) != len(program.inputs):
        wanted = len(program.inputs)
        raise SpecError("arity", "program", f"{len(values)} inputs came, wanted {wanted}")
    pairs = [
        (i.type, v.shape)
        for i, v in zip(program.inputs, values, strict=True)
        if isinstance(i.type, TensorType)
    ]
    return bind([t for t, _ in pairs], [s for _, s in pairs], "program")


def uses(program: Program) -> dict[Node, list[Node]]:
    """For each node, the operands that nothing needs after it (results are always needed)."""
    kept = set(program.results)
    seen: set[Node] = set()
    last: dict[Node, list[Node]] = {}
    for node in reversed(program.nodes):
        for operand in dict.fromkeys(node.operands):
            if operand not in seen and operand not in kept:
                seen.add(operand)
                last.setdefault(node, []).append(operand)
    return last
