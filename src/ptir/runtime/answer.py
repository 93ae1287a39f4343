"""A request on its way, as its caller sees it: pieces of text, then the result."""

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import final

from ptir import profile

from .batcher import Batcher
from .generation import Generation, Piece
from .request import Request
from .transcript import Transcript


@final
class Answer:
    """The continuation of one prompt. For one thread at a time."""

    def __init__(self, batcher: Batcher, request: Request, transcript: Transcript) -> None:
        self._batcher = batcher
        self._request = request
        self._transcript = transcript
        self._text: list[str] = []
        self._is_finished = False
        batcher.add(request)

    @property
    def is_done(self) -> bool:
        """Whether no more tokens will come."""
        return self._request.is_done

    def pieces(self, *, raises: bool = True) -> Iterator[Piece]:
        """The pieces as they come. To stop iterating is to cancel the rest.

        Raises what ended the request, if it failed and `raises` is not turned off.
        """
        try:
            with self._noted():
                yield from self._taken()
                while not self._is_finished:
                    self._work(len(self._request.choices) + 1)
                    yield from self._taken()
        finally:
            self.cancel()
        if raises:
            self._raise()

    def result(self) -> Generation:
        """The whole of it. Raises what ended the request, if it failed."""
        done = self.outcome()
        self._raise()
        return done

    def outcome(self) -> Generation:
        """The whole of it; a failure is in its `error`."""
        try:
            if not self._is_finished:  # else its time is noted: pieces were taken to the end
                with self._noted():
                    self._work(self._request.max_tokens)
        finally:
            self.cancel()
        deque(self._taken(), maxlen=0)  # nobody wants the pieces one by one
        return self.generation()

    def cancel(self) -> None:
        """Ask for no more tokens. What came is kept; the answer is done."""
        if not self._request.is_done:
            self._batcher.cancel(self._request)

    def generation(self) -> Generation:
        """What came until now."""
        request = self._request
        return Generation(
            text="".join(self._text),
            token_ids=[c.token for c in request.choices],
            finish_reason="error" if request.error else request.finish_reason or "cancelled",
            prompt_tokens=request.prompt_tokens,
            seed=request.sampler.seed,
            timings=request.timings,
            stop=self._transcript.stopped,
            logprobs=list(request.choices) if request.sampling.logprobs is not None else [],
            prompt_logprobs=list(request.prompt_choices),
            cached_tokens=request.cached_tokens,
            cache_reason=request.cache_reason,
            error=request.error,
        )

    def _noted(self) -> AbstractContextManager[None]:
        return profile.span("generate", "request", max_tokens=self._request.max_tokens)

    def _work(self, tokens: int) -> None:
        self._batcher.run(self._request, tokens)
        if self._request.is_done and not self._is_finished:
            self._transcript.finish()
            self._is_finished = True

    def _taken(self) -> Iterator[Piece]:
        """The pieces that came, each noted as the caller gets it."""
        while self._transcript.pieces:
            piece = self._transcript.pieces.popleft()
            self._text.append(piece.text)
            yield piece

    def _raise(self) -> None:
        if self._request.error is not None:
            raise self._request.error
