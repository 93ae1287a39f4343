"""Text as tokens, read one at a time, with the line and column of each. Knows no grammar."""

import re
from typing import NoReturn

from .error import SpecError, located

# Possessive throughout, so that no text makes the search go back; `.` catches what is no token.
_TOKEN = re.compile(
    r"""(?: [ \t\r\n]++ | //[^\n]*+ | \#(?![0-9a-f]{16}\b)[^\n]*+ )*+
    ( [A-Za-z_][A-Za-z0-9_.]*+
    | [%@?][A-Za-z0-9_.]*+
    | 0x[0-9a-fA-F]++ | [0-9]++(?:\.[0-9]*+)?(?:[eE][+-]?[0-9]++)?
    | "(?:[^"\\\n]++|\\[^\n])*+"?
    | \#[0-9a-f]{16}
    | . | \Z )""",
    re.VERBOSE | re.DOTALL,
)

MAX_WORD = 256


class Lexer:
    """The current token of a text (`""` at its end) and the way to the next.

    Strings keep their quotes, `%1`, `@name`, `?S` and `#digest` their sign. Errors are `SpecError`s
    that begin with the line and column.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._matches = _TOKEN.finditer(text)
        self.token = ""
        self.start = 0
        self.advance()

    def advance(self) -> str:
        """Go to the next token and return the one that was current."""
        was = self.token
        match = next(self._matches, None)
        if match is None:
            self.token, self.start = "", len(self.text)
        else:
            self.token, self.start = match[1], match.start(1)
            if len(self.token) > MAX_WORD and self.token[0] != '"':
                self.fail(f"a word or number longer than {MAX_WORD} characters")
        return was

    def expect(self, token: str) -> None:
        if self.token != token:
            self.unexpected(repr(token))
        self.advance()

    def accept(self, token: str) -> bool:
        """Whether the current token is this one; it is passed if so."""
        if self.token != token:
            return False
        self.advance()
        return True

    def unexpected(self, wanted: str) -> NoReturn:
        came = ascii(self.token[:40]) if self.token else "the end"
        self.fail(f"{came} came, wanted {wanted}")

    def fail(self, message: str) -> NoReturn:
        raise self.located(SpecError("parse", "text", message), self.start)

    def located(self, error: SpecError, start: int) -> SpecError:
        """The same error, beginning with the line and column of `start` unless it has its own."""
        line = self.text.count("\n", 0, start) + 1
        column = start - self.text.rfind("\n", 0, start)
        return located(error, f"line {line}, column {column}")
