"""Strings that end a generation, found in text that comes in pieces. Knows no tokens."""

from collections.abc import Iterable
from typing import final

from .error import StopError


@final
class StopStrings:
    """Passes on text up to the first stop string, and holds back what may be the start of one.

    The first is the one that is complete first, whatever the pieces; of two that end with the same
    character, the one that began earlier. A text that needs no more tokens to be known as ended is
    ended, so a longer stop string that began before a complete one does not wait for its rest.
    One object per stream; it is not for several threads. The work is linear in the text.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        """Raises StopError for a stop that is empty or no string."""
        given = [stops] if isinstance(stops, str) else list(stops)
        for stop in given:
            if not isinstance(stop, str) or not stop:
                raise StopError(f"a stop string is {stop!r:.80}, wanted one character or more")
        self._searches = [_Search(stop) for stop in dict.fromkeys(given)]
        self._held = ""
        self.stopped: str | None = None  # the stop string that was found

    def feed(self, piece: str) -> str:
        """The text that is certain not to belong to a stop string; nothing after a stop."""
        if self.stopped is not None or not piece:
            return ""
        text = self._held + piece
        for end, character in enumerate(piece, start=len(self._held) + 1):
            complete = [s.stop for s in self._searches if s.step(character)]
            if complete:
                self.stopped, self._held = max(complete, key=len), ""
                return text[: end - len(self.stopped)]
        held = max((search.matched for search in self._searches), default=0)
        certain = len(text) - held
        self._held = text[certain:]
        return text[:certain]

    def flush(self) -> str:
        """The text that was held back, for a stream that ended before a stop string did."""
        rest, self._held = self._held, ""
        for search in self._searches:
            search.matched = 0
        return rest


class _Search:
    """Knuth, Morris and Pratt's: how much of `stop` the text so far ends with."""

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.matched = 0
        # Per prefix, by its last character: the longest shorter prefix that it ends with.
        self._shorter = [0] * len(stop)
        for i in range(1, len(stop)):
            self._shorter[i] = self._longer(self._shorter[i - 1], stop[i])

    def step(self, character: str) -> bool:
        """Take the next character; whether it completes the stop string."""
        self.matched = self._longer(self.matched, character)
        return self.matched == len(self.stop)

    def _longer(self, matched: int, character: str) -> int:
        while matched and self.stop[matched] != character:
            matched = self._shorter[matched - 1]
        return matched + (self.stop[matched] == character)
