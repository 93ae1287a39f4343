"""One sequence at work: its tokens and the cache behind them. Knows no text and no sampling."""

from collections.abc import Sequence
from typing import final

from ptir.nn import KVCache

from .generation import GenerationError
from .steps import Array, Steps

SMALLEST_CAPACITY = 64  # of a cache; capacities are powers of two, so that few sizes come up
PREFILL_CHUNK = 512  # tokens that run as one step: bounds the memory that attention scores take


@final
class Session:
    """A sequence that grows: `feed` it tokens, read the logits behind them.

    Sessions of one model do not disturb each other. One session is not for several threads.
    """

    def __init__(self, steps: Steps, capacity: int) -> None:
        """`capacity` positions are set aside at once; the session grows beyond them as needed."""
        if not 1 <= capacity <= steps.context_length:
            message = f"capacity {capacity}, wanted 1 to the model's context {steps.context_length}"
            raise GenerationError(message)
        self._steps = steps
        self._capacity = capacity
        self._ids: list[int] = []
        self._cache: KVCache | None = None
        self._past = 0  # of the ids, how many the cache holds

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens fed so far."""
        return tuple(self._ids)

    def feed(self, ids: Sequence[int]) -> Array:
        """f32 logits [vocab] behind `ids`, which follow what was fed before.

        When it raises (Ctrl-C, say), none of `ids` counts as fed and the session can go on.
        """
        check_ids(ids, self._steps, len(self._ids))
        known = len(self._ids)
        self._ids += ids
        try:
            return self._catch_up()
        except BaseException:
            # The cache may have been given to a step that did not finish: compute them anew.
            del self._ids[known:]
            self._past = 0
            raise

    def _catch_up(self) -> Array:
        """Run what the cache does not hold yet, which is at least one token."""
        cache = self._room()
        while True:
            chunk = self._ids[self._past : self._past + PREFILL_CHUNK]
            logits, cache = self._steps.advance(chunk, cache, self._past)
            self._cache, self._past = cache, self._past + len(chunk)
            if self._past == len(self._ids):
                return logits

    def _room(self) -> KVCache:
        """A cache with room for all tokens, and what it holds already."""
        fits = len(self._ids) <= self._capacity
        if not fits:
            self._capacity = capacity_for(len(self._ids), self._steps.context_length)
        if self._cache is None or not self._past:
            self._cache = self._steps.cache(self._capacity)
        elif not fits:
            self._cache = self._cache.grown(self._capacity)
        return self._cache


def check_ids(ids: Sequence[int], steps: Steps, past: int = 0) -> None:
    """Raise `GenerationError` for tokens that the model cannot take behind `past` others."""
    if not ids:
        raise GenerationError("the prompt is empty; give at least one token")
    length, context = past + len(ids), steps.context_length
    if length > context:
        message = f"{length} tokens do not fit the model's context of {context}"
        raise GenerationError(f"{message}; shorten the prompt")
    outside = next((i for i in ids if not 0 <= i < steps.vocab_size), None)
    if outside is not None:
        message = f"token id {outside} is outside the vocabulary of {steps.vocab_size}"
        raise GenerationError(f"{message}; is the tokenizer that of the model?")


def capacity_for(length: int, context_length: int) -> int:
    """The capacity to set aside for `length` tokens."""
    return min(max(SMALLEST_CAPACITY, 1 << (length - 1).bit_length()), context_length)
