"""Programs as text: the form of dumps, of tests and of documentation. Knows no op by name.

One line per input and node, types visible, regions first; `parse` reads it back to the identical
program.
"""

import json
import re
from typing import Any

from .attr import Attrs
from .dim import Dim
from .dtype import DType
from .elements import pack, words
from .literal import Literal
from .node import Node, Role
from .program import PRINT, VERSION, Input, Program
from .type import TensorType, TupleType
from .written import named, numbered, stated

INLINE = 64  # elements that a literal shows; larger ones show their digest

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def print_program(program: Program, *, literals: bool = False) -> str:
    """The text of a program and of every region it needs.

    A literal of more than 64 elements is printed as its digest, for reading only; with `literals`
    it is printed whole, so that `parse_program` reads it back. An invalid program prints too: it is
    when a program is wrong that one wants to see it.
    """
    names = named(program)
    return "\n".join(_Printer(names, literals).program(p) for p in names)


PRINT.append(print_program)


class _Printer:
    """Writes programs whose regions have names."""

    def __init__(self, names: dict[Program, str], literals: bool) -> None:
        self.names = names
        self.literals = literals

    def program(self, program: Program) -> str:
        numbers, nodes = numbered(program)
        lines = [f"program @{self.names[program]} ({VERSION}) {{"]
        for slot, declared in enumerate(program.inputs):
            lines.append(f"  %{slot}: {declared.type} = {_input(slot, declared)}")
        for node in nodes:
            lines.append(f"  %{numbers[node]}: {node.type} = {self.call(node, numbers)}")
        results = ", ".join(f"%{numbers[r]}" for r in program.results)
        lines.append(f"  return {results}".rstrip())
        return "\n".join([*lines, "}", ""])

    def call(self, node: Node, numbers: dict[Node, int]) -> str:
        operands = ", ".join([f"%{numbers[x]}" for x in node.operands])
        given = stated(node)
        attrs = f" {self.mapping(given)}" if given else ""
        return f"{node.op.name}({operands}){attrs}"

    def mapping(self, items: Any) -> str:
        pairs = (f"{_key(name)}={self.value(value)}" for name, value in items.items())
        return f"{{{', '.join(pairs)}}}"

    def value(self, value: Any) -> str:
        """One attribute value; recursion is as deep as the value itself."""
        match value:
            case bool() | None:
                return str(value).lower()
            case str():
                return json.dumps(value)
            case tuple():
                return f"[{', '.join(map(self.value, value))}]"
            case Attrs():
                return self.mapping(value)
            case Program():
                return f"@{self.names[value]}"
            case Literal():
                return self.literal(value)
            case int() | float() | DType() | Dim() | TensorType() | TupleType():
                return str(value)
        return f"<{type(value).__name__}>"  # a lazy graph's source, which cannot be read back

    def literal(self, literal: Literal) -> str:
        kind: TensorType | DType = literal.type if literal.type.rank else literal.type.dtype
        if literal.array.size <= INLINE:
            inner = ", ".join(words(literal))
            return f"{kind} [{inner}]" if literal.type.rank else f"{kind} {inner}"
        return (
            f'{kind} hex"{pack(literal).hex()}"' if self.literals else f"{kind} #{literal.digest}"
        )


def _input(slot: int, declared: Input) -> str:
    """`argument(0)`, `argument(0, "tokens")`, `parameter("head.weight")`, `state(2)`."""
    name = "" if declared.name is None else json.dumps(declared.name)
    if declared.role is Role.PARAMETER:
        return f"parameter({name})"
    return f"{declared.role}({slot}{name and f', {name}'})"


def _key(name: str) -> str:
    return name if _KEY.fullmatch(name) else json.dumps(name)
