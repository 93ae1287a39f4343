"""From logits to a token: the rule for every kind of logits, the distribution, the steps' order."""

import math
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ptir import Sampling
from ptir.runtime import Choice, Sampler, SamplingError
from ptir.runtime.filters import candidates

INF, NAN = math.inf, math.nan
EVERYTHING: dict[str, Any] = {
    "top_k": 40,
    "typical_p": 0.95,
    "top_p": 0.9,
    "min_p": 0.01,
    "repetition_penalty": 1.2,
    "presence_penalty": 0.3,
    "frequency_penalty": 0.2,
}


def choose(logits: list[float], temperature: float = 0.0, seed: int = 0, **more: Any) -> int:
    sampler = Sampler(Sampling(temperature, seed, **more))
    return sampler.choose(np.array(logits, np.float32), ()).token


def random_logits(n: int, seed: int, spread: float = 4.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n) * spread).astype(np.float32)


def run(sampler: Sampler, rows: list[np.ndarray], prompt: tuple[int, ...] = (1, 2, 3)) -> list[int]:
    """The tokens of a sequence whose logits are `rows`, whatever its tokens are."""
    history = list(prompt)
    for logits in rows:
        history.append(sampler.choose(logits, history).token)
    return history[len(prompt) :]


def test_greedy_takes_the_largest():
    assert choose([1, 3, 2]) == 1


def test_greedy_takes_the_first_of_equals():
    assert choose([1, 3, 3, 3]) == 1
    assert choose([-0.0, 0.0]) == 0


def test_greedy_passes_over_minus_infinity():
    assert choose([-INF, -1e30, -INF]) == 1


def test_greedy_runs_no_filter():
    logits = np.log(np.array([0.45] + [0.1] * 5 + [0.05]))
    assert choose(logits, typical_p=0.25) == 0  # which typical would leave out
    assert choose(logits, 1.0, typical_p=0.25) in (1, 2, 3)


def test_top_k_of_one_is_greedy_at_every_temperature():
    assert {choose([1, 3, 3, 3], 100.0, seed, top_k=1) for seed in range(20)} == {1}


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 0.8, 1e300])
@pytest.mark.parametrize("logits", [[NAN], [1, NAN, 2], [INF, NAN], [-INF, NAN]])
def test_a_nan_is_refused_at_every_temperature(logits, temperature):
    with pytest.raises(SamplingError, match="the logits hold a NaN"):
        choose(logits, temperature, **EVERYTHING)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_nothing_above_minus_infinity_is_refused(temperature):
    with pytest.raises(SamplingError, match="the logits hold nothing above −inf"):
        choose([-INF, -INF], temperature, **EVERYTHING)


def test_bans_on_all_that_is_left_are_refused():
    with pytest.raises(SamplingError, match="leave no token above −inf; ban fewer"):
        choose([-INF, 1, 2], logit_bias={1: -INF, 2: -INF})


@pytest.mark.parametrize("shape", [(), (0,), (1, 3)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(SamplingError, match=r"shape .* wanted \[vocab\]"):
        Sampler(Sampling()).choose(np.zeros(shape, np.float32), ())


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("more", [{}, EVERYTHING])
def test_plus_infinity_is_certain_and_the_first_is_taken(temperature, more):
    for seed in range(20):
        assert choose([5, INF, INF, -INF], temperature, seed, **more) == 1


def test_a_token_at_minus_infinity_is_never_drawn():
    sampler = Sampler(Sampling(5.0, 0))
    logits = np.array([-INF, 0, -INF, 0, -INF], "f4")
    assert {sampler.choose(logits, ()).token for _ in range(500)} == {1, 3}


@pytest.mark.parametrize("draw, chosen", [(0.0, 1), (0.5, 3), (np.nextafter(1, 0), 3)])
def test_the_ends_of_a_draw_choose_only_what_is_possible(monkeypatch, draw, chosen):
    sampler = Sampler(Sampling(1.0, 0))
    monkeypatch.setattr(sampler, "_random", SimpleNamespace(random=lambda: draw))
    assert sampler.choose(np.array([-INF, 0, -INF, 0, -INF], "f4"), ()).token == chosen


FILTERS: list[dict[str, Any]] = [
    {},
    {"top_k": 5},
    {"top_p": 0.6},
    {"min_p": 0.3},
    {"typical_p": 0.6},
]
FILTERS += [{"top_k": 8, "top_p": 0.9, "min_p": 0.05}]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_draws_follow_the_softmax_of_what_the_filters_leave(temperature, filters):
    logits, n = random_logits(12, 3, 1.0), 6_000
    sampling = Sampling(temperature, 42, **filters)
    ids, scaled = candidates(logits, sampling)
    expected = np.zeros(12)
    expected[slice(None) if ids is None else ids] = n * np.exp(scaled) / np.exp(scaled).sum()
    sampler = Sampler(sampling)
    counts = np.bincount([sampler.choose(logits, ()).token for _ in range(n)], minlength=12)
    possible = expected > 0
    assert not counts[~possible].any()
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < CRITICAL[int(possible.sum()) - 1]


# Of so many degrees of freedom: exceeded once in 1,000 seeds (Abramowitz and Stegun, table 26.8).
CRITICAL = dict(
    enumerate((1e-9, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.13, 27.88, 29.59, 31.26))
)


def test_plain_draws_follow_the_softmax_of_the_logits_over_temperature():
    logits, n = np.array([0.0, 1.0, -1.0, 2.0, 0.5], "f4"), 20_000
    for temperature in (0.5, 1.0, 3.0):
        sampler = Sampler(Sampling(temperature, 42))
        counts = np.bincount([sampler.choose(logits, ()).token for _ in range(n)], minlength=5)
        scaled = np.exp(logits.astype(float) / temperature)
        expected = n * scaled / scaled.sum()
        assert ((counts - expected) ** 2 / expected).sum() < CRITICAL[4]


def test_a_tiny_temperature_is_greedy():
    assert {choose([1, 1.001, 0.5], 1e-300, seed) for seed in range(20)} == {1}


def test_a_huge_temperature_is_even():
    assert {choose([-50, 50, 0], 1e300, seed) for seed in range(60)} == {0, 1, 2}


# What the first version of the sampler, which had the temperature alone, gave.
FIRST = {
    (0, 0.8): [103, 416, 695, 342, 956, 416, 901, 416],
    (1, 1.0): [199, 234, 49, 861, 416, 418, 631, 695],
    (1 << 63, 1.7): [375, 49, 664, 828, 861, 338, 801, 300],
}


@pytest.mark.parametrize("seed, temperature", FIRST)
def test_a_seed_gives_the_tokens_that_it_always_gave(seed, temperature):
    logits = random_logits(1000, 7)
    found = run(Sampler(Sampling(temperature, seed)), [logits] * 8)
    assert found == FIRST[seed, temperature]


def test_the_seed_repeats_the_tokens():
    rows = [random_logits(300, seed, 1.0) for seed in range(30)]
    first, again, other = (run(Sampler(Sampling(1.0, s, **EVERYTHING)), rows) for s in (3, 3, 4))
    assert first == again != other


def test_sequences_side_by_side_give_the_tokens_of_each_alone():
    rows = [random_logits(300, seed, 1.0) for seed in range(30)]
    kinds: list[dict[str, Any]] = [
        {},
        {"top_k": 5},
        EVERYTHING,
        {"temperature": 0},
        {"logprobs": 3},
    ]
    sampling = [Sampling(seed=i, **kind) for i, kind in enumerate(kinds)]
    alone = [run(Sampler(s), rows) for s in sampling]
    samplers, histories = [Sampler(s) for s in sampling], [[1, 2, 3] for _ in sampling]
    for logits in rows:
        for sampler, history in zip(samplers, histories, strict=True):
            history.append(sampler.choose(logits, history).token)
    assert [history[3:] for history in histories] == alone


@pytest.mark.parametrize("between", [[INF, 1, 2], [5, -INF, -INF], [0, 0, 0]])
@pytest.mark.parametrize("filters", [{}, {"top_k": 1}, EVERYTHING])
def test_each_token_takes_one_number_whatever_its_logits(between, filters):
    sampler = Sampler(Sampling(1.0, 5, **filters))
    sampler.choose(np.array(between, np.float32), ())
    numbers = np.random.Generator(np.random.Philox(5))
    numbers.random()
    assert sampler._random.random() == numbers.random()


def test_without_a_seed_a_fresh_one_is_drawn_and_told():
    first, second = (Sampler(Sampling(1.0)) for _ in range(2))
    assert first.seed != second.seed
    logits = np.zeros(100_000, "f4")
    assert Sampler(Sampling(1.0, first.seed)).choose(logits, ()) == first.choose(logits, ())


def test_greedy_is_the_same_without_a_seed():
    assert Sampler(Sampling(temperature=0)).choose(np.array([1, 2], "f4"), ()) == Choice(1)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64, np.int32])
def test_logits_of_every_dtype_are_taken(dtype):
    logits = np.round(random_logits(100, 1, 10.0))
    kinds: list[dict[str, Any]] = [{"temperature": 0}, {}, EVERYTHING]
    for more in kinds:
        ours, theirs = (Sampler(Sampling(seed=1, logprobs=2, **more)) for _ in range(2))
        assert ours.choose(logits.astype(dtype), ()) == theirs.choose(logits, ())


@pytest.mark.parametrize("more", [{}, EVERYTHING, {"logit_bias": {1: 5}}])
def test_the_logits_given_are_left_as_they_are(more):
    def spoil(history, logits):
        logits[:] = 0
        return logits

    logits = random_logits(100, 1)
    logits.flags.writeable = False
    Sampler(Sampling(seed=1, logprobs=3, processors=[spoil], **more)).choose(logits, [1, 2])
    assert np.array_equal(logits, random_logits(100, 1))


def test_logprobs_are_of_the_model_whatever_is_done_to_its_logits():
    logits = random_logits(100, 1)
    changed = Sampling(3.0, 1, logprobs=2, logit_bias={7: 90}, **EVERYTHING)
    found = Sampler(changed).choose(logits, [1, 2])
    raw = logits.astype(float) - np.log(np.exp(logits.astype(float)).sum())
    assert found.token == 7
    assert found.logprob == pytest.approx(raw[7])
    assert [i for i, _ in found.top] == np.argsort(-raw)[:2].tolist()


def test_no_logprobs_come_unasked_and_none_for_the_likeliest_at_zero():
    logits = random_logits(10, 1)
    assert Sampler(Sampling(0)).choose(logits, ()).logprob is None
    found = Sampler(Sampling(0, logprobs=0)).choose(logits, ())
    assert found.logprob is not None
    assert found.top == ()


def test_a_biased_token_outside_the_vocabulary_is_refused():
    with pytest.raises(SamplingError, match="logit_bias names token 3, wanted ids below 3"):
        choose([1, 2, 3], logit_bias={3: 1})


def test_the_end_of_text_is_held_back_until_min_tokens_were_generated():
    logits = np.array([0, 9, 1], np.float32)
    assert run(Sampler(Sampling(0, min_tokens=2), eos_ids=[1]), [logits] * 4) == [2, 2, 1, 1]
