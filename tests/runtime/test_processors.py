"""A user's processors: what they are given, where they stand, and what is made of their return."""

import math

import numpy as np
import pytest

from ptir import Sampling
from ptir.runtime import Sampler, SamplingError

LOGITS = np.array([1.0, 2.0, -3.0, 0.5], np.float32)


def choose(*processors, **more) -> int:
    return Sampler(Sampling(processors=processors, **more)).choose(LOGITS, [2, 1]).token


def test_a_processor_decides_at_every_temperature():
    def only_the_last(history, logits):
        logits[:3] = -math.inf
        return logits

    assert choose(only_the_last, temperature=0) == choose(only_the_last, temperature=2.0) == 3


def test_processors_are_given_the_history_and_logits_behind_penalties_before_temperature():
    seen = []

    def watch(history, logits):
        seen.append((history, logits.copy()))
        return logits

    sampling = Sampling(
        3.0, 0, top_k=1, logit_bias={0: 4}, repetition_penalty=2, processors=[watch]
    )
    sampler = Sampler(sampling)
    for history in ([2, 1], [2, 1, 0]):
        sampler.choose(LOGITS, history)
    (first, before), (second, after) = seen
    assert (first, second) == ((2, 1), (2, 1, 0))
    assert before.tolist() == [5.0, 1.0, -6.0, 0.5]
    assert after.tolist() == [2.5, 1.0, -6.0, 0.5]
    assert before.dtype == np.float32


def test_processors_run_first_to_last_and_may_change_what_they_are_given():
    def add(history, logits):
        logits += 1
        return logits

    def double(history, logits):
        return logits * 2

    seen = []

    def watch(history, logits):
        seen.extend(logits.tolist())
        return logits

    choose(add, double, watch)
    assert seen == [4.0, 6.0, -4.0, 3.0]


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int64, list])
def test_what_a_processor_returns_may_be_any_numbers(kind):
    def turn(history, logits):
        return kind(-np.round(logits)) if kind is list else (-np.round(logits)).astype(kind)

    assert choose(turn, temperature=0) == 2


def wrong_shape(history, logits):
    return logits[:2]


def nothing_returned(history, logits):
    logits[0] = 5


def complex_numbers(history, logits):
    return logits.astype(np.complex64)


def words(history, logits):
    return ["a"] * len(logits)


def ragged(history, logits):
    return [[1], [1, 2], 3, 4]


def a_nan(history, logits):
    logits[1] = np.nan
    return logits


def all_banned(history, logits):
    return np.full_like(logits, -np.inf)


def fails(history, logits):
    return logits[history[7]]


@pytest.mark.parametrize(
    "processor, complaint",
    [
        (wrong_shape, r"returned float32 of shape \(2,\), wanted .* float32 \(4,\)"),
        (nothing_returned, r"returned object of shape \(\), wanted"),
        (complex_numbers, "returned complex64 of shape"),
        (words, "returned <U1 of shape"),
        (ragged, "failed with ValueError: "),
        (a_nan, "returned a NaN"),
        (all_banned, "returned nothing above −inf; leave one"),
        (fails, "failed with IndexError: tuple index out of range"),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_what_a_processor_does_wrong_is_said_with_its_name(processor, complaint, temperature):
    with pytest.raises(SamplingError, match=f"^processor {processor.__name__} {complaint}"):
        choose(processor, temperature=temperature)


def test_the_cause_of_a_failure_is_kept():
    with pytest.raises(SamplingError) as caught:
        choose(fails)
    assert isinstance(caught.value.__cause__, IndexError)


def test_ctrl_c_in_a_processor_is_no_sampling_error():
    def interrupted(history, logits):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(interrupted)


def test_numbers_beyond_f32_are_certain_or_banned():
    def huge(history, logits):
        return np.array([-1e300, 0, 1e300, 1e300])

    assert choose(huge, temperature=0) == choose(huge, temperature=1.0, seed=3) == 2
