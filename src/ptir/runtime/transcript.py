"""The text of a request as its tokens come: whole characters, and nothing of a stop string.

Knows no model.
"""

from collections import deque
from collections.abc import Sequence
from typing import final

from ptir.text import IncrementalDecoder, Tokenizer
from ptir.text.stop import StopStrings

from .generation import FinishReason, Piece
from .logprobs import Choice


@final
class Transcript:
    """Pieces of text in the order of their tokens. Without a tokenizer all text is empty."""

    def __init__(self, tokenizer: Tokenizer | None, stops: Sequence[str]) -> None:
        self._decoder = IncrementalDecoder(tokenizer) if tokenizer else None
        self._stops = StopStrings(stops)
        self._seen = 0
        self.pieces: deque[Piece] = deque()  # that nobody has taken yet

    @property
    def stopped(self) -> str | None:
        """The stop string that came."""
        return self._stops.stopped

    def watch(self, choices: Sequence[Choice]) -> FinishReason | None:
        """Take the tokens that are new; whether one of them ends the text."""
        for choice in choices[self._seen :]:
            text = self._decoder.feed(choice.token) if self._decoder else ""
            self.pieces.append(Piece(choice.token, self._stops.feed(text)))
            self._seen += 1
        return None if self.stopped is None else "stop"

    def finish(self) -> None:
        """What was held back in case the text went on; nothing, if a stop string ended it."""
        rest = self._decoder.flush() if self._decoder else ""
        rest = self._stops.feed(rest) + self._stops.flush()
        if rest:
            self.pieces.append(Piece(None, rest))
