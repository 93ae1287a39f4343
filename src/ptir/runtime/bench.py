"""How fast a model takes a prompt and generates, repeated: the figures that llama-bench gives.

Knows no command line and no file.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from ptir import profile
from ptir.profile import Ceilings, Recorder

from .session import PREFILL_CHUNK, capacity_for
from .text_model import TextModel
from .work import Work, work


@dataclass(frozen=True)
class Figure:
    """Something measured several times. `of_ceiling` is the least time that the machine's ceilings
    allow, over the median of the times that it took.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    of_ceiling: float | None = None

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True)
class Test:
    """So many tokens at once into an empty cache (`pp512`), or one by one (`tg128`)."""

    name: str
    tokens: int
    run: Callable[[TextModel, Sequence[int]], None]
    steps: Callable[[TextModel, int], Iterator[Work]]

    def once(self, model: TextModel) -> float:
        """The seconds of one run."""
        ids = _ids(self.tokens, model.vocab_size)
        begun = perf_counter()
        self.run(model, ids)
        return perf_counter() - begun

    def measure(self, model: TextModel, repeats: int, ceilings: Ceilings) -> Figure:
        """Tokens a second in each of `repeats` runs, after one that does not count."""
        self.once(model)
        seconds = [self.once(model) for _ in range(repeats)]
        least = sum(one.least_seconds(ceilings) for one in self.steps(model, self.tokens))
        rates = tuple(self.tokens / s for s in seconds)
        return Figure(self.name, "tokens/s", rates, least / median(seconds))


def prompt(tokens: int) -> Test:
    """A prompt of so many tokens."""
    return Test(f"pp{tokens}", tokens, _prefill, _prefill_steps)


def generation(tokens: int) -> Test:
    """So many tokens generated, each of them a step of its own, from an empty cache on."""
    return Test(f"tg{tokens}", tokens, _decode, _decode_steps)


def profiled(tests: Sequence[Test], model: TextModel) -> Recorder:
    """What happens in one more run of each test."""
    with profile.recording() as recorder:
        for test in tests:
            with profile.span(test.name, "request", tokens=test.tokens):
                test.once(model)
    return recorder


def _ids(tokens: int, vocab_size: int) -> list[int]:
    """The same tokens each time; which they are costs nothing."""
    random = np.random.Generator(np.random.Philox(0))
    return [int(i) for i in random.integers(vocab_size, size=tokens)]


def _prefill(model: TextModel, ids: Sequence[int]) -> None:
    model.session(capacity_for(len(ids), model.context_length)).feed(ids)


def _decode(model: TextModel, ids: Sequence[int]) -> None:
    session = model.session(capacity_for(len(ids), model.context_length))
    for i in ids:
        session.feed([i])


def _prefill_steps(model: TextModel, tokens: int) -> Iterator[Work]:
    for past in range(0, tokens, PREFILL_CHUNK):
        chunk = min(PREFILL_CHUNK, tokens - past)
        yield work(model, "prefill", chunk, past + chunk)


def _decode_steps(model: TextModel, tokens: int) -> Iterator[Work]:
    """All alike: what a step reads grows evenly, so that the middle one stands for them."""
    middle = work(model, "decode", 1, (tokens + 1) // 2)
    return iter([middle] * tokens)
