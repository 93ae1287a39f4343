"""What a request's biases and the tokens before do to logits. Knows no drawing."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from .sampling import Sampling, SamplingError

Array = np.ndarray[Any, Any]


@final
class Counts:
    """The distinct tokens of a history, and how often each was generated.

    `note` takes time in the tokens it is given, not in those noted before.
    """

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._places: dict[int, int] = {}
        self._ids = np.empty(64, np.int64)
        self._generated = np.zeros(64, np.int64)

    def note(self, ids: Iterable[int], *, generated: bool) -> None:
        """`ids` come behind what was noted; those that no logit stands for are passed over."""
        for i in ids:
            if 0 <= i < self._vocab_size:
                place = self._places.setdefault(i, len(self._places))
                if place == len(self._ids):
                    self._grow()
                self._ids[place] = i
                self._generated[place] += generated

    @property
    def ids(self) -> Array:
        """i64 [n]: the distinct tokens, of prompt and text."""
        return self._ids[: len(self._places)]

    @property
    def generated(self) -> Array:
        """i64 [n]: how often each of `ids` was generated; 0 for those of the prompt alone."""
        return self._generated[: len(self._places)]

    def _grow(self) -> None:
        self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
        self._generated = np.concatenate([self._generated, np.zeros_like(self._generated)])


@final
class Penalties:
    """Biases, bans and penalties for one sequence: steps 1 and 2 of `Sampling`.

    The first history that `apply` sees is the prompt, and what later ones add was generated.
    """

    def __init__(self, sampling: Sampling, vocab_size: int, eos_ids: Iterable[int]) -> None:
        sampling.check_vocab(vocab_size)
        self._sampling = sampling
        bias = {i: b for i, b in sampling.logit_bias.items() if b != -np.inf}
        self._biased = np.array(list(bias), np.int64)
        self._bias = np.array(list(bias.values()), np.float64)
        self._banned = np.array([i for i in sampling.logit_bias if i not in bias], np.int64)
        ends = {*sampling.stop_token_ids, *(() if sampling.ignore_eos else eos_ids)}
        self._ends = np.array(sorted(i for i in ends if i < vocab_size), np.int64)
        self._counting = sampling.repetition_penalty != 1 or bool(
            sampling.presence_penalty or sampling.frequency_penalty
        )
        self._counts = Counts(vocab_size)
        self._prompt_tokens: int | None = None
        self._noted = 0
        self.active = self._counting or bool(sampling.logit_bias or sampling.min_tokens)

    def apply(self, logits: Array, history: Sequence[int]) -> None:
        """Write into float `logits` [vocab] what they are behind the ids `history`.

        Raises `SamplingError` for a history shorter than the last.
        """
        self._note(history)
        with np.errstate(over="ignore"):  # beyond f32 is certain, or banned
            if len(self._biased):
                logits[self._biased] = logits[self._biased] + self._bias
            logits[self._banned] = -np.inf
            if len(history) - (self._prompt_tokens or 0) < self._sampling.min_tokens:
                logits[self._ends] = -np.inf
            if self._counting:
                self._penalise(logits)

    def _penalise(self, logits: Array) -> None:
        ids, generated = self._counts.ids, self._counts.generated
        given, by = logits[ids].astype(np.float64), self._sampling
        penalised = np.where(
            given < 0, given * by.repetition_penalty, given / by.repetition_penalty
        )
        penalised -= by.frequency_penalty * generated + by.presence_penalty * (generated > 0)
        logits[ids] = penalised

    def _note(self, history: Sequence[int]) -> None:
        """Count the tokens that came since the last time."""
        if len(history) < self._noted:
            message = f"the history has {len(history)} tokens, and had {self._noted}"
            raise SamplingError(f"{message}; a sampler is for one sequence, which only grows")
        first = self._prompt_tokens is None
        if first:
            self._prompt_tokens = len(history)
        if self._counting:
            self._counts.note(history[self._noted :], generated=not first)
        self._noted = len(history)
