"""`score_text`: every token but the first counts once, however a text is cut into windows."""

import numpy as np
import pytest

from ptir import load_model
from ptir.runtime import GenerationError, score_text
from ptir.runtime.text_model import TextModel
from tests.runtime import tiny

IDS = [int(i) for i in np.random.default_rng(0).integers(17, size=75)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with load_model(tiny.write(tmp_path_factory.mktemp("m") / "m.gptrs")) as loaded:
        yield tiny.text_model(loaded)


def logprobs(model: TextModel, window: list[int]) -> list[float]:
    """Of each token but the first, from all logits of the window at once."""
    logits = model.logits(window).astype("f8")
    norm = np.log(np.exp(logits).sum(-1, keepdims=True))
    return [float((logits - norm)[place, id]) for place, id in enumerate(window[1:])]


def test_a_text_within_the_context_is_one_window(model):
    found = [c.logprob for c in score_text(model, IDS[:32])]
    assert found == pytest.approx(logprobs(model, IDS[:32]), abs=1e-4)


@pytest.mark.parametrize("context, stride", [(32, 16), (32, 31), (8, 3), (2, 1), (None, None)])
@pytest.mark.parametrize("length", [2, 31, 33, 48, 75])
def test_each_token_counts_in_the_first_window_that_has_it(model, context, stride, length):
    ids = IDS[:length]
    C, S = context or 32, stride or 16
    wanted: dict[int, float] = {}
    for start in range(0, length, S):
        window = ids[start : start + C]
        for place, logprob in enumerate(logprobs(model, window) if len(window) > 1 else (), 1):
            wanted.setdefault(start + place, logprob)
    found = list(score_text(model, ids, context=context, stride=stride))
    assert [c.token for c in found] == ids[1:]
    assert [c.logprob for c in found] == pytest.approx(
        [wanted[i] for i in range(1, length)], abs=1e-4
    )


@pytest.mark.parametrize(
    "ids, context, stride, why",
    [
        (IDS[:1], None, None, "one token has nothing"),
        ([], None, None, "one token has nothing"),
        (IDS, 33, None, "windows of 33 tokens, wanted 2 to the model's context of 32"),
        (IDS, 1, None, "windows of 1 tokens"),
        (IDS, 8, 8, "a stride of 8 tokens, wanted 1 to 7"),
        (IDS, 8, 0, "a stride of 0 tokens"),
    ],
)
def test_what_cannot_be_scored_is_refused_at_once(model, ids, context, stride, why):
    with pytest.raises(GenerationError, match=why):
        score_text(model, ids, context=context, stride=stride)
