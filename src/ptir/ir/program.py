"""A program: results over numbered inputs. Everything else is reachable from a result, or does not
exist.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .attr import REQUIRED, Attr, Attrs
from .dim import Size, Symbolic
from .error import SpecError
from .node import LEAF, PARAM, Node, Role, Source, make, param, postorder, transform
from .op import OPS
from .type import Type

VERSION = "ptir.v1"

# Filled by `text`: how a program is written out (the two concepts need each other).
PRINT: list[Callable[["Program"], str]] = []


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a program. A parameter has a name; names are part of a program's identity."""

    type: Type
    role: Role = Role.ARGUMENT
    name: str | None = None


@dataclass(frozen=True, eq=False)
class Program(Symbolic):
    """Inputs and results; equal when both are. Nodes are interned, so comparing costs no walk.

    State inputs are donated: the last results are their new values, one for each, in order.
    """

    inputs: tuple[Input, ...]
    results: tuple[Node, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return PRINT[0](self)

    @cached_property
    def _key(self) -> Any:
        return self.inputs, self.results

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that a result needs, operands first: the canonical numbering."""
        return tuple(postorder(*self.results))

    @cached_property
    def bound(self) -> frozenset[str]:
        """The symbols that the inputs give values to."""
        return frozenset().union(*(i.type.symbols for i in self.inputs))

    @cached_property
    def symbols(self) -> frozenset[str]:
        return self.bound.union(*(node.attrs.symbols for node in self.nodes))

    @property
    def states(self) -> int:
        """How many inputs are donated state."""
        return sum(i.role is Role.STATE for i in self.inputs)

    @property
    def regions(self) -> Iterator["Program"]:
        """Programs that stand as attributes of this program's nodes, repeats included."""
        for node in self.nodes:
            yield from (v for v in node.attrs.values() if isinstance(v, Program))

    @property
    def nested(self) -> Iterator["Program"]:
        """This program and those in it at any depth, each once."""
        seen: set[Program] = set()
        todo = [self]
        while todo:
            program = todo.pop()
            if program not in seen:
                seen.add(program)
                yield program
                todo.extend(program.regions)

    @staticmethod
    def of(inputs: Iterable[Type | Input], build: Callable[..., Any]) -> "Program":
        """The program of a function over nodes: `Program.of([f32[2]], lambda x: ops.exp(x))`."""
        declared = tuple(i if isinstance(i, Input) else Input(i) for i in inputs)
        built = build(*(param(slot, i.type) for slot, i in enumerate(declared)))
        return Program(declared, (built,) if isinstance(built, Node) else tuple(built))

    @staticmethod
    def capture(
        results: Sequence[Node], arguments: Sequence[Source] = ()
    ) -> tuple["Program", tuple[Source, ...]]:
        """Close a lazy graph: number its leaves and return the data they stood for, in that order.

        `arguments` come first, used or not; other leaves follow in the order met, so equal graphs
        over new data are the same program.
        """
        sources = {source: slot for slot, source in enumerate(arguments)}

        def close(node: Node) -> Node | None:
            if node.op is not LEAF:
                return None
            source = node.attrs["source"]
            return param(sources.setdefault(source, len(sources)), source.type)

        closed = transform(results, close)
        inputs = tuple(Input(s.type, s.role, s.name) for s in sources)
        return Program(inputs, closed), tuple(sources)

    def inline(self, operands: Sequence[Node]) -> tuple[Node, ...]:
        """This program's results with `operands` in place of its inputs."""

        def place(node: Node) -> Node | None:
            return operands[node.attrs["slot"]] if node.op is PARAM else None

        return transform(self.results, place)

    def substitute(self, bindings: Mapping[str, Size]) -> "Program":
        """The same program for known values of some symbols; regions that are one stay one."""
        done: dict[Program, Program] = {}
        for program in _inner_first(self):
            done[program] = _substituted(program, bindings, done)
        return done[self]

    def verify(self) -> "Program":
        """Infer every type again and check inputs, regions and results; raises `SpecError`."""
        for program in self.nested:
            _verify(program)
        return self


def _inner_first(program: Program) -> Iterator[Program]:
    """A program and every region in it, each once, what a region needs before it; no recursion."""
    seen: set[Program] = set()
    stack = [(program, False)]
    while stack:
        one, ready = stack.pop()
        if one in seen:
            continue
        if ready:
            seen.add(one)
            yield one
        else:
            stack.append((one, True))
            stack.extend((region, False) for region in one.regions if region not in seen)


def _substituted(
    program: Program, bindings: Mapping[str, Size], regions: Mapping[Program, Program]
) -> Program:
    """`program` for known values of symbols, given what its regions become."""
    done: dict[Node, Node] = {}
    for n in program.nodes:
        bodies = {name: regions[v] for name, v in n.attrs.items() if isinstance(v, Program)}
        plain = Attrs({name: v for name, v in n.attrs.items() if name not in bodies})
        attrs = {**plain.substitute(bindings), **bodies}
        done[n] = make(n.op, tuple(done[x] for x in n.operands), attrs)
    inputs = tuple(Input(i.type.substitute(bindings), i.role, i.name) for i in program.inputs)
    return Program(inputs, tuple(done[r] for r in program.results))


def _verify(program: Program) -> None:
    if program.states > len(program.results):
        raise SpecError("state", "program", "each state input needs a result that replaces it")
    for slot, new in zip(_state_slots(program), _new_states(program), strict=True):
        if new.type != program.inputs[slot].type:
            was = program.inputs[slot].type
            raise SpecError("state", "program", f"state {slot} is {was}, its new value {new.type}")
    for node in program.nodes:
        if node.op is PARAM:
            _verify_param(program, node)
        elif node.op is LEAF:
            raise SpecError("leaf", "program", "a program may not hold data; capture it first")
        elif OPS.get(node.op.name) is not node.op:
            raise SpecError("op", node.op.name, "is not a registered op")
        else:
            _verify_node(node, program)


def _verify_param(program: Program, node: Node) -> None:
    slot = node.attrs["slot"]
    if slot >= len(program.inputs):
        raise SpecError("input", "program", f"input {slot} is used but not declared")
    if program.inputs[slot].type != node.type:
        declared = program.inputs[slot].type
        raise SpecError("input", "program", f"input {slot} is {declared}, used as {node.type}")


def _verify_node(node: Node, program: Program) -> None:
    types = [x.type for x in node.operands]
    attrs = node.op.canonical(types, node.attrs)
    if attrs != node.attrs:
        raise SpecError("attribute", node.op.name, f"{node.attrs} is not canonical: {attrs}")
    inferred = node.op.infer(*types, **attrs)
    if inferred != node.type:
        raise SpecError("type", node.op.name, f"declared {node.type}, inferred {inferred}")
    stray = node.attrs.symbols - program.bound
    if stray:
        names = ", ".join(sorted(f"?{s}" for s in stray))
        raise SpecError("dim", node.op.name, f"no input binds {names}")


def _state_slots(program: Program) -> list[int]:
    return [slot for slot, i in enumerate(program.inputs) if i.role is Role.STATE]


def _new_states(program: Program) -> Sequence[Node]:
    return program.results[len(program.results) - program.states :]


def region(default: Any = REQUIRED) -> Attr:
    """An attribute that is a program: a loop body, a branch, a composite's meaning."""

    def normalize(value: Any, types: Sequence[Type]) -> Program:
        if not isinstance(value, Program):
            raise TypeError("wanted a Program; trace a function")
        return value

    return Attr("program", normalize, default)
