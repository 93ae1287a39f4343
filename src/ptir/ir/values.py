"""Attribute values and literals from text. What an attribute may be is its op's to say."""

import json
import re
from collections.abc import Callable
from typing import Any

from .attr import Attrs
from .dim import Size
from .dtype import DTYPES, DType
from .elements import Bits, count, from_values, unpack
from .error import SpecError
from .lexer import Lexer
from .literal import Literal
from .program import Program
from .type import TensorType
from .typeform import read_dtype, read_integer, read_sum, read_tensor_type, read_type
from .written import MAX_INTEGER, MAX_NESTING, checked_string

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEX = re.compile(r'"(?:[0-9a-fA-F]{2})*"')
_WORDS = {"true": True, "false": False, "none": None, "inf": float("inf"), "nan": float("nan")}


class Values:
    """Reads attribute values at a lexer's current token; `region` finds programs by name."""

    def __init__(self, lexer: Lexer, region: Callable[[str], Program]) -> None:
        self.lexer = lexer
        self.region = region

    def mapping(self, depth: int = 0) -> dict[str, Any]:
        """`{name=value, …}`, whose `{` is the current token."""
        lexer = self.lexer
        self._check(depth)
        lexer.expect("{")
        found: dict[str, Any] = {}
        while not lexer.accept("}"):
            if found:
                lexer.expect(",")
            name = self._key()
            if name in found:
                lexer.fail(f"attribute {name[:40]!r} is given twice")
            lexer.expect("=")
            found[name] = self.value(depth + 1)
        return found

    def value(self, depth: int) -> Any:
        lexer, token = self.lexer, self.lexer.token
        if token[:1] in "0123456789-?" and token:
            return self._number()
        match token[:1]:
            case '"':
                return self.string()
            case "[":
                return self._sequence(depth)
            case "{":
                return Attrs(self.mapping(depth))
            case "(":
                return read_type(lexer)
            case "@":
                return self._region()
        if token in DTYPES:
            return self._typed()
        if token not in _WORDS:
            lexer.unexpected("a value")
        return _WORDS[lexer.advance()]

    def string(self) -> str:
        token = self.lexer.token
        try:
            found = checked_string(json.loads(token)) if token[:1] == '"' else None
        except SpecError as error:
            raise self.lexer.located(error, self.lexer.start) from None
        except ValueError:
            found = None
        if found is None:
            self.lexer.unexpected("a string in double quotes with JSON's escapes")
        self.lexer.advance()
        return found

    def _key(self) -> str:
        token = self.lexer.token
        if token[:1] == '"':
            return self.string()
        if not _KEY.fullmatch(token):
            self.lexer.unexpected("an attribute's name")
        return self.lexer.advance()

    def _region(self) -> Program:
        try:
            found = self.region(self.lexer.token[1:])
        except SpecError as error:
            raise self.lexer.located(error, self.lexer.start) from None
        self.lexer.advance()
        return found

    def _check(self, depth: int) -> None:
        if depth >= MAX_NESTING:
            self.lexer.fail(f"values nest deeper than {MAX_NESTING}")

    def _sequence(self, depth: int) -> tuple[Any, ...]:
        self._check(depth)
        self.lexer.advance()
        found: list[Any] = []
        while not self.lexer.accept("]"):
            if found:
                self.lexer.expect(",")
            found.append(self.value(depth + 1))
        return tuple(found)

    def _number(self) -> float | Size:
        """An int, a float or a size: they may all begin with `-` and digits."""
        negative = self.lexer.accept("-")
        if self.lexer.token == "inf" or _is_float(self.lexer.token):
            return -self._float() if negative else self._float()
        return read_sum(self.lexer, -1 if negative else 1, MAX_INTEGER)

    def _float(self) -> float:
        token = self.lexer.token
        found = float(token)
        if token != "inf" and found == float("inf"):
            self.lexer.fail(f"{token} is out of range")
        self.lexer.advance()
        return found

    def _typed(self) -> DType | TensorType | Literal:
        """A dtype, a type, or a literal: each begins with a dtype."""
        start = self.lexer.start
        element = read_dtype(self.lexer)
        if self.lexer.token == "[":
            found = read_tensor_type(self.lexer, element)
            if self.lexer.token != "[" and not self._is_packed():
                return found
        elif self._begins_element():
            found = TensorType((), element)
        else:
            return element
        try:
            return self._literal(found)
        except SpecError as error:
            raise self.lexer.located(error, start) from None

    def _is_packed(self) -> bool:
        return self.lexer.token == "hex" or self.lexer.token[:1] == "#"

    def _begins_element(self) -> bool:
        token = self.lexer.token
        return token[:1].isdecimal() or token in ("-", "(", "true", "false", "inf", "nan")

    def _literal(self, type: TensorType) -> Literal:
        lexer = self.lexer
        if lexer.token[:1] == "#":
            lexer.fail(
                "a literal's digest cannot be read back; print the program with literals=True"
            )
        if lexer.accept("hex"):
            return unpack(type, self._bytes())
        if not type.rank:
            return from_values(type, [self._element(type.dtype)])
        lexer.expect("[")
        found: list[Any] = []
        size = count(type)
        while not lexer.accept("]"):
            if found:
                lexer.expect(",")
            if len(found) == size:
                lexer.fail(f"more elements than the {size} of {type}")
            found.append(self._element(type.dtype))
        return from_values(type, found)

    def _bytes(self) -> bytes:
        token = self.lexer.token
        if not _HEX.fullmatch(token):
            self.lexer.unexpected("bytes as an even number of hex digits in quotes")
        self.lexer.advance()
        return bytes.fromhex(token[1:-1])

    def _element(self, element: DType) -> Any:
        """One element; a complex one is a pair of its parts."""
        if not element.is_complex:
            return self._scalar()
        self.lexer.expect("(")
        real = self._scalar()
        self.lexer.expect(",")
        imaginary = self._scalar()
        self.lexer.expect(")")
        return real, imaginary

    def _scalar(self) -> bool | int | float:
        lexer = self.lexer
        if lexer.token in ("true", "false"):
            return lexer.advance() == "true"
        if lexer.token[:2] == "0x":
            return Bits(lexer.advance(), 16)
        sign = -1 if lexer.accept("-") else 1
        if lexer.token in ("inf", "nan") or _is_float(lexer.token):
            return sign * self._float()
        return sign * read_integer(lexer)


def _is_float(token: str) -> bool:
    return token[:1].isdecimal() and not token.isdecimal() and token[:2] != "0x"
