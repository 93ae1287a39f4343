"""Biases, bans and penalties, against transformers and a count of the whole history."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from ptir import Sampling
from ptir.runtime import SamplingError
from ptir.runtime.penalties import Counts, Penalties

INF = math.inf
VOCAB = 500


def logits_of(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(VOCAB) * 3).astype(np.float32)


def applied(sampling: Sampling, *histories, eos=(), logits=None) -> np.ndarray:
    """What the last of the histories makes of the logits, after those before it."""
    penalties = Penalties(sampling, VOCAB, eos)
    for history in histories:
        out = logits_of(0) if logits is None else np.array(logits, np.float32)
        penalties.apply(out, history)
    return out


def some_ids(n: int, seed: int) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, 100, n)]


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 10.0])
@pytest.mark.parametrize("length", [1, 10, 2000])
def test_the_repetition_penalty_is_that_of_transformers_on_prompt_and_text(penalty, length):
    history = some_ids(length, seed=length)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)
    expected = theirs(torch.tensor([history]), torch.from_numpy(logits_of(0))[None])[0]
    sampling = Sampling(repetition_penalty=penalty)
    for prompt_tokens in (1, length):
        ours = applied(sampling, history[:prompt_tokens], history)
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_presence_and_frequency_penalties_count_what_was_generated_alone():
    history = some_ids(60, seed=1)
    counts = Counter(history[20:])
    expected = logits_of(0).astype(float)
    for token, count in counts.items():
        expected[token] -= 0.7 + 0.3 * count
    sampling = Sampling(presence_penalty=0.7, frequency_penalty=0.3)
    np.testing.assert_allclose(applied(sampling, history[:20], history), expected, rtol=1e-6)


def test_the_bias_comes_first_then_repetition_then_what_is_subtracted():
    sampling = Sampling(
        repetition_penalty=2, presence_penalty=0.5, frequency_penalty=0.25, logit_bias={3: 5, 4: -5}
    )
    logits = np.ones(VOCAB)
    found = applied(sampling, [3], [3, 3, 4, 4], logits=logits)
    assert found[3] == (1 + 5) / 2 - 0.25 - 0.5
    assert found[4] == (1 - 5) * 2 - 2 * 0.25 - 0.5
    assert np.all(np.delete(found, [3, 4]) == 1)


def test_a_history_that_comes_in_parts_counts_as_one_that_comes_whole():
    history = some_ids(300, seed=2)
    sampling = Sampling(repetition_penalty=1.2, presence_penalty=0.1, frequency_penalty=0.2)
    parts = [history[:n] for n in (10, 10, 11, 12, 50, 299, 300)]
    assert np.array_equal(applied(sampling, *parts), applied(sampling, history[:10], history))


def test_each_token_is_counted_once_however_often_it_is_asked_about():
    class Watched(list[int]):
        read = 0

        def __getitem__(self, item):
            found = super().__getitem__(item)
            Watched.read += len(found)
            return found

    penalties = Penalties(Sampling(frequency_penalty=1), VOCAB, ())
    history = Watched(some_ids(1000, seed=3))
    for _ in range(50):
        history.append(7)
        penalties.apply(logits_of(0), history)
    assert Watched.read == 1050


def test_counts_are_those_of_a_counter_with_strangers_passed_over():
    prompt, text = some_ids(500, seed=4), some_ids(700, seed=5)
    counts = Counts(80)  # ids from 80 on are strangers
    counts.note([*prompt, -1, 10**9], generated=False)
    counts.note(text, generated=True)
    expected = Counter(i for i in text if i < 80)
    assert sorted(counts.ids.tolist()) == sorted({i for i in prompt + text if i < 80})
    assert dict(zip(counts.ids.tolist(), counts.generated.tolist(), strict=True)) == {
        i: expected[i] for i in counts.ids.tolist()
    }


def test_a_ban_holds_even_for_a_certain_token():
    logits = np.zeros(VOCAB)
    logits[[1, 2]] = INF
    found = applied(Sampling(logit_bias={1: -INF, 2: -5}), [0], logits=logits)
    assert (found[1], found[2]) == (-INF, INF)


def test_ends_are_held_back_until_min_tokens_were_generated():
    sampling = Sampling(min_tokens=2, stop_token_ids=[8, VOCAB + 5])
    for generated, banned in ((0, {7, 8}), (1, {7, 8}), (2, set()), (3, set())):
        found = applied(sampling, [1, 2], [1, 2] + [3] * generated, eos=(7,))
        assert set(np.flatnonzero(found == -INF).tolist()) == banned


def test_an_end_that_is_ignored_is_not_held_back():
    sampling = Sampling(min_tokens=2, stop_token_ids=[8], ignore_eos=True)
    found = applied(sampling, [1], eos=(7,))
    assert np.flatnonzero(found == -INF).tolist() == [8]


@pytest.mark.parametrize("size", [1e-300, 3e38])
def test_penalties_out_of_all_proportion_give_no_nan(size):
    logits = np.zeros(VOCAB)
    logits[:6] = [INF, -INF, 3e38, -3e38, 0, 1]
    for sign in (-1, 1):
        by = {"presence_penalty": sign * size, "frequency_penalty": sign * size}
        bias = dict.fromkeys(range(6), sign * size)
        sampling = Sampling(repetition_penalty=size, logit_bias=bias, **by)
        found = applied(sampling, [0], [0] + list(range(6)) * 9, logits=logits)
        assert not np.isnan(found).any()


def test_a_history_that_shrinks_is_refused():
    with pytest.raises(SamplingError, match="the history has 2 tokens, and had 3"):
        applied(Sampling(frequency_penalty=1), [1, 2, 3], [1, 2])


def test_without_anything_to_do_it_says_so():
    assert not Penalties(Sampling(stop_token_ids=[3]), VOCAB, (7,)).active
    for sampling in (
        Sampling(min_tokens=1),
        Sampling(logit_bias={1: 1}),
        Sampling(repetition_penalty=1.1),
        Sampling(presence_penalty=-1),
        Sampling(frequency_penalty=1),
    ):
        assert Penalties(sampling, VOCAB, ()).active
