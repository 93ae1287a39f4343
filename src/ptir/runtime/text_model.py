"""A causal language model at work: logits, generation, streaming."""

from collections.abc import Callable, Iterator
from operator import index
from time import perf_counter
from typing import final

from ptir import profile
from ptir.engine import Plan
from ptir.text import IncrementalDecoder, Tokenizer

from .generation import Generation, GenerationError, Piece, Prompt
from .sampler import Sampler
from .sampling import Sampling
from .session import Session, capacity_for, check_ids
from .steps import Array, Step, Steps

DEFAULT = Sampling()


@final
class TextModel:
    """What `LoadedModel.as_causal_lm` gives. A prompt is text (if there is a tokenizer) or token
    ids.

    Every method raises `GenerationError` for a prompt that the model cannot take, `ModelError` once
    the model is closed, and `CheckpointError` if its file changed size.
    """

    def __init__(self, steps: Steps, tokenizer: Tokenizer | None) -> None:
        self.tokenizer = tokenizer
        self.context_length = steps.context_length
        self.vocab_size = steps.vocab_size
        self._steps = steps

    def logits(self, prompt: Prompt) -> Array:
        """f32 [T, vocab]: what the model expects behind each token of the prompt."""
        return self._steps.score(self._ids(prompt))

    def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 128,
        sampling: Sampling = DEFAULT,
        on_piece: Callable[[Piece], None] = lambda piece: None,
    ) -> Generation:
        """Continue `prompt` by up to `max_tokens` tokens; `on_piece` sees each as it comes."""
        with profile.span("generate", "request", max_tokens=max_tokens):
            done, pieces = self._start(prompt, max_tokens, sampling)
            for piece in pieces:
                on_piece(piece)
        return done

    def stream(
        self, prompt: Prompt, *, max_tokens: int = 128, sampling: Sampling = DEFAULT
    ) -> Iterator[Piece]:
        """The pieces of `generate`, as they come. Stop iterating to stop generating."""
        return self._start(prompt, max_tokens, sampling)[1]

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

    def _start(
        self, prompt: Prompt, max_tokens: int, sampling: Sampling
    ) -> tuple[Generation, Iterator[Piece]]:
        """A generation that is complete when its pieces have been taken."""
        if max_tokens < 0:
            raise GenerationError(f"max_tokens is {max_tokens}, wanted 0 or more")
        ids, sampler = self._ids(prompt), Sampler(sampling)
        done = Generation(prompt_tokens=len(ids), seed=sampler.seed)
        session = self.session(capacity_for(len(ids) + max_tokens, self.context_length))
        return done, self._pieces(self._tokens(session, ids, max_tokens, sampler, done), done)

    def _tokens(
        self, session: Session, ids: list[int], max_tokens: int, sampler: Sampler, done: Generation
    ) -> Iterator[int]:
        """The tokens behind `ids`; `done` notes them, the time they take and why they end."""
        eos = self.tokenizer.eos_id if self.tokenizer else None
        while len(done.token_ids) < max_tokens:
            if done.prompt_tokens + len(done.token_ids) > self.context_length:
                done.finish_reason = "context"
                return
            begun = perf_counter()
            token = sampler.choose(session.feed(ids), session.token_ids).token
            done.timings.note(perf_counter() - begun)
            if token == eos:
                done.finish_reason = "stop"
                return
            done.token_ids.append(token)
            ids = [token]
            yield token

    def _pieces(self, tokens: Iterator[int], done: Generation) -> Iterator[Piece]:
        """The tokens with their text; `done` notes the text."""
        decoder = self.tokenizer and IncrementalDecoder(self.tokenizer)
        for token in tokens:
            text = decoder.feed(token) if decoder else ""
            done.text += text
            yield Piece(token, text)
        if decoder and (rest := decoder.flush()):
            done.text += rest
            yield Piece(None, rest)

    def _ids(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            if self.tokenizer is None:
                message = "the model has no tokenizer; pass token ids, or tokenizer= when loading"
                raise GenerationError(message)
            prompt = self.tokenizer.encode(prompt)
        try:
            ids = [index(i) for i in prompt]
        except TypeError:
            message = "the prompt is no text and no sequence of whole numbers"
            raise GenerationError(message) from None
        check_ids(ids, self._steps)
        return ids
