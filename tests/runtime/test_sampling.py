"""The parameters of sampling: what is taken, what is refused and how it is said."""

import copy
import math
import pickle
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from ptir import Sampling
from ptir.runtime import SamplingError

INF, NAN = math.inf, math.nan
BEYOND = 4e38  # what f32 holds

REFUSED = {
    "temperature": (-0.1, NAN, INF, -INF, "1", None, True, 1j),
    "seed": (-1, 1 << 64, 0.5, "1", True),
    "top_k": (-1, 2.0, None, True),
    "top_p": (-0.1, 1.1, NAN, INF, None, "0.5"),
    "min_p": (-0.1, 1.1, NAN, None),
    "typical_p": (-0.1, 1.1, NAN, None),
    "repetition_penalty": (0, -1, NAN, INF, BEYOND, None),
    "presence_penalty": (NAN, INF, -INF, BEYOND, None),
    "frequency_penalty": (NAN, INF, -INF, BEYOND, None),
    "logit_bias": ([(1, 2)], {-1: 0}, {0.5: 1}, {"a": 1}, {True: 1}, None),
    r"logit_bias\[3\]": ({3: NAN}, {3: INF}, {3: BEYOND}, {3: None}),
    "logprobs": (-1, 1.5, True),
    "prompt_logprobs": (-1, 1.5, True),
    "stop": ("", ["a", ""], [1], 5, None, b"a"),
    "stop_token_ids": (5, [-1], [0.5], "12", None, [True]),
    "ignore_eos": (1, None, "no"),
    "min_tokens": (-1, 1.5, None),
    "processors": (len, [3], None),
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_what_makes_no_sense_is_refused_by_name_value_and_wish(name, value):
    field = name.partition("\\")[0]
    shown = next(iter(value.values())) if field != name else value
    with pytest.raises(SamplingError, match=f"^{name} is .*, wanted ") as caught:
        Sampling(**{field: value})
    if field not in ("stop_token_ids", "processors", "logit_bias") or field != name:
        assert f"is {shown!r}, wanted" in str(caught.value)


def test_the_ends_of_the_ranges_are_taken():
    Sampling(0, 0, top_k=0, top_p=0, min_p=0, typical_p=0, logprobs=0, min_tokens=0)
    Sampling(1e300, (1 << 64) - 1, top_p=1, min_p=1, typical_p=1, top_k=1 << 70)
    Sampling(repetition_penalty=1e-300, presence_penalty=-2, logit_bias={0: -INF, 1: 100})


def test_numbers_of_numpy_are_taken_as_those_of_python():
    numbers: list[Any] = [np.float32(0.5), np.int64(3)]
    others: dict[str, Any] = {"top_k": np.int32(2), "stop_token_ids": np.arange(2)}
    given = Sampling(*numbers, **others)
    assert given == Sampling(0.5, 3, top_k=2, stop_token_ids=(0, 1))
    assert type(given.temperature) is float
    assert type(given.seed) is type(given.top_k) is type(given.stop_token_ids[0]) is int


def test_a_lone_stop_string_is_one_string():
    assert Sampling(stop="END").stop == ("END",)
    assert Sampling(stop=["a", "b"]).stop == ("a", "b")


def test_what_the_caller_changes_later_is_not_seen():
    bias, stop, ids = {1: 2.0}, ["a"], [5]
    sampling = Sampling(logit_bias=bias, stop=stop, stop_token_ids=ids)
    bias[2] = 3.0
    stop.append("b")
    ids.append(6)
    assert sampling == Sampling(logit_bias={1: 2.0}, stop=["a"], stop_token_ids=[5])


def test_it_can_be_hashed_copied_pickled_and_changed():
    sampling = Sampling(0.5, logit_bias={3: -INF}, stop="x", processors=[max])
    assert hash(sampling) == hash(Sampling(0.5, logit_bias={3: -INF}, stop="x", processors=[max]))
    assert copy.deepcopy(sampling) == pickle.loads(pickle.dumps(sampling)) == sampling
    assert replace(sampling, temperature=0.8) == Sampling(
        **(asdict(sampling) | {"temperature": 0.8})
    )
    with pytest.raises(AttributeError):
        sampling.temperature = 1.0  # type: ignore[misc]


def test_a_biased_token_outside_the_vocabulary_is_refused():
    Sampling(logit_bias={9: 1}).check_vocab(10)
    with pytest.raises(SamplingError, match="logit_bias names token 10, wanted ids below 10"):
        Sampling(logit_bias={10: 1}).check_vocab(10)
