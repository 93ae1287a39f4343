"""The filters: what is kept, against transformers; never nothing; in the order that is written."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from ptir import Sampling
from ptir.runtime.filters import candidates, min_p, top_p, typical

WARPERS = {
    "top_k": TopKLogitsWarper,
    "typical_p": TypicalLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
}
SIZES = (1, 2, 50, 1000, 50_257)


def random_logits(n: int, seed: int, spread: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * spread).astype(np.float32)


def kept(logits: np.ndarray, temperature: float = 1.0, **filters: Any) -> list[int]:
    ids, scaled = candidates(logits, Sampling(temperature, **filters))
    assert len(scaled) == len(logits if ids is None else ids)
    return list(range(len(logits))) if ids is None else ids.tolist()


def warped(logits: np.ndarray, temperature: float, filters) -> torch.Tensor:
    """f64 [vocab]: what transformers makes of the logits, its filters in the order given."""
    scores = torch.from_numpy(logits).double()[None]
    warpers = [TemperatureLogitsWarper(float(temperature))]
    for warper in warpers + [WARPERS[name](value) for name, value in filters]:
        scores = warper(None, scores)
    return scores[0]


def allowed(scores: torch.Tensor) -> list[int]:
    return [int(i) for i in torch.isfinite(scores).nonzero().flatten()]


FILTERS = [
    *(("top_k", k) for k in (1, 2, 40, 999, 1_000_000)),
    *(("typical_p", p) for p in (0.01, 0.2, 0.5, 0.9, 0.999)),
    *(("top_p", p) for p in (0.0, 0.01, 0.2, 0.5, 0.9, 0.999)),
    *(("min_p", p) for p in (0.001, 0.05, 0.3, 0.9, 1.0)),
]


@pytest.mark.parametrize("name, value", FILTERS)
@pytest.mark.parametrize("n", SIZES)
def test_a_filter_keeps_what_that_of_transformers_keeps(name, value, n):
    for seed, (spread, temperature) in enumerate([(3.0, 1.0), (1.0, 0.7), (6.0, 1.5)]):
        logits = random_logits(n, seed, spread)
        expected = allowed(warped(logits, temperature, [(name, value)]))
        assert kept(logits, temperature, **{name: value}) == expected


@pytest.mark.parametrize("seed", range(20))
def test_all_filters_give_the_distribution_of_transformers_in_our_order(seed):
    logits = random_logits(2000, seed)
    filters: dict[str, Any] = {"top_k": 60, "typical_p": 0.9, "top_p": 0.8, "min_p": 0.05}
    scores = warped(logits, 0.9, filters.items())
    ids, scaled = candidates(logits, Sampling(0.9, **filters))
    assert ids is not None
    assert ids.tolist() == allowed(scores)
    weights = np.exp(scaled)
    expected = scores.softmax(-1).numpy()[ids]
    np.testing.assert_allclose(weights / weights.sum(), expected, rtol=1e-6)


def test_every_other_order_keeps_something_else():
    filters: dict[str, Any] = {"top_k": 60, "typical_p": 0.8, "top_p": 0.8, "min_p": 0.3}
    cases = [random_logits(200, seed, spread) for seed in range(100) for spread in (0.5, 1.0)]
    ours = [kept(logits, **filters) for logits in cases]
    for order in permutations(filters.items()):
        theirs = [allowed(warped(logits, 1.0, order)) for logits in cases]
        assert (theirs == ours) == (order == tuple(filters.items())), order


def test_the_filters_see_the_temperature():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    assert kept(logits, 1.0, top_p=0.7) == [0, 1]
    assert kept(logits, 0.3, top_p=0.7) == [0]
    assert kept(logits, 3.0, top_p=0.7) == [0, 1, 2]
    assert kept(logits, 1.0, min_p=0.5) == [0, 1]
    assert kept(logits, 3.0, min_p=0.5) == [0, 1, 2]


def test_of_equals_the_first_stay():
    level = np.zeros(10, np.float32)
    assert kept(level, top_k=3) == [0, 1, 2]
    assert kept(level, top_p=0.25) == [0, 1, 2]
    assert kept(level, typical_p=0.25) == [0, 1, 2]
    assert kept(level, min_p=1.0) == list(range(10))


def test_the_ends_of_the_ranges_keep_the_best_or_all():
    logits = random_logits(1000, 1)
    best, everything = [int(logits.argmax())], list(range(1000))
    assert kept(logits, top_p=0.0) == kept(logits, min_p=1.0) == kept(logits, top_k=1) == best
    assert len(kept(logits, typical_p=0.0)) == 1
    assert kept(logits, top_k=1000) == kept(logits, top_k=0) == everything
    assert kept(logits, top_p=1.0, min_p=0.0, typical_p=1.0) == everything


def test_typical_may_leave_out_the_likeliest():
    # Entropy 1.66: the likeliest's surprise of 0.80 is farther from it than the 2.30 of others.
    logits = np.log(np.array([0.45] + [0.1] * 5 + [0.05], np.float32))
    assert kept(logits, typical_p=0.25) == [1, 2, 3]


PROBABILITIES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 5e-324, 1e-9, 1 - 1e-16, 1.0]))
LOGITS = st.lists(
    st.one_of(
        st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([-np.inf, 0.0])
    ),
    min_size=1,
    max_size=40,
).filter(lambda values: max(values) > -np.inf)


@settings(max_examples=500)
@given(
    LOGITS,
    st.floats(5e-324, 1e308),
    st.integers(0, 50),
    PROBABILITIES,
    PROBABILITIES,
    PROBABILITIES,
)
def test_no_filters_together_leave_nothing(values, temperature, k, first, second, third):
    logits = np.array(values, np.float32)
    filters: dict[str, Any] = {"top_k": k, "typical_p": first, "top_p": second, "min_p": third}
    sampling = Sampling(temperature, **filters)
    ids, scaled = candidates(logits, sampling)
    left = np.arange(len(logits)) if ids is None else ids
    assert len(left)
    assert np.all(np.diff(left) > 0)  # once each, and ascending: a draw depends on it
    weights = np.exp(scaled)
    assert weights.sum() > 0
    assert not weights[logits[left] == -np.inf].any()
    if first == 1:  # all but typical keep the best, or one that the temperature made as likely
        behind = np.float64(logits[left].max()) - logits.max()
        assert np.exp(behind / temperature) == 1


@given(LOGITS, PROBABILITIES)
def test_each_filter_keeps_one_at_least_and_no_duplicate(values, p):
    scaled = np.array(values, np.float64)
    scaled -= scaled.max()
    for keep in (typical, top_p) + ((min_p,) if p else ()):
        indices = keep(scaled, p) if p < 1 or keep is min_p else np.array([0])
        assert len(indices)
        assert np.all(np.diff(indices) > 0)
