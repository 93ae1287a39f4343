"""Log-probabilities, against Torch's log_softmax in f64."""

import math

import numpy as np
import pytest
import torch

from ptir.runtime import SamplingError
from ptir.runtime.logprobs import score, score_tokens

INF, NAN = math.inf, math.nan


def random_logits(*shape: int, spread: float = 4.0, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 50, 50_257])
@pytest.mark.parametrize("spread", [0.1, 4.0, 100.0])
def test_logprobs_are_those_of_torch_in_f64(n, spread):
    logits = random_logits(n, spread=spread)
    expected = torch.from_numpy(logits).double().log_softmax(-1)
    for token in {0, n // 2, n - 1}:
        found = score(logits, token, 20)
        assert found.token == token
        assert found.logprob == pytest.approx(float(expected[token]), rel=1e-6, abs=1e-6)
        values, ids = expected.topk(min(20, n))
        assert [i for i, _ in found.top] == ids.tolist()
        assert [p for _, p in found.top] == pytest.approx(values.tolist(), rel=1e-6, abs=1e-6)


def test_of_equals_the_smaller_id_is_ahead():
    found = score(np.zeros(1000, np.float32), 7, 3)
    assert [i for i, _ in found.top] == [0, 1, 2]
    assert [p for _, p in found.top] == pytest.approx([-math.log(1000)] * 3)


def test_the_number_of_likeliest_is_as_asked_and_the_vocabulary_at_most():
    logits = random_logits(5)
    assert [len(score(logits, 0, n).top) for n in (0, 1, 5, 6, 10**9)] == [0, 1, 5, 5, 5]


def test_what_cannot_come_is_at_minus_infinity():
    found = score(np.array([0, -INF, 0], np.float32), 1, 3)
    assert found.logprob == -INF
    assert [i for i, _ in found.top] == [0, 2, 1]
    assert [p for _, p in found.top] == pytest.approx([-math.log(2)] * 2 + [-INF])


def test_the_first_plus_infinity_is_certain():
    logits = np.array([5, INF, INF, -INF], np.float32)
    assert score(logits, 1, 1).logprob == 0
    assert score(logits, 1, 1).top == ((1, 0),)
    assert score(logits, 2, 0).logprob == score(logits, 0, 0).logprob == -INF


def test_each_row_speaks_of_its_token():
    logits = random_logits(6, 100)
    tokens = [5, 0, 99, 3, 3, 50]
    expected = torch.from_numpy(logits).double().log_softmax(-1)
    found = score_tokens(logits, tokens, 2)
    assert [c.token for c in found] == tokens
    by_torch = [float(expected[t, token]) for t, token in enumerate(tokens)]
    assert [c.logprob for c in found] == pytest.approx(by_torch, rel=1e-6)
    assert [c.top[0][0] for c in found] == logits.argmax(-1).tolist()


def test_rows_and_tokens_must_be_as_many():
    with pytest.raises(SamplingError, match="3 rows of logits for 2 tokens"):
        score_tokens(random_logits(3, 10), [1, 2], 0)


@pytest.mark.parametrize("logits", [[1, NAN], [-INF, -INF]])
def test_logits_of_a_broken_model_are_refused(logits):
    with pytest.raises(SamplingError, match="the logits hold"):
        score(np.array(logits, np.float32), 0, 1)
