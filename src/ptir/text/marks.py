"""Text that must not become a token by how it is spelled. Knows no template and no tokenizer."""

import re
from collections.abc import Iterable
from typing import Any, final

# Characters that no text is supposed to have: noncharacters, then the first private area.
_CANDIDATES = (*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF900))


@final
class Marks:
    """Breaks spellings by a mark inside them, and knows where marks have kept spellings apart.

    `mark` is one character that none of the texts at hand has, given by `unused`.
    """

    def __init__(self, spellings: Iterable[str], mark: str) -> None:
        self._spellings = sorted({s for s in spellings if s}, key=len, reverse=True)
        self._mark = mark
        alternatives = "|".join(map(re.escape, self._spellings)) or "(?!)"
        self._spelled = re.compile(alternatives)
        self._begun = re.compile(f"(?=(?:{alternatives}))(.)", re.DOTALL)
        longest = len(self._spellings[0]) if self._spellings else 0
        self._reach = max(0, longest - 1)

    def put(self, value: Any) -> Any:
        """`value` with every string in it marked, those in lists and objects too.

        A mark follows the first character of each spelling, and stands at an end of the string
        that could be a part of one. Names in objects get no mark at their ends: they are words of
        the template's language.
        """
        if isinstance(value, str):
            return self._ends(self._inside(value))
        if isinstance(value, dict):
            return {
                self._inside(key) if isinstance(key, str) else key: self.put(each)
                for key, each in value.items()
            }
        return [self.put(each) for each in value] if isinstance(value, list | tuple) else value

    def split(self, text: str) -> list[str]:
        """`text` cut at its marks; in one piece if no spelling appears when they are left out."""
        pieces = text.split(self._mark)
        whole, apart, offset = "".join(pieces), [], 0
        for piece in pieces:
            apart += self._found(piece, offset)
            offset += len(piece)
        return [whole] if self._found(whole) == apart else pieces

    def count(self, text: str) -> int:
        """How many spellings `text` has."""
        return len(self._found(text))

    def _found(self, text: str, offset: int = 0) -> list[tuple[int, str]]:
        return [(offset + m.start(), m[0]) for m in self._spelled.finditer(text)]

    def _inside(self, text: str) -> str:
        return self._begun.sub(rf"\g<1>{self._mark}", text)

    def _ends(self, text: str) -> str:
        reach = range(1, min(self._reach, len(text)) + 1)
        tails = {text[-n:] for n in reach}
        heads = {text[:n] for n in reach}
        if any(spelling[:n] in tails for spelling in self._spellings for n in reach):
            text += self._mark
        if any(spelling[-n:] in heads for spelling in self._spellings for n in reach):
            text = self._mark + text
        return text


def unused(texts: str) -> str | None:
    """A character for a mark: none of `texts`, which are ASCII JSON, have it."""
    return next((chr(c) for c in _CANDIDATES if f"\\u{c:04x}" not in texts), None)
