"""From logits to the next token. Knows no model and no text."""

import secrets
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ptir.ir import PtirError


class SamplingError(PtirError):
    """Sampling parameters that make no sense, or logits from which nothing can be sampled."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; `temperature=0` is greedy: the largest logit, of equals the first.

    The same seed gives the same tokens; without one, a fresh seed is drawn, which `Generation.seed`
    tells.
    """

    temperature: float = 0.8
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            message = f"temperature is {self.temperature}, wanted a finite number from 0 up"
            raise SamplingError(message)
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise SamplingError(f"seed is {self.seed}, wanted 0 ≤ seed < 2**64")


@final
class Sampler:
    """Chooses the tokens of one sequence. Each draw uses one number of its own random stream."""

    def __init__(self, sampling: Sampling) -> None:
        self.temperature = sampling.temperature
        self.seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        self._random = np.random.Generator(np.random.Philox(self.seed))

    def choose(self, logits: np.ndarray[Any, Any]) -> int:
        """The next token id from logits [vocab].

        +inf is certain: the first one is taken. Raises `SamplingError` for a NaN or all −inf.
        """
        scores = logits.astype(np.float64)
        top = int(scores.argmax())  # of NaNs, argmax finds the first
        if np.isnan(scores[top]) or scores[top] == -np.inf:
            what = "a NaN" if np.isnan(scores[top]) else "nothing above −inf"
            raise SamplingError(f"the logits hold {what}; the model or its weights are broken")
        if self.temperature == 0 or scores[top] == np.inf:
            return top
        with np.errstate(over="ignore"):  # at a tiny temperature all but the largest are at −inf
            weights = np.exp((scores - scores[top]) / self.temperature)
        edges = np.cumsum(weights)
        draw = self._random.random() * edges[-1]
        return int(min(np.searchsorted(edges, draw, side="right"), len(edges) - 1))
