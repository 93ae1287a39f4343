"""The requests that decode side by side, each in a row of one cache. Knows no scheduling."""

from typing import final

from ptir.ir import SpecError
from ptir.nn import KVCache

from .request import Request
from .session import capacity_for
from .steps import Array, Steps


@final
class Rows:
    """Requests 0, 1, … in the first rows of a cache, which may have more rows than requests."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._cache: KVCache | None = None
        self.requests: list[Request] = []

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def is_lost(self) -> bool:
        """Whether a step that had been given the cache did not finish, or one of its requests was
        about to leave.
        """
        gone = self._cache is None and bool(self.requests)
        return gone or any(request.is_done for request in self.requests)

    def join(self, request: Request) -> None:
        """Take a request whose own cache holds all but its last token."""
        new, request.cache = request.cache, None
        assert new is not None
        if self._cache is None:
            self._cache = new
        else:
            self._grow(_size(new.capacity), len(self) + 1)
            self._put(len(self), new)
        self.requests.append(request)

    def decode(self) -> Array:
        """f32 logits [requests, vocab] behind the last token of each, which the cache then
        holds.
        """
        longest = max(r.length for r in self.requests)
        if longest > _size(self._held().capacity):
            self._grow(capacity_for(longest, self._steps.context_length), len(self))
        ids = [r.history[-1] for r in self.requests]
        past = [r.past for r in self.requests]
        logits, self._cache = self._steps.decode(ids, self._given(), past)
        for request in self.requests:
            request.past += 1
        return logits

    def copy(self, request: Request) -> KVCache:
        """The row of a request as a cache of its own."""
        return self._steps.take_row(self._held(), self.requests.index(request))

    def inherited(self, request: Request) -> KVCache:
        """The row of a request that leaves next; not a copy, if there is no other row."""
        cache = self._held()
        return cache if _size(cache.batch) == 1 else self.copy(request)

    def leave(self, request: Request) -> None:
        """Let a request go. The last row takes its place; without memory for that, all is lost."""
        row, last = self.requests.index(request), self.requests[-1]
        if last is not request and self._cache is not None:
            try:
                self._put(row, self.copy(last))
            except (SpecError, MemoryError):
                self._cache = None
        self.requests[row] = last
        self.requests.pop()
        if not self.requests:
            self._cache = None

    def clear(self) -> list[Request]:
        """Let all of them go, and the cache. They were these."""
        gone, self.requests = self.requests, []
        self._cache = None
        return gone

    def _put(self, row: int, new: KVCache) -> None:
        cache = self._given()
        self._cache = self._steps.put_row(cache, row, new.grown(cache.capacity))

    def _grow(self, capacity: int, rows: int) -> None:
        """At least so many positions and rows, which double."""
        cache = self._held()
        capacity, have = max(capacity, _size(cache.capacity)), _size(cache.batch)
        grown = cache.grown(capacity, have if rows <= have else max(rows, 2 * have))
        grown.data.realize()  # before the old one goes: without memory for it, nothing is lost
        self._cache = grown

    def _held(self) -> KVCache:
        assert self._cache is not None, "there are no rows"
        return self._cache

    def _given(self) -> KVCache:
        """The cache for a step, which gives it back. If the step fails, it is lost."""
        cache, self._cache = self._held(), None
        return cache


def _size(size: object) -> int:
    assert isinstance(size, int), "caches at work have known sizes"
    return size
