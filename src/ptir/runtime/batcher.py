"""Continuous batching: requests join and leave between steps. Knows no text.

Nothing runs by itself: whoever waits for a request runs turns, and a turn serves all requests. Any
number of threads may wait; one of them runs the turn.
"""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import final

from ptir.ir import SpecError
from ptir.nn import KVCache

from .prefixes import LEAST, Kept, Prefixes
from .request import Request, shared_prefix
from .rows import Rows
from .scheduler import Limits, next_turn
from .session import capacity_for
from .steps import Array, Steps

LOG = logging.getLogger("ptir.runtime")
AHEAD = 256  # tokens to come for which there is room at once; a cache grows beyond them


@final
class Batcher:
    """Requests of one model at work."""

    def __init__(self, steps: Steps, limits: Limits | None = None) -> None:
        self._steps = steps
        self._limits = limits or Limits()
        self._changed = Condition()
        self._busy = False  # a thread runs a turn, and all below is its
        self._arrived: deque[Request] = deque()  # from any thread, at any time
        self._cancelled: deque[Request] = deque()
        self._waiting: deque[Request] = deque()
        self._rows = Rows(steps)
        self._prefixes = Prefixes(self._limits.kept)
        self._closed: Exception | None = None

    def add(self, request: Request) -> None:
        """Take a request; `run` serves it."""
        if not request.is_done:
            self._arrived.append(request)

    def run(self, request: Request, tokens: int) -> None:
        """Run turns until a request has so many tokens or is done.

        An exception that ends a turn (Ctrl-C, say) is raised here. Every request that was at work
        can go on.
        """
        while len(request.choices) < tokens and not request.is_done:
            with self._alone(wait=False) as mine:
                if mine:
                    self._turn()

    def cancel(self, request: Request) -> None:
        """Let a request go, whatever it is at. May be called again."""
        self._cancelled.append(request)
        with self._changed:
            if self._busy:
                return  # whoever is at work sees to it
        with self._alone(wait=True):
            pass

    def close(self, why: Exception) -> None:
        """End all requests with an error, those to come too, and let go of every cache."""
        self._closed = why
        with self._alone(wait=True):
            self._end_all(why)

    @property
    def load(self) -> tuple[int, int, int]:
        """Requests that wait or read their prompt, those that decode, and caches that are kept."""
        return len(self._arrived) + len(self._waiting), len(self._rows), len(self._prefixes)

    @contextmanager
    def _alone(self, *, wait: bool) -> Iterator[bool]:
        """Run while no other thread does. Without `wait`: False, after another's turn, if one does.

        Whatever is raised inside leaves the requests in order, and those that were cancelled are
        gone when it ends.
        """
        with self._changed:
            if self._busy and not wait:
                self._changed.wait()
                mine = False
            else:
                while self._busy:
                    self._changed.wait()
                self._busy = mine = True
        if not mine:
            yield False
            return
        try:
            yield True
        except BaseException:
            self._recover()
            raise
        finally:
            self._yield_place()

    def _yield_place(self) -> None:
        """Let another thread run, once nobody is left who asked to be let go meanwhile."""
        try:
            while self._is_wanted():
                self._let_go()
        except BaseException:
            self._free()
            raise

    def _is_wanted(self) -> bool:
        """Whether somebody asked to be let go; if nobody did, the place is free from here on."""
        with self._changed:
            if not self._cancelled:
                self._free()
            return self._busy

    def _free(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    # --- turns ---

    def _turn(self) -> None:
        if self._closed is not None:
            self._end_all(self._closed)
            return
        if self._rows.is_lost:
            self._recover()
        self._let_go()
        turn = next_turn(self._waiting, len(self._rows), self._limits)
        if turn.prompt is not None:
            self._guarded(turn.prompt, turn.tokens)
        if turn.decodes:
            self._decode()

    def _let_go(self) -> None:
        """Take in the requests that came, and see to those that were cancelled."""
        while self._arrived:
            self._waiting.append(self._arrived.popleft())
        while self._cancelled:
            request = self._cancelled.popleft()
            if not request.is_done:
                request.finish_reason = "cancelled"
                self._leave(request)

    def _end_all(self, why: Exception) -> None:
        """End every request with an error, and let go of every cache."""
        self._let_go()
        for request in [*self._waiting, *self._rows.clear()]:
            self._fail(request, why)
        self._prefixes.clear()

    def _guarded(self, request: Request, tokens: int) -> None:
        """A chunk of a prompt; what goes wrong with it ends its request alone."""
        try:
            self._read(request, tokens)
        except Exception as error:
            self._fail(request, error)

    def _read(self, request: Request, tokens: int) -> None:
        if request.cache is None:
            self._begin(request)
            tokens = min(tokens, request.length - request.past)
        logits = self._advance(request, request.window[request.past :][:tokens])
        request.past += tokens
        if request.past < request.length:
            return
        request.accept(logits)
        if request.is_done:
            self._leave(request)
        elif request.cache is not None:  # else it slides: what is left is read once more
            self._rows.join(request)
            self._waiting.remove(request)

    def _advance(self, request: Request, ids: list[int]) -> Array:
        """Run tokens of a prompt; the logits behind the last of them."""
        cache, request.cache = request.cache, None  # lost if the step fails
        assert cache is not None
        if not request.wants_every_logit:
            logits, request.cache = self._steps.advance(ids, cache, request.past)
            return logits
        every, request.cache = self._steps.every(ids, cache, request.past)
        request.note_prompt(every)
        last: Array = every[-1]
        return last

    def _decode(self) -> None:
        """A token for each request that decodes."""
        requests = list(self._rows.requests)
        try:
            logits = self._rows.decode()
        except Exception as error:
            for request in requests:
                self._fail(request, error)
            return
        for request, row in zip(requests, logits, strict=True):
            try:
                request.accept(row)
            except Exception as error:
                self._fail(request, error)
                continue
            if request.is_done:
                self._leave(request)
            elif not request.past:  # it slides: what is left is read once more
                self._rows.leave(request)
                self._waiting.appendleft(request)

    # --- caches ---

    def _begin(self, request: Request) -> None:
        """Give a request its cache, with what a cache like it holds already."""
        request.begin()
        room = min(request.length + AHEAD, request.most)
        capacity = capacity_for(max(room, request.length), self._steps.context_length)
        found = self._reused(request) if request.reuse_prefix and not request.choices else None
        request.cache = self._steps.cache(capacity) if found is None else roomy(found, capacity)

    def _reused(self, request: Request) -> KVCache | None:
        """The cache of the longest prefix that another request left or is at work on."""
        window = request.window
        kept, with_kept = self._prefixes.longest(window)
        live, with_live = self._longest_live(window)
        shared = min(max(with_kept, with_live), len(window) - 1)  # one token has to run
        if shared < LEAST:
            shared = 0
        request.past = request.cached_tokens = shared
        if not shared:
            request.cache_reason = "miss: no request begins the same"
            return None
        if live is not None and with_live > with_kept:
            request.cache_reason = "hit: a request at work begins the same"
            return self._rows.copy(live)
        assert kept is not None
        request.cache_reason = "hit: an earlier request began the same"
        return self._prefixes.take(kept).cache

    def _longest_live(self, window: list[int]) -> tuple[Request | None, int]:
        best, most = None, 0
        for request in self._rows.requests:
            shared = min(shared_prefix(request.window, window), request.past)
            if shared > most:
                best, most = request, shared
        return best, most

    def _leave(self, request: Request) -> None:
        """Take a request out, and keep its cache for prompts that begin the same."""
        keep = request.reuse_prefix and self._limits.kept > 0 and request.past >= LEAST
        cache = self._own_cache(request) if keep else None
        if cache is not None:
            self._prefixes.keep(Kept(tuple(request.window[: request.past]), cache))
        LOG.info(
            "a request ended by %s: %d tokens in (%d of them cached; %s), %d out",
            request.finish_reason,
            request.prompt_tokens,
            request.cached_tokens,
            request.cache_reason,
            len(request.choices),
        )
        self._drop(request)

    def _own_cache(self, request: Request) -> KVCache | None:
        """The cache of a request that leaves; None if there is no memory to copy its row."""
        if request not in self._rows.requests:
            return request.cache
        try:
            return self._rows.inherited(request)
        except (SpecError, MemoryError) as error:
            LOG.info("a cache is not kept: %s", error)
            return None

    def _fail(self, request: Request, error: Exception) -> None:
        LOG.info("a request failed: %s", error)
        request.error = error
        self._drop(request)

    def _drop(self, request: Request) -> None:
        if request in self._rows.requests:
            self._rows.leave(request)
        request.forget_cache()
        if request in self._waiting:
            self._waiting.remove(request)

    def _recover(self) -> None:
        """A turn did not finish: what it had in hand is read again."""
        if self._rows.is_lost:
            for request in reversed(self._rows.clear()):
                request.forget_cache()
                self._waiting.appendleft(request)
        self._waiting = deque(r for r in self._waiting if not r.is_done)
        for request in self._waiting:
            if request.cache is None:
                request.forget_cache()
        for request in [*self._waiting, *self._rows.requests]:
            request.recover()


def roomy(cache: KVCache, capacity: int) -> KVCache:
    """A cache of at least this capacity."""
    have = cache.capacity
    assert isinstance(have, int)
    return cache.grown(max(have, capacity))
