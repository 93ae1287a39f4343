"""One sequence at work: its tokens and the caches behind them. Knows no text and no sampling."""

from collections.abc import Sequence
from typing import final

from .generation import GenerationError
from .steps import Array, Caches, Steps

SMALLEST_CAPACITY = 64  # of caches; capacities are powers of two, so that few sizes come up
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
        self._caches: Caches = []
        self._past = 0  # of the ids, how many the caches hold

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
            # The caches may have been given to a step that did not finish: compute them anew.
            del self._ids[known:]
            self._past = 0
            raise

    def _catch_up(self) -> Array:
        """Run what the caches do not hold yet, which is at least one token."""
        caches = self._room()
        while True:
            chunk = self._ids[self._past : self._past + PREFILL_CHUNK]
            logits, caches = self._steps.advance(chunk, caches, self._past)
            self._caches, self._past = caches, self._past + len(chunk)
            if self._past == len(self._ids):
                return logits

    def _room(self) -> Caches:
        """Caches with room for all tokens, and what they hold already."""
        fits = len(self._ids) <= self._capacity
        if not fits:
            self._capacity = capacity_for(len(self._ids), self._steps.context_length)
        if not self._past:
            self._caches = self._steps.caches(self._capacity)
        elif not fits:
            self._caches = [cache.grown(self._capacity) for cache in self._caches]
        return self._caches


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
