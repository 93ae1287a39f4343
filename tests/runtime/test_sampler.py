"""From logits to a token: the rule for every kind of logits, and the distribution."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from ptir import Sampling
from ptir.runtime import SamplingError
from ptir.runtime.sampler import Sampler

INF, NAN = math.inf, math.nan


def choose(logits: list[float], temperature: float = 0.0, seed: int = 0) -> int:
    return Sampler(Sampling(temperature, seed)).choose(np.array(logits, np.float32))


def test_greedy_takes_the_largest():
    assert choose([1, 3, 2]) == 1


def test_greedy_takes_the_first_of_equals():
    assert choose([1, 3, 3, 3]) == 1
    assert choose([-0.0, 0.0]) == 0


def test_greedy_passes_over_minus_infinity():
    assert choose([-INF, -1e30, -INF]) == 1


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 0.8, 1e300])
@pytest.mark.parametrize("logits", [[NAN], [1, NAN, 2], [INF, NAN], [-INF, NAN]])
def test_a_nan_is_refused_at_every_temperature(logits, temperature):
    with pytest.raises(SamplingError, match="NaN"):
        choose(logits, temperature)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_nothing_above_minus_infinity_is_refused(temperature):
    with pytest.raises(SamplingError, match="nothing above −inf"):
        choose([-INF, -INF], temperature)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_plus_infinity_is_certain_and_the_first_is_taken(temperature):
    for seed in range(20):
        assert choose([5, INF, INF, -INF], temperature, seed) == 1


def test_a_token_at_minus_infinity_is_never_drawn():
    sampler = Sampler(Sampling(5.0, 0))
    drawn = {sampler.choose(np.array([-INF, 0, -INF, 0, -INF], "f4")) for _ in range(500)}
    assert drawn == {1, 3}


@pytest.mark.parametrize("draw, chosen", [(0.0, 1), (0.5, 3), (np.nextafter(1, 0), 3)])
def test_the_ends_of_a_draw_choose_only_what_is_possible(monkeypatch, draw, chosen):
    sampler = Sampler(Sampling(1.0, 0))
    monkeypatch.setattr(sampler, "_random", SimpleNamespace(random=lambda: draw))
    assert sampler.choose(np.array([-INF, 0, -INF, 0, -INF], "f4")) == chosen


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_softmax_of_the_logits_over_temperature(temperature):
    logits, n = np.array([0.0, 1.0, -1.0, 2.0, 0.5], "f4"), 20_000
    sampler = Sampler(Sampling(temperature, 42))
    counts = np.bincount([sampler.choose(logits) for _ in range(n)], minlength=5)
    scaled = np.exp(logits.astype(float) / temperature)
    expected = n * scaled / scaled.sum()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 18.47  # of 4 degrees of freedom: exceeded once in 1,000 seeds


def test_a_tiny_temperature_is_greedy():
    assert {choose([1, 1.001, 0.5], 1e-300, seed) for seed in range(20)} == {1}


def test_a_huge_temperature_is_even():
    assert {choose([-50, 50, 0], 1e300, seed) for seed in range(60)} == {0, 1, 2}


def test_the_seed_repeats_the_draws():
    logits = np.zeros(1000, "f4")

    def draws(seed: int) -> list[int]:
        sampler = Sampler(Sampling(1.0, seed))
        return [sampler.choose(logits) for _ in range(10)]

    assert draws(3) == draws(3)
    assert draws(3) != draws(4)


def test_without_a_seed_a_fresh_one_is_drawn_and_told():
    first, second = (Sampler(Sampling(1.0)) for _ in range(2))
    assert first.seed != second.seed
    logits = np.zeros(100_000, "f4")
    assert Sampler(Sampling(1.0, first.seed)).choose(logits) == first.choose(logits)


def test_greedy_is_the_same_without_a_seed():
    assert Sampler(Sampling(temperature=0)).choose(np.array([1, 2], "f4")) == 1


@pytest.mark.parametrize("temperature", [-0.1, NAN, INF, -INF])
def test_a_temperature_that_makes_no_sense_is_refused(temperature):
    with pytest.raises(SamplingError, match="temperature"):
        Sampling(temperature)


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_outside_64_bits_is_refused(seed):
    with pytest.raises(SamplingError, match="seed"):
        Sampling(seed=seed)
