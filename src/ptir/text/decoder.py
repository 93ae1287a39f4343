"""Text out of token ids as they come, without broken characters. Knows no model."""

import re
from typing import final

from .tokenizer import Tokenizer

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Byte-fallback vocabularies spell single bytes so. Their decoder judges a run of them as a whole:
# one wrong byte turns all of it into U+FFFD, so nothing of it may be shown before it ends.
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
# Tokens kept in front of new ones: what a token decodes to depends on the neighbour before it
# (spaces) or on the bytes of a character that it ends (at most 3).
_CONTEXT = 8
_SETTLED = 4  # characters of context, so that its own start cannot matter to what follows


@final
class IncrementalDecoder:
    """Decodes a stream of ids; the joined pieces are `Tokenizer.decode` of all ids at once.

    One decoder per stream; it is not for several threads.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []  # recent ids; all but their end has been shown
        self._shown = 0  # characters of their text that have been shown

    def feed(self, id: int) -> str:
        """The text that is certain now that `id` has come; often empty inside a character."""
        token = self._tokenizer.token(id)
        if token is None or self._tokenizer.is_special(id):
            return ""
        self._ids.append(id)
        if _BYTE.fullmatch(token) or self._is_silent():
            return ""
        text = _certain(self._tokenizer.decode(self._ids))
        piece = text[self._shown :]
        self._shown = len(text)
        if len(self._ids) >= 2 * _CONTEXT:
            self._forget()
        return piece

    def flush(self) -> str:
        """The rest of the stream, an unfinished character as U+FFFD. The decoder starts afresh."""
        rest = self._tokenizer.decode(self._ids)[self._shown :]
        self._ids, self._shown = [], 0
        return rest

    def _is_silent(self) -> bool:
        """Whether ids without any text have come for so long that decoding all would not pay."""
        return len(self._ids) > 2 * _CONTEXT and not self._tokenizer.decode(self._ids[-_CONTEXT:])

    def _forget(self) -> None:
        """Keep only the context: enough to have text for what follows to stand behind."""
        kept = _CONTEXT
        while kept < len(self._ids):
            recent = self._ids[-kept:]
            text = self._tokenizer.decode(recent)
            if len(text) >= _SETTLED:
                self._ids, self._shown = recent, len(_certain(text))
                return
            kept *= 2


def _certain(text: str) -> str:
    """`text` without a last U+FFFD, which may stand for a character still to be completed."""
    return text.removesuffix(_REPLACEMENT)
