"""What generation gives and what it refuses. Knows no model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ptir.ir import PtirError

from .logprobs import Choice

Prompt = str | Sequence[int]
"""Text, or token ids."""

FinishReason = Literal["stop", "length", "context", "cancelled", "error"]


class GenerationError(PtirError):
    """A request that a model cannot serve: a prompt that is empty, too long or outside the
    vocabulary, text without a tokenizer.
    """


@dataclass(frozen=True)
class Piece:
    """A generated token and the text that it completes, which is empty inside a character.

    `token_id` is None for text that was held back in case the text went on, and did not.
    """

    token_id: int | None
    text: str


@dataclass
class Timings:
    """Seconds of work on the first token, prompt included, and on all that came after it."""

    prefill_s: float = 0.0
    decode_s: float = 0.0
    steps: int = 0  # one for the first token, one for each after it, the end of text among them

    def note(self, seconds: float) -> None:
        """One more step took this long."""
        if self.steps:
            self.decode_s += seconds
        else:
            self.prefill_s = seconds
        self.steps += 1

    @property
    def tokens_per_s(self) -> float | None:
        """How fast tokens came after the first; None if none came."""
        return (self.steps - 1) / self.decode_s if self.decode_s else None


@dataclass(frozen=True)
class Usage:
    """Tokens of a prompt, of them those that a kept cache held already, and tokens generated."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass
class Generation:
    """What came of a prompt. `text` is the text of `token_ids`, up to the stop string if one came.

    `finish_reason` is `stop` (the model ended the text, or a stop string or token came), `length`
    (`max_tokens` came), `context` (the model's context is full), `cancelled`, or `error`, which
    `error` tells. `seed` repeats it. `logprobs` and `prompt_logprobs` are there if they were asked
    for, the latter from the second token of the prompt on. `cache_reason` says why the caches of
    other requests did or did not spare reading `cached_tokens` of the prompt.
    """

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: FinishReason = "length"
    prompt_tokens: int = 0
    seed: int = 0
    timings: Timings = field(default_factory=Timings)
    stop: str | None = None
    logprobs: list[Choice] = field(default_factory=list)
    prompt_logprobs: list[Choice] = field(default_factory=list)
    cached_tokens: int = 0
    cache_reason: str = ""
    error: BaseException | None = None

    @property
    def usage(self) -> Usage:
        """What the request took."""
        return Usage(self.prompt_tokens, self.cached_tokens, len(self.token_ids))
