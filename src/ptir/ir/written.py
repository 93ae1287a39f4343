"""What the text and JSON forms share: names and numbers, and the way back to a checked program.

Knows no syntax: readers hand over operands, attributes and declared types that they have read.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .attr import same
from .error import SpecError, nearest
from .node import LEAF, PARAM, Node, Role, make, param
from .op import OPS
from .program import Input, Program
from .type import Type

MAX_NESTING = 64  # of values in values and of regions in regions
MAX_INTEGER = 1 << 128  # wide enough for any dtype, narrow enough that products stay printable
MAX_TEXT = 64 << 20

MAIN = "main"

_NAME = re.compile(r"[A-Za-z0-9_.]{1,256}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.]+")


def named(main: Program) -> dict[Program, str]:
    """Every program that `main` needs, bodies before their first user, `main` itself last.

    A body is named for the composite or the op that uses it first, with a number; equal bodies are
    one.
    """
    names: dict[Program, str] = {}
    counts: Counter[str] = Counter()
    stack = [(main, "", bodies(main))]
    while stack:
        program, base, rest = stack[-1]
        inner = next(((body, name) for body, name in rest if body not in names), None)
        if inner is not None:
            stack.append((*inner, bodies(inner[0])))
            continue
        stack.pop()
        names[program] = f"{base}.{counts[base]}" if stack else MAIN
        counts[base] += 1
    return names


def bodies(program: Program) -> Iterator[tuple[Program, str]]:
    """The regions of a program's nodes, each with the name of what uses it."""
    for node in program.nodes:
        for value in node.attrs.values():
            for body in _programs(value):
                yield body, _base(node)


def _programs(value: Any) -> Iterator[Program]:
    if isinstance(value, Program):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _programs(item)


def _base(node: Node) -> str:
    name = node.attrs.get("name")
    plain = _NOT_IN_A_NAME.sub("_", name[:64]) if isinstance(name, str) else ""
    return plain or node.op.name


def numbered(program: Program) -> tuple[dict[Node, int], list[Node]]:
    """Each value's number (inputs first, by slot) and the nodes that need a line of their own."""
    numbers: dict[Node, int] = {}
    rest: list[Node] = []
    for node in program.nodes:
        if is_input(node, program):
            numbers[node] = node.attrs["slot"]
        else:
            numbers[node] = len(program.inputs) + len(rest)
            rest.append(node)
    return numbers, rest


def is_input(node: Node, program: Program) -> bool:
    """Whether a node stands for a declared input of `program`, as in every valid one."""
    if node.op is not PARAM:
        return False
    slot = node.attrs["slot"]
    return bool(slot < len(program.inputs) and program.inputs[slot].type == node.type)


def stated(node: Node) -> dict[str, Any]:
    """The attributes that differ from their op's defaults."""
    spec = node.op.attrs
    return {k: v for k, v in node.attrs.items() if not same(v, spec[k].default)}


class Draft:
    """One program being read: its inputs and values so far, by number."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.values: dict[int, Node] = {}

    def declare(self, number: int, type: Type, role: Role, name: str | None) -> None:
        self.define(number, param(len(self.inputs), type))
        self.inputs.append(Input(type, role, name))

    def define(self, number: int, node: Node) -> None:
        if number in self.values:
            raise SpecError("parse", "program", f"%{number} is defined twice")
        self.values[number] = node

    def value(self, number: int) -> Node:
        found = self.values.get(number)
        if found is None:
            raise SpecError("parse", "program", f"%{number} is used before it is defined")
        return found

    def apply(
        self, name: str, operands: Sequence[Node], attrs: Mapping[str, Any], declared: Type
    ) -> Node:
        """The checked node of one line; its inferred type must be the declared one."""
        op = OPS.get(name)
        if op is None:
            raise SpecError("parse", "program", f"unknown op {name!r}{nearest(name, OPS)}")
        if op is PARAM or op is LEAF:
            raise SpecError("parse", "program", f"{name!r} cannot be written; declare an input")
        node = make(op, tuple(operands), attrs)
        if node.type != declared:
            raise SpecError("type", name, f"declared {declared}, inferred {node.type}")
        return node

    def finish(self, results: Sequence[Node]) -> Program:
        return Program(tuple(self.inputs), tuple(results))


class Library:
    """The programs read so far, by name; later ones use earlier ones as regions."""

    def __init__(self) -> None:
        self._found: dict[str, Program] = {}
        self._depth: dict[Program, int] = {}

    def region(self, name: str) -> Program:
        found = self._found.get(name)
        if found is None:
            raise SpecError("parse", "program", f"{name!a} is used before it is defined")
        return found

    def add(self, name: str, program: Program) -> None:
        if not _NAME.fullmatch(name):
            raise SpecError("parse", "program", f"{name!a} is no name for a program")
        if name in self._found:
            raise SpecError("parse", "program", f"@{name} is defined twice")
        if MAIN in self._found:
            raise SpecError("parse", "program", f"@{name} comes after @{MAIN}, which is the last")
        depth = 1 + max((self._depth[body] for body, _ in bodies(program)), default=0)
        if depth > MAX_NESTING:
            raise SpecError("parse", "program", f"regions nest deeper than {MAX_NESTING}")
        self._found[name] = program
        self._depth[program] = depth

    def main(self) -> Program:
        found = self._found.get(MAIN)
        if found is None:
            raise SpecError("parse", "program", f"there is no program @{MAIN}")
        return found.verify()


def checked_string(text: str) -> str:
    """`text` if UTF-8 can hold it: half a surrogate pair would fail later, when a name is
    hashed.
    """
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise SpecError("parse", "string", f"{text[:40]!a} holds half a surrogate pair")
    return text


def checked_integer(value: int) -> int:
    if abs(value) >= MAX_INTEGER:
        raise SpecError("parse", "integer", "is wider than 128 bits")
    return value
