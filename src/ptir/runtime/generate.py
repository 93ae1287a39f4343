"""Generation: a prompt is prefilled once, then one compiled step is replayed for each token."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import numpy as np

from ptir import compiled
from ptir.engine import Plan
from ptir.ir import PtirError
from ptir.models import CausalLM
from ptir.nn import KVCache
from ptir.tensor import Tensor, tensor
from ptir.text import IncrementalDecoder, Tokenizer

from .sampler import Sampler, Sampling

SMALLEST_CAPACITY = 64  # of a cache; capacities are powers of two, so that few sizes come up
PREFILL_CHUNK = 512  # tokens of a prompt that run as one step

Array = np.ndarray[Any, Any]
Prompt = str | Sequence[int]
DEFAULT = Sampling()


class GenerationError(PtirError):
    """A request that a model cannot serve: an empty or too long prompt, text without a
    tokenizer.
    """


@dataclass(frozen=True)
class Piece:
    """One generated token and the text that it completes (empty within a character)."""

    token_id: int
    text: str


@dataclass
class Timings:
    """Seconds until the first token was known, and for all tokens after it."""

    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass
class Generation:
    """What came of a prompt. `finish_reason`: `stop` (end of text), `length` (max_tokens),
    `context`.
    """

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = "length"
    prompt_tokens: int = 0
    seed: int = 0
    timings: Timings = field(default_factory=Timings)


class TextModel:
    """A causal language model at work: logits, generation, streaming. Made by a loaded model."""

    def __init__(
        self,
        model: CausalLM,
        tokenizer: Tokenizer | None,
        backend: str,
        check: Callable[[], None],
    ) -> None:
        self.tokenizer = tokenizer
        self.context_length = model.context_length
        self.vocab_size = model.vocab_size
        self._model = model
        self._check = check  # raises when the weights on disk are no longer what was opened
        caches = {2: "C"}

        def step(ids: Tensor, caches: list[KVCache], past: Tensor) -> tuple[Tensor, list[KVCache]]:
            hidden, caches = model.hidden(ids, caches, past)
            return model.logits(hidden[:, -1]), caches

        def score(ids: Tensor) -> Tensor:
            return model.logits(model.hidden(ids)[0])

        self._prefill = compiled.compile(
            step, state=["caches"], symbolic={"ids": {1: "T"}, "caches": caches}, backend=backend
        )
        self._decode = compiled.compile(
            step, state=["caches"], symbolic={"caches": caches}, backend=backend
        )
        self._score = compiled.compile(score, symbolic={"ids": {1: "T"}}, backend=backend)

    def logits(self, prompt: Prompt) -> Array:
        """f32 [T, vocab]: what the model expects behind each position of the prompt."""
        ids = self._ids(prompt)
        self._check()
        rows: Array = self._score(_ids([ids])).numpy()
        return rows[0]

    def plan(self, step: Literal["prefill", "decode", "score"]) -> Plan:
        """The plan of one compiled step. Nothing is run."""
        if step == "score":
            return self._score.program(_ids([[0, 0]]))
        caches = self._model.caches(1, min(SMALLEST_CAPACITY, self.context_length))
        if step == "decode":
            return self._decode.program(_ids([[0]]), caches, _ids([0]))
        return self._prefill.program(_ids([[0, 0]]), caches, _ids([0]))

    def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 128,
        sampling: Sampling = DEFAULT,
        on_piece: Callable[[Piece], None] = lambda piece: None,
    ) -> Generation:
        """Continue `prompt` by up to `max_tokens` tokens; `on_piece` sees each as it comes."""
        done = Generation()
        for piece in self._pieces(prompt, max_tokens, Sampler(sampling), done):
            on_piece(piece)
        return done

    def stream(
        self, prompt: Prompt, *, max_tokens: int = 128, sampling: Sampling = DEFAULT
    ) -> Iterator[Piece]:
        """The pieces of `generate`, as they come. Stop iterating to stop generating."""
        return self._pieces(prompt, max_tokens, Sampler(sampling), Generation())

    def session(self, capacity: int) -> "Session":
        """A sequence without tokens, with room for `capacity` of them."""
        return Session(self, self._model.caches(1, capacity))

    def _pieces(
        self, prompt: Prompt, max_tokens: int, sampler: Sampler, done: Generation
    ) -> Iterator[Piece]:
        """Generate; `done` fills up on the way and is complete when the iterator ends."""
        if max_tokens < 0:
            raise GenerationError(f"max_tokens is {max_tokens}, wanted 0 or more")
        ids = self._ids(prompt)
        done.prompt_tokens, done.seed = len(ids), sampler.seed
        room = self.context_length - len(ids)
        decoder = self.tokenizer and IncrementalDecoder(self.tokenizer)
        eos = self.tokenizer.eos_id if self.tokenizer else None
        session = self.session(_capacity(len(ids) + max_tokens, self.context_length))
        begun = perf_counter()
        logits = session.feed(ids) if max_tokens else None
        done.timings.prefill_s = perf_counter() - begun
        while logits is not None:
            token = sampler.choose(logits)
            if token == eos:
                done.finish_reason = "stop"
                break
            done.token_ids.append(token)
            ended = len(done.token_ids) >= max_tokens
            full = len(done.token_ids) > room
            text = decoder.feed(token) if decoder else ""
            if (ended or full) and decoder:
                text += decoder.flush()
            done.text += text
            done.timings.decode_s = perf_counter() - begun - done.timings.prefill_s
            yield Piece(token, text)
            if ended or full:
                done.finish_reason = "length" if ended else "context"
                return
            logits = session.feed([token])
        if decoder and (rest := decoder.flush()):
            done.text += rest
            yield Piece(done.token_ids[-1], rest)

    def _ids(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            if self.tokenizer is None:
                message = "the model has no tokenizer; pass token ids, or tokenizer= when loading"
                raise GenerationError(message)
            prompt = self.tokenizer.encode(prompt)
        ids = [int(i) for i in prompt]
        if not ids:
            raise GenerationError("the prompt is empty; give at least one token")
        if len(ids) > self.context_length:
            message = f"the prompt has {len(ids)} tokens, the model's context {self.context_length}"
            raise GenerationError(f"{message}; shorten it")
        outside = [i for i in ids if not 0 <= i < self.vocab_size]
        if outside:
            message = f"token id {outside[0]} is outside the vocabulary of {self.vocab_size}"
            raise GenerationError(message)
        return ids


def _capacity(length: int, context_length: int) -> int:
    """The capacity of a cache for `length` tokens."""
    return min(max(SMALLEST_CAPACITY, 1 << (length - 1).bit_length()), context_length)


class Session:
    """One sequence at work: its caches, and how much of them is filled."""

    def __init__(self, owner: TextModel, caches: list[KVCache]) -> None:
        self._owner = owner
        self._past = 0
        self._caches = caches

    def feed(self, ids: Sequence[int]) -> Array:
        """The logits f32 [vocab] behind `ids`, which follow what was fed before."""
        self._owner._check()
        logits: Tensor | None = None
        for start in range(0, len(ids), PREFILL_CHUNK):
            chunk = _ids([ids[start : start + PREFILL_CHUNK]])
            step = self._owner._decode if chunk.shape[1] == 1 else self._owner._prefill
            logits, self._caches = step(chunk, self._caches, _ids([self._past]))
            self._past += len(chunk[0])
        assert logits is not None
        last: Array = logits.numpy()
        return last[0]


def _ids(numbers: Sequence[Any]) -> Tensor:
    return tensor(np.array(numbers, np.int32))
