"""Log-probabilities of tokens under the model's own distribution. Knows no sampling parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .largest import descending
from .sampling import SamplingError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """A token, its natural log-probability, and the likeliest tokens as (id, logprob).

    `top` has the likeliest first, of equals the smaller id. `logprob` is None if not asked for.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


def largest_logit(logits: Array, whose: str = "the logits") -> int:
    """Where the largest of `logits` [vocab] is, of equals the first.

    Raises `SamplingError` for a NaN, or if nothing is above −inf.
    """
    best = int(logits.argmax())  # of NaNs, argmax finds the first
    if np.isnan(logits[best]) or logits[best] == -np.inf:
        what = "a NaN" if np.isnan(logits[best]) else "nothing above −inf"
        raise SamplingError(f"{whose} hold {what}; the model or its weights are broken")
    return best


def score(logits: Array, token: int, top: int) -> Choice:
    """What `logits` [vocab] say of `token`, and the `top` likeliest tokens. Exact to 1e-6.

    A logit of +inf is certain, the first if there are several.
    """
    best = largest_logit(logits)
    if logits[best] == np.inf:
        logits = np.where(np.arange(len(logits)) == best, np.float32(0), np.float32(-np.inf))
    with np.errstate(over="ignore"):  # far below is −inf
        weights = np.exp((logits - logits[best]).astype(np.float32))
    norm = float(logits[best]) + float(np.log(weights.sum(dtype=np.float64)))
    likeliest = descending(logits, min(top, len(logits))) if top else ()
    return Choice(
        token,
        float(logits[token]) - norm,
        tuple((int(i), float(logits[i]) - norm) for i in likeliest),
    )


def score_tokens(logits: Array, tokens: Sequence[int], top: int) -> list[Choice]:
    """What each row of `logits` [T, vocab] says of its token, for `prompt_logprobs`.

    Row t of a prompt's logits speaks of the prompt's token t + 1.
    """
    if logits.shape[0] != len(tokens):
        message = f"{logits.shape[0]} rows of logits for {len(tokens)} tokens, wanted one for each"
        raise SamplingError(message)
    return [score(row, token, top) for row, token in zip(logits, tokens, strict=True)]
