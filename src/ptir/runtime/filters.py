"""Which tokens may be drawn: top-k, typical, top-p and min-p. Knows no history and no randomness.

All but `top_k` take candidates as scaled logits: f64 [n], minus the largest, over the temperature.
They return ascending indices of those that stay, one at least.
"""

from math import log
from typing import Any

import numpy as np

from .draw import NEGLIGIBLE, weigh
from .largest import largest
from .sampling import Sampling

Array = np.ndarray[Any, Any]

SPAN = 64.0  # how far below the best key candidates are told apart: exp(−64) is no mass
BINS = 4096


def candidates(logits: Array, sampling: Sampling) -> tuple[Array | None, Array]:
    """The token ids that may be drawn, ascending, and their scaled logits; None for all tokens.

    `logits` [vocab] are finite or −inf, and not all −inf; the temperature is above 0.
    """
    ids = None
    if 0 < sampling.top_k < len(logits):  # ahead of the temperature, which changes no order
        ids = largest(logits, sampling.top_k)
        logits = logits[ids]
    scaled = _scaled(logits, sampling.temperature)
    for wanted, share, keep in (
        (sampling.typical_p < 1, sampling.typical_p, typical),
        (sampling.top_p < 1, sampling.top_p, top_p),
        (sampling.min_p > 0, sampling.min_p, min_p),
    ):
        if wanted:
            kept = keep(scaled, share)
            ids = kept if ids is None else ids[kept]
            scaled = scaled[kept]
    return ids, scaled


def typical(scaled: Array, p: float) -> Array:
    """The fewest whose surprise is nearest to the entropy and that hold `p` of the probability."""
    weights = weigh(scaled)
    # The surprise is log(total) − scaled, and the entropy its mean: log(total) cancels.
    moment = np.maximum(scaled, NEGLIGIBLE)
    moment *= weights  # no np.dot: the threads of a BLAS would cost more than they save
    keys = scaled - moment.sum() / weights.sum(dtype=np.float64)
    np.negative(np.abs(keys, out=keys), out=keys)
    return _fewest(keys, weights, p)


def top_p(scaled: Array, p: float) -> Array:
    """The fewest of the likeliest that hold `p` of the probability."""
    return _fewest(scaled, weigh(scaled), p)


def min_p(scaled: Array, p: float) -> Array:
    """Those at least `p` × as likely as the likeliest; `p` is above 0."""
    return np.flatnonzero(scaled >= scaled.max() + log(p))


def _scaled(logits: Array, temperature: float) -> Array:
    scores = logits.astype(np.float64)  # worked on in place: fresh memory costs more than the work
    scores -= scores.max()
    with np.errstate(over="ignore"):  # at a tiny temperature all but the largest are at −inf
        scores /= temperature
    return scores


def _fewest(keys: Array, weights: Array, p: float) -> Array:
    """The fewest of the largest `keys`, one at least, that hold `p` of all `weights`.

    Keys go into bins, largest first, and only those of the bin where p is reached are sorted.
    """
    bins = np.minimum(keys.max() - keys, SPAN)
    bins *= (BINS - 1) / SPAN
    bins = bins.astype(np.intp)
    held = np.cumsum(np.bincount(bins, weights, BINS))
    share = p * held[-1]
    last = int(np.searchsorted(held, share, side="left"))
    inside = np.flatnonzero(bins == last)
    inside = inside[np.argsort(-keys[inside], kind="stable")]
    before = held[last - 1] if last else 0.0
    reached = np.cumsum(np.concatenate([[before], weights[inside]]))[1:]  # f64, as `before` is
    chosen = bins < last
    chosen[inside[: 1 + int(np.searchsorted(reached, share, side="left"))]] = True
    return np.flatnonzero(chosen)
