"""A causal language model at work: logits, generation, streaming, one prompt or many at once."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib import import_module
from operator import index
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast, final, overload

import numpy as np

from ptir.engine import Plan
from ptir.models import ModelError
from ptir.text import Tokenizer

from .answer import Answer
from .batcher import Batcher
from .generation import Generation, GenerationError, Piece, Prompt
from .request import Overflow, Request
from .sampling import Sampling
from .scheduler import Limits
from .session import Session, capacity_for, check_ids
from .steps import CLOSED, Array, Step, Steps
from .transcript import Transcript

DEFAULT = Sampling()
MAX_TOKENS = 128
Prompts = list[str] | list[list[int]] | list[Prompt]
T = TypeVar("T")


class Options(TypedDict, total=False):
    """What a request says beside its prompt; `TextModel.generate` says what it means."""

    max_tokens: int
    sampling: Sampling
    overflow: Overflow
    reuse_prefix: bool


class ManyOptions(TypedDict, total=False):
    """The same for several prompts."""

    max_tokens: int | Sequence[int]
    sampling: Sampling | Sequence[Sampling]
    overflow: Overflow
    reuse_prefix: bool


@final
class TextModel:
    """What `LoadedModel.as_causal_lm` gives. A prompt is text (if there is a tokenizer) or token
    ids.

    Every method raises `GenerationError` for a prompt that the model cannot take, `ModelError` once
    the model is closed, and `CheckpointError` if its file changed size. Any number of threads may
    generate at once: their requests run in one batch, `limits` says how large.
    """

    def __init__(
        self, steps: Steps, tokenizer: Tokenizer | None, limits: Limits | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.context_length = steps.context_length
        self.vocab_size = steps.vocab_size
        self._steps = steps
        self._batcher = Batcher(steps, limits)

    def logits(self, prompt: Prompt) -> Array:
        """f32 [T, vocab]: what the model expects behind each token of the prompt."""
        return self._steps.score(self._ids(prompt))

    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        on_error: Literal["raise", "keep"] = "raise",
        **options: Unpack[ManyOptions],
    ) -> list[Generation]: ...

    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        on_piece: Callable[[Piece], None] | None = None,
        on_error: Literal["raise", "keep"] = "raise",
        **options: Unpack[Options],
    ) -> Generation: ...

    def generate(
        self,
        prompt: Prompt | Prompts,
        *,
        max_tokens: int | Sequence[int] = MAX_TOKENS,
        sampling: Sampling | Sequence[Sampling] = DEFAULT,
        overflow: Overflow = "stop",
        reuse_prefix: bool = True,
        on_piece: Callable[[Piece], None] | None = None,
        on_error: Literal["raise", "keep"] = "raise",
    ) -> Generation | list[Generation]:
        """Continue a prompt, or each of several side by side, by up to `max_tokens` tokens.

        For several, `max_tokens` and `sampling` may be lists too. When the context is full,
        `overflow` says to `stop` there, or to `slide`: go on behind the later half of it, which is
        read once more. With `reuse_prefix` what an earlier prompt began with is not read again;
        without, the same request gives the same numbers bit by bit, whatever came before it (on
        `native`, beside up to 7 others).
        `on_piece` sees each piece of a single prompt as it comes. A request that fails raises, or
        with `on_error="keep"` is a result whose `error` says why.
        """
        several = is_several(prompt)
        if several and on_piece is not None:
            raise GenerationError("on_piece is for one prompt; use start() for each of several")
        prompts = cast(Sequence[Prompt], prompt if several else [prompt])
        given = zip(
            prompts,
            _each("max_tokens", max_tokens, len(prompts), several),
            _each("sampling", sampling, len(prompts), several),
            strict=True,
        )
        # All are looked at before any is run.
        ready = [self._request(p, n, s, overflow, reuse_prefix) for p, n, s in given]
        answers = [Answer(self._batcher, *one) for one in ready]
        try:
            if on_piece is not None:
                for piece in answers[0].pieces(raises=False):
                    on_piece(piece)
            done = [a.result() if on_error == "raise" else a.outcome() for a in answers]
        finally:
            for answer in answers:
                answer.cancel()
        return done if several else done[0]

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> Iterator[Piece]:
        """The pieces of `generate`, as they come. Stop iterating to stop generating."""
        return self.start(prompt, **options).pieces()

    async def agenerate(self, prompt: Prompt, **options: Unpack[Options]) -> Generation:
        """`generate` for an event loop, which goes on meanwhile. Cancelling it ends the request."""
        answer = self.start(prompt, **options)
        try:
            return await _in_thread(answer.result)
        finally:
            answer.cancel()

    async def astream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncIterator[Piece]:
        """`stream` for an event loop, which goes on meanwhile."""
        answer = self.start(prompt, **options)
        pieces = answer.pieces()
        try:
            while (piece := await _in_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            answer.cancel()

    def start(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = MAX_TOKENS,
        sampling: Sampling = DEFAULT,
        overflow: Overflow = "stop",
        reuse_prefix: bool = True,
    ) -> Answer:
        """A request that runs while anybody takes its pieces or those of another."""
        request = self._request(prompt, max_tokens, sampling, overflow, reuse_prefix)
        return Answer(self._batcher, *request)

    def session(self, capacity: int | None = None) -> Session:
        """A sequence without tokens; `capacity` positions are set aside for it."""
        if capacity is None:
            capacity = capacity_for(1, self.context_length)
        return Session(self._steps, capacity)

    def plan(self, step: Step, batch: int = 1) -> Plan:
        """The plan of one compiled step, for so many sequences side by side.

        Nothing is run and no weight is read.
        """
        return self._steps.plan(step, batch)

    def close(self) -> None:
        """End every request and let go of all caches. May be called again."""
        self._batcher.close(ModelError(CLOSED))
        self._steps.close()

    def _request(
        self,
        prompt: Prompt,
        max_tokens: int,
        sampling: Sampling,
        overflow: Overflow,
        reuse_prefix: bool,
    ) -> tuple[Request, Transcript]:
        if max_tokens < 0:
            raise GenerationError(f"max_tokens is {max_tokens}, wanted 0 or more")
        if overflow not in ("stop", "slide"):
            raise GenerationError(f"overflow is {overflow!r}, wanted 'stop' or 'slide'")
        if sampling.stop and self.tokenizer is None:
            message = "stop strings need a tokenizer; use stop_token_ids, or tokenizer= on loading"
            raise GenerationError(message)
        sampling.check_vocab(self.vocab_size)
        transcript = Transcript(self.tokenizer, sampling.stop)
        request = Request(
            self._ids(prompt),
            max_tokens,
            sampling,
            context_length=self.context_length,
            eos_ids=self.tokenizer.eos_ids if self.tokenizer else (),
            overflow=overflow,
            reuse_prefix=reuse_prefix,
            watch=transcript.watch,
        )
        return request, transcript

    def _ids(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            if self.tokenizer is None:
                message = "the model has no tokenizer; pass token ids, or tokenizer= when loading"
                raise GenerationError(message)
            prompt = self.tokenizer.encode(prompt, add_bos=self.tokenizer.add_bos)
        try:
            ids = [index(i) for i in prompt]
        except TypeError:
            message = "the prompt is no text and no sequence of whole numbers"
            raise GenerationError(message) from None
        check_ids(ids, self._steps)
        return ids


def is_several(prompt: Prompt | Prompts) -> bool:
    """Whether these are several prompts: a list of texts or of lists."""
    first = prompt[0] if len(prompt) else None
    return not isinstance(prompt, str) and isinstance(first, (str, Sequence, np.ndarray))


def _each(name: str, given: T | Sequence[T], count: int, several: bool) -> Sequence[T]:
    """One for each prompt. Only several prompts may come with a list."""
    if not isinstance(given, Sequence):
        return [given] * count
    if not several:
        raise GenerationError(f"{name} is a list, but there is one prompt; give one {name}")
    if len(given) != count:
        raise GenerationError(f"{len(given)} of {name} for {count} prompts; give one for each")
    return given


async def _in_thread(run: Callable[..., T], *args: Any) -> T:
    """For whoever awaits asyncio is there; others need not wait for its import."""
    done: T = await import_module("asyncio").to_thread(run, *args)
    return done
