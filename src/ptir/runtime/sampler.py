"""From logits to the next token of one sequence. Knows no model and no text."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from .draw import draw
from .filters import candidates
from .logprobs import Choice, largest_logit, score
from .penalties import Penalties
from .sampling import Processor, Sampling, SamplingError

Array = np.ndarray[Any, Any]


@final
class Sampler:
    """Chooses the tokens of one sequence, by the steps that `Sampling` lists."""

    def __init__(self, sampling: Sampling, eos_ids: Iterable[int] = ()) -> None:
        """`eos_ids` are the model's ends of text, which `min_tokens` holds back."""
        self.sampling = sampling
        self.seed = secrets.randbits(32) if sampling.seed is None else sampling.seed
        self._random = np.random.Generator(np.random.Philox(self.seed))
        self._eos_ids = tuple(eos_ids)
        self._penalties: Penalties | None = None  # made when the vocabulary is known

    def choose(self, logits: Array, history: Sequence[int]) -> Choice:
        """The token behind `history`, from the model's logits, float [vocab], left as they are.

        `history` is the prompt at the first call, and grows by what was generated. Above
        temperature 0 each call takes one number of the random stream. Raises `SamplingError` for a
        NaN, nothing above −inf, or a processor that fails.
        """
        if logits.ndim != 1 or not len(logits):
            raise SamplingError(f"the logits have shape {logits.shape}, wanted [vocab], not empty")
        if logits.dtype not in (np.float32, np.float64):
            logits = logits.astype(np.float32)
        best = largest_logit(logits)
        adjusted = self._adjusted(logits, history)
        if adjusted is not logits:
            best = largest_logit(adjusted)
        token = best if self.sampling.temperature == 0 else self._draw(adjusted, best)
        if self.sampling.logprobs is None:
            return Choice(token)
        return score(logits, token, self.sampling.logprobs)

    def _adjusted(self, logits: Array, history: Sequence[int]) -> Array:
        """The logits behind steps 1 to 3; those given, if there is nothing to do."""
        if self._penalties is None:
            self._penalties = Penalties(self.sampling, len(logits), self._eos_ids)
        processors = self.sampling.processors
        if not self._penalties.active and not processors:
            return logits
        adjusted = logits.copy()
        if self._penalties.active:
            self._penalties.apply(adjusted, history)
            if adjusted.max() == -np.inf:
                message = "logit_bias, min_tokens and penalties leave no token above −inf"
                raise SamplingError(f"{message}; ban fewer tokens")
        before = tuple(history) if processors else ()
        for processor in processors:
            adjusted = _processed(processor, before, adjusted)
        return adjusted

    def _draw(self, logits: Array, best: int) -> int:
        number = self._random.random()
        if logits[best] == np.inf:
            return best
        ids, scaled = candidates(logits, self.sampling)
        chosen = draw(scaled, number)
        return chosen if ids is None else int(ids[chosen])


def _processed(processor: Processor, history: tuple[int, ...], logits: Array) -> Array:
    """What a processor makes of logits that it may write into, checked."""
    size, dtype = len(logits), logits.dtype
    name = getattr(processor, "__qualname__", type(processor).__qualname__)
    try:
        returned = np.asarray(processor(history, logits))
    except Exception as error:
        message = f"processor {name} failed with {type(error).__name__}: {error}"
        raise SamplingError(message) from error
    if returned.shape != (size,) or not np.can_cast(returned.dtype, dtype, "same_kind"):
        message = f"processor {name} returned {returned.dtype} of shape {returned.shape}"
        raise SamplingError(f"{message}, wanted the logits, changed or not: {dtype} ({size},)")
    with np.errstate(over="ignore"):  # beyond f32 is certain, or banned
        made = returned.astype(dtype, copy=False)
    worst = made.max()  # a NaN, if there is one
    if np.isnan(worst) or worst == -np.inf:
        what = "a NaN" if np.isnan(worst) else "nothing above −inf"
        raise SamplingError(f"processor {name} returned {what}; leave one token at least")
    return made
