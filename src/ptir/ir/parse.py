"""Text to programs: the grammar of a program and its lines. Trusts no input, knows no op by name.

text    = program*                                  the last is @main
program = "program" @name "(" version ")" "{" line* "return" [%n {"," %n}] "}"
line    = %n ":" type "=" (input | op "(" [%n {"," %n}] ")" ["{" name "=" value … "}"])
input   = ("argument" | "state") "(" slot ["," string] ")" | "parameter" "(" [string] ")"
"""

import re

from .error import SpecError
from .lexer import Lexer
from .node import Node, Role
from .program import VERSION, Program
from .type import Type
from .typeform import read_integer, read_type
from .values import Values
from .written import MAX_TEXT, Draft, Library

_NUMBER = re.compile(r"%[0-9]{1,9}")
_NAME = re.compile(r"@[A-Za-z0-9_.]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ROLES = frozenset(Role)


def parse_program(text: str, *, limit: int = MAX_TEXT) -> Program:
    """The verified program that a text describes, regions and all.

    Raises `SpecError` that begins with line and column: code `parse` for what is no program text,
    `version` for another version, `type` where a declared type is not the inferred one, and the
    codes of the ops' own rules. `limit` bounds the text in characters.
    """
    if len(text) > limit:
        raise SpecError("parse", "text", f"{len(text)} characters are over the limit of {limit}")
    parser = _Parser(Lexer(text))
    while parser.lexer.token:
        parser.program()
    return parser.main()


class _Parser:
    """Reads one program after another; each line adds a value to the draft of the current one."""

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.library = Library()
        self.values = Values(lexer, self.library.region)
        self.draft = Draft()

    def program(self) -> None:
        lexer = self.lexer
        lexer.expect("program")
        start, name = lexer.start, lexer.token
        if not _NAME.fullmatch(name):
            lexer.unexpected("a name such as @main")
        lexer.advance()
        self._version()
        self.draft = Draft()
        lexer.expect("{")
        while lexer.token[:1] == "%":
            self._line()
        lexer.expect("return")
        results = self._operands("}")
        try:
            self.library.add(name[1:], self.draft.finish(results))
        except SpecError as error:
            raise lexer.located(error, start) from None

    def main(self) -> Program:
        try:
            return self.library.main()
        except SpecError as error:
            raise self.lexer.located(error, self.lexer.start) from None

    def _version(self) -> None:
        self.lexer.expect("(")
        if self.lexer.token != VERSION:
            message = f"the text is {self.lexer.token!a}, this reader knows {VERSION!r}"
            raise self.lexer.located(SpecError("version", "text", message), self.lexer.start)
        self.lexer.advance()
        self.lexer.expect(")")

    def _line(self) -> None:
        lexer = self.lexer
        start = lexer.start
        number = self._number()
        lexer.expect(":")
        type = read_type(lexer)
        lexer.expect("=")
        word = lexer.token
        if not _WORD.fullmatch(word):
            lexer.unexpected("an op or an input")
        lexer.advance()
        lexer.expect("(")
        if word in _ROLES:
            role = Role(word)
            name = self._input(role)
            try:
                self.draft.declare(number, type, role, name)
            except SpecError as error:
                raise lexer.located(error, start) from None
        else:
            self._apply(start, number, type, word)

    def _apply(self, start: int, number: int, type: Type, op: str) -> None:
        operands = self._operands(")")
        attrs = self.values.mapping() if self.lexer.token == "{" else {}
        try:
            self.draft.define(number, self.draft.apply(op, operands, attrs, type))
        except SpecError as error:
            raise self.lexer.located(error, start) from None

    def _input(self, role: Role) -> str | None:
        """The name of an input, if it has one; the slot of an argument or state is its place."""
        lexer = self.lexer
        more = role is Role.PARAMETER and lexer.token != ")"
        if role is not Role.PARAMETER:
            slot = len(self.draft.inputs)
            if lexer.token != str(slot):
                lexer.unexpected(f"{slot}, the slot of the next input")
            read_integer(lexer)
            more = lexer.accept(",")
        name = self.values.string() if more else None
        lexer.expect(")")
        return name

    def _operands(self, end: str) -> list[Node]:
        """`%1, %2` up to `end`, which is passed."""
        lexer = self.lexer
        found: list[Node] = []
        while not lexer.accept(end):
            if found:
                lexer.expect(",")
            start = lexer.start
            try:
                found.append(self.draft.value(self._number()))
            except SpecError as error:
                raise lexer.located(error, start) from None
        return found

    def _number(self) -> int:
        if not _NUMBER.fullmatch(self.lexer.token):
            self.lexer.unexpected("a value such as %0")
        return int(self.lexer.advance()[1:])
