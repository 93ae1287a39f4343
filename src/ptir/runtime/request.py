"""One prompt being continued: what was asked, its tokens so far and where its cache stands.

Knows no text and no other request: what watches the tokens is handed in.
"""

from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import Literal, final

import numpy as np

from ptir.nn import KVCache

from .generation import FinishReason, Timings
from .logprobs import Choice, score_tokens
from .sampler import Sampler
from .sampling import Sampling
from .steps import Array

Overflow = Literal["stop", "slide"]
Watch = Callable[[Sequence[Choice]], FinishReason | None]


def unwatched(choices: Sequence[Choice]) -> FinishReason | None:
    """Watches nothing."""
    return None


@final
class Request:
    """The state of one request. The batcher changes it, under its lock.

    `history` is the prompt and what was generated; the model sees the end of it behind `dropped`
    tokens, of which the cache holds `past`. `cache` is the request's own while its prompt is
    read; then it has a row of the batch.
    """

    def __init__(
        self,
        ids: Sequence[int],
        max_tokens: int,
        sampling: Sampling,
        *,
        context_length: int,
        eos_ids: Collection[int] = (),
        overflow: Overflow = "stop",
        reuse_prefix: bool = True,
        watch: Watch = unwatched,
    ) -> None:
        self.history = list(ids)
        self.prompt_tokens = len(ids)
        self.max_tokens = max_tokens
        self.sampling = sampling
        self.sampler = Sampler(sampling, eos_ids)
        self.reuse_prefix = reuse_prefix and sampling.prompt_logprobs is None
        self.dropped = 0
        self.past = 0
        self.cache: KVCache | None = None
        self.choices: list[Choice] = []
        self.prompt_choices: list[Choice] = []
        self.cached_tokens = 0
        self.cache_reason = "no prompt was read yet"
        self.finish_reason: FinishReason | None = None
        self.error: BaseException | None = None
        self.timings = Timings()
        self._ends = frozenset(sampling.stop_token_ids)
        if not sampling.ignore_eos:
            self._ends |= frozenset(eos_ids)
        self._context_length = context_length
        self._overflow = overflow
        self._watch = watch
        self._began = 0.0
        if not max_tokens:
            self.finish_reason = "length"

    @property
    def is_done(self) -> bool:
        return self.finish_reason is not None or self.error is not None

    @property
    def window(self) -> list[int]:
        """The tokens that the model sees."""
        return self.history[self.dropped :] if self.dropped else self.history

    @property
    def length(self) -> int:
        """How many tokens the model sees."""
        return len(self.history) - self.dropped

    @property
    def most(self) -> int:
        """The most tokens that it will ever see."""
        return min(self.prompt_tokens + self.max_tokens, self._context_length)

    @property
    def wants_every_logit(self) -> bool:
        """Whether the logits behind each token of the prompt are asked for."""
        return self.sampling.prompt_logprobs is not None and not self.choices

    def begin(self) -> None:
        """It is worked on from now on."""
        self._began = perf_counter()

    def note_prompt(self, logits: Array) -> None:
        """Logits [T, vocab] behind the next T tokens of the prompt; `past` is not moved yet."""
        top = self.sampling.prompt_logprobs
        told = self.history[self.past + 1 : self.past + 1 + len(logits)]
        if top is not None and told:
            self.prompt_choices += score_tokens(logits[: len(told)], told, top)

    def accept(self, logits: Array) -> None:
        """Choose the next token from logits [vocab] and see whether it ends the request."""
        choice = self.sampler.choose(logits, self.history)
        now = perf_counter()
        self.timings.note(now - self._began)
        self._began = now
        if choice.token in self._ends:
            self.finish_reason = "stop"
            return
        self.history.append(choice.token)
        self.choices.append(choice)
        self.finish_reason = self._watch(self.choices)
        if self.finish_reason is None and len(self.choices) >= self.max_tokens:
            self.finish_reason = "length"
        if self.finish_reason is None and self.length > self._context_length:
            self._overflowed()

    def forget_cache(self) -> None:
        """The cache is lost: what it held has to be run anew."""
        self.past, self.cache = 0, None
        if not self.choices:
            self.prompt_choices.clear()

    def recover(self) -> None:
        """Be as before the step that did not finish."""
        del self.history[self.prompt_tokens + len(self.choices) :]
        self.past = min(self.past, self.length - 1)

    def _overflowed(self) -> None:
        """Stop, or go on behind the later half of the context, which is read once more."""
        if self._overflow == "stop":
            self.finish_reason = "context"
            return
        self.dropped = len(self.history) - max(self._context_length // 2, 1)
        self.forget_cache()


def shared_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    n = min(len(a), len(b))
    differs = np.not_equal(np.asarray(a[:n], np.int64), np.asarray(b[:n], np.int64))
    return int(differs.argmax()) if differs.any() else n
