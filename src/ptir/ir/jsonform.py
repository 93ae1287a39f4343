"""Programs as JSON: the machine form of the text, whole and exact. Knows no op by name.

    {"version", "programs": [{"name", "inputs": [{"type", "role", "name"}],
                              "nodes": [{"op", "operands", "attrs", "type"}], "results"}]}

Values are numbered: inputs first, then nodes. In attributes an object is a tagged value:
`{"dtype"}`, `{"dim"}`, `{"type"}`, `{"program"}`, `{"attrs"}`, `{"float"}` for what is no JSON
number, and `{"literal": {"type", "data"}}` with base64 of the packed elements.
"""

import base64
import json
import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from .attr import Attrs
from .dim import Dim
from .dtype import DTYPES, DType
from .elements import pack, unpack
from .error import SpecError, located, nearest
from .literal import Literal
from .node import Node, Role
from .program import VERSION, Input, Program
from .type import TensorType, TupleType, Type
from .typeform import parse_dim, parse_type
from .written import (
    MAX_NESTING,
    MAX_TEXT,
    Draft,
    Library,
    checked_integer,
    checked_string,
    named,
    numbered,
    stated,
)

T = TypeVar("T")

_ROLES = tuple(Role)
_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def to_json(program: Program) -> str:
    """One line of ASCII JSON that `from_json` reads back to the identical program.

    Raises `SpecError` for a graph that still holds data; capture it first.
    """
    names = named(program)
    programs = [_program(p, names) for p in names]
    return json.dumps({"version": VERSION, "programs": programs}, allow_nan=False)


def _program(program: Program, names: dict[Program, str]) -> dict[str, Any]:
    numbers, nodes = numbered(program)
    return {
        "name": names[program],
        "inputs": [_input(i) for i in program.inputs],
        "nodes": [_node(n, numbers, names) for n in nodes],
        "results": [numbers[r] for r in program.results],
    }


def _input(declared: Input) -> dict[str, Any]:
    return {"type": str(declared.type), "role": str(declared.role), "name": declared.name}


def _node(node: Node, numbers: dict[Node, int], names: dict[Program, str]) -> dict[str, Any]:
    return {
        "op": node.op.name,
        "operands": [numbers[x] for x in node.operands],
        "attrs": {name: _tagged(value, names) for name, value in stated(node).items()},
        "type": str(node.type),
    }


def _tagged(value: Any, names: dict[Program, str]) -> Any:
    """A JSON value for an attribute value; recursion is as deep as the value itself."""
    match value:
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case bool() | int() | float() | str() | None:
            return value
        case tuple():
            return [_tagged(item, names) for item in value]
        case Attrs():
            return {"attrs": {k: _tagged(v, names) for k, v in value.items()}}
        case DType() | Dim():
            return {"dtype" if isinstance(value, DType) else "dim": str(value)}
        case TensorType() | TupleType():
            return {"type": str(value)}
        case Program():
            return {"program": names[value]}
        case Literal():
            data = base64.b64encode(pack(value)).decode("ascii")
            return {"literal": {"type": str(value.type), "data": data}}
    kind = type(value).__name__
    raise SpecError("leaf", "to_json", f"a {kind} cannot be written; capture the graph first")


def from_json(text: str | bytes, *, limit: int = MAX_TEXT) -> Program:
    """The verified program that `to_json` wrote.

    Raises `SpecError` that begins with the place, such as `programs[0].nodes[3]`: code `parse` for
    what has another form, `version` for another version, `type` where a declared type is not the
    inferred one, and the codes of the ops' own rules. `limit` bounds the text in bytes.
    """
    if len(text) > limit:
        raise SpecError("parse", "json", f"{len(text)} bytes are over the limit of {limit}")
    version, programs = _fields(_loaded(text), "the document", "version", "programs")
    if version != VERSION:
        message = f"the document is {ascii(version)[:40]}, this reader knows {VERSION!r}"
        raise SpecError("version", "json", message)
    library = Library()
    for at, data in enumerate(_items(programs, "programs")):
        place = f"programs[{at}]"
        try:
            _Reader(library, place).program(data)
        except SpecError as error:
            raise located(error, place) from None
    return library.main()


def _loaded(text: str | bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct)
    except SpecError:
        raise
    except RecursionError:
        raise SpecError("parse", "json", "values nest too deep") from None
    except ValueError as error:  # syntax with its line and column, bad UTF-8, giant integers
        raise SpecError("parse", "json", str(error)) from None


def _refuse(constant: str) -> NoReturn:
    raise SpecError("parse", "json", f"{constant} is no JSON number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise SpecError("parse", "json", "an object names a field twice")
    return found


def _fields(data: Any, what: str, *names: str) -> list[Any]:
    """The values of exactly these fields."""
    if not isinstance(data, dict):
        raise SpecError("parse", "json", f"{what} is no object")
    for name in data:
        if name not in names:
            raise SpecError(
                "parse", "json", f"{what} has a field {name[:40]!a}{nearest(name, names)}"
            )
    for name in names:
        if name not in data:
            raise SpecError("parse", "json", f"{what} lacks the field {name!r}")
    return [data[name] for name in names]


def _items(data: Any, what: str) -> list[Any]:
    if not isinstance(data, list):
        raise SpecError("parse", "json", f"{what} is no list")
    return data


def _string(data: Any, what: str) -> str:
    if not isinstance(data, str):
        raise SpecError("parse", "json", f"{what} is no string")
    return checked_string(data)


def _type(data: Any) -> Type:
    return _parsed(parse_type, _string(data, "a type"))


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except SpecError as error:  # its line and column are in the string, not in the document
        raise SpecError(error.code, error.op, f"{text[:80]!a}, {error.message}") from None


class _Reader:
    """Reads one program of a document."""

    def __init__(self, library: Library, place: str) -> None:
        self.library = library
        self.place = place
        self.draft = Draft()

    def program(self, data: Any) -> None:
        name, inputs, nodes, results = _fields(
            data, "a program", "name", "inputs", "nodes", "results"
        )
        self._each(inputs, "inputs", self._input)
        self._each(nodes, "nodes", self._node)
        found = [self._value_at(r) for r in _items(results, "results")]
        self.library.add(_string(name, "a program's name"), self.draft.finish(found))

    def _each(self, data: Any, field: str, read: Callable[[Any], None]) -> None:
        for at, item in enumerate(_items(data, field)):
            try:
                read(item)
            except SpecError as error:
                raise located(error, f"{self.place}.{field}[{at}]") from None

    def _input(self, data: Any) -> None:
        type, role, name = _fields(data, "an input", "type", "role", "name")
        if role not in _ROLES:
            raise SpecError("parse", "json", f"role is one of {', '.join(_ROLES)}")
        name = None if name is None else _string(name, "an input's name")
        self.draft.declare(len(self.draft.values), _type(type), Role(role), name)

    def _node(self, data: Any) -> None:
        op, operands, attrs, type = _fields(data, "a node", "op", "operands", "attrs", "type")
        values = [self._value_at(x) for x in _items(operands, "operands")]
        if not isinstance(attrs, dict):
            raise SpecError("parse", "json", "attrs is no object")
        given = {name: self._attr(value, 0) for name, value in attrs.items()}
        node = self.draft.apply(_string(op, "op"), values, given, _type(type))
        self.draft.define(len(self.draft.values), node)

    def _value_at(self, number: Any) -> Node:
        if type(number) is not int:
            raise SpecError("parse", "json", "a value is named by its number")
        return self.draft.value(number)

    def _attr(self, data: Any, depth: int) -> Any:
        if depth >= MAX_NESTING:
            raise SpecError("parse", "json", f"values nest deeper than {MAX_NESTING}")
        match data:
            case str():
                return checked_string(data)
            case bool() | float() | None:
                return data
            case int():
                return checked_integer(data)
            case list():
                return tuple(self._attr(item, depth + 1) for item in data)
            case {"attrs": dict(items), **rest} if not rest:
                found = {checked_string(k): self._attr(v, depth + 1) for k, v in items.items()}
                return Attrs(found)
            case {"literal": literal, **rest} if not rest:
                return _literal(literal)
            case {"program": str(name), **rest} if not rest:
                return self.library.region(name)
        return _scalar(data)


def _scalar(data: Any) -> Any:
    """A tagged value that is one string."""
    match data:
        case {"float": str(word), **rest} if not rest and word in _FLOATS:
            return _FLOATS[word]
        case {"dtype": str(name), **rest} if not rest and name in DTYPES:
            return DTYPES[name]
        case {"dim": str(text), **rest} if not rest:
            return _parsed(parse_dim, text)
        case {"type": str(text), **rest} if not rest:
            return _type(text)
    tags = "attrs, dim, dtype, float, literal, program, type"
    raise SpecError("parse", "json", f"an object in attrs has one of the tags {tags}")


def _literal(data: Any) -> Literal:
    written, encoded = _fields(data, "a literal", "type", "data")
    type = _type(written)
    if not isinstance(type, TensorType):
        raise SpecError("parse", "json", f"a literal of {type} is no tensor")
    try:
        packed = base64.b64decode(_string(encoded, "data"), validate=True)
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError("parse", "json", f"data is not base64: {error}") from None
    return unpack(type, packed)
