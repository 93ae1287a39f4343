"""Generation: text and tokens agree, it ends as it should, and nothing disturbs anything."""

import gc
import os
import signal
import subprocess
import sys
import time
from itertools import zip_longest

import numpy as np
import pytest

from ptir import Piece, PtirError, Sampling, Tensor, engine, load_model
from ptir.models import ModelError
from ptir.runtime import GenerationError, SamplingError, TextModel
from ptir.runtime.load import DEMO
from ptir.runtime.session import PREFILL_CHUNK
from ptir.runtime.steps import Steps
from ptir.text import Tokenizer

from . import tiny

GREEDY = Sampling(temperature=0)
TOKENS = Tokenizer.load(DEMO)
EOS = TOKENS.encode("<|endoftext|>", special=True)[0]


@pytest.fixture
def demo(backend):
    with load_model() as model:
        yield tiny.text_model(model)


@pytest.fixture
def small(backend, tmp_path):
    """The tiny gpt, without a tokenizer."""
    with load_model(tiny.write(tmp_path / "tiny.gptrs")) as model:
        yield tiny.text_model(model)


# --- text and tokens ---


def test_streamed_pieces_are_the_generated_text_and_the_decoded_tokens(demo):
    sampling = Sampling(0.8, seed=3)
    done = demo.generate("ROMEO:", max_tokens=24, sampling=sampling)
    pieces = list(demo.stream("ROMEO:", max_tokens=24, sampling=sampling))
    assert "".join(p.text for p in pieces) == done.text == TOKENS.decode(done.token_ids)
    assert [p.token_id for p in pieces if p.token_id is not None] == done.token_ids
    assert (len(done.token_ids), done.finish_reason) == (24, "length")
    assert done.prompt_tokens == len(TOKENS.encode("ROMEO:"))


def test_on_piece_sees_each_piece_as_it_comes(demo):
    seen: list[Piece] = []
    done = demo.generate("ROMEO:", max_tokens=5, sampling=GREEDY, on_piece=seen.append)
    assert [p.token_id for p in seen] == done.token_ids


def test_the_seed_repeats_a_generation_and_is_told(demo):
    first = demo.generate([40], max_tokens=12, sampling=Sampling(2.0))
    again = demo.generate([40], max_tokens=12, sampling=Sampling(2.0, first.seed))
    other = demo.generate([40], max_tokens=12, sampling=Sampling(2.0, first.seed + 1))
    assert again.token_ids == first.token_ids != other.token_ids


def test_text_and_its_token_ids_are_the_same_prompt(demo):
    text, ids = "ROMEO:", TOKENS.encode("ROMEO:")
    np.testing.assert_array_equal(demo.logits(text), demo.logits(ids))
    by_text, by_ids = (demo.generate(p, max_tokens=4, sampling=GREEDY) for p in (text, ids))
    assert by_text.token_ids == by_ids.token_ids


@pytest.mark.parametrize("text", ["漢字", "é", "🜁🜂", "a\u0301漢", "naïve — 漢"])
def test_a_character_split_over_tokens_is_never_shown_broken(backend, text):
    ids = TOKENS.encode(text)
    assert len(ids) > len(text)
    pieces = list(
        tiny.saying(ids, TOKENS, backend).stream([0], max_tokens=len(ids), sampling=GREEDY)
    )
    assert "".join(p.text for p in pieces) == text
    assert not any("\ufffd" in p.text for p in pieces)
    assert "" in [p.text for p in pieces]  # something was held back


@pytest.mark.parametrize("ending", ["stop", "length"])
def test_an_unfinished_character_is_shown_as_replaced_at_the_end(backend, ending):
    ids = TOKENS.encode("漢")[:-1]
    limit = len(ids) + (ending == "stop")
    lm = tiny.saying([*ids, EOS], TOKENS, backend)
    pieces = list(lm.stream([0], max_tokens=limit, sampling=GREEDY))
    done = lm.generate([0], max_tokens=limit, sampling=GREEDY)
    assert done.text == "".join(p.text for p in pieces) == TOKENS.decode(ids)
    assert "\ufffd" in done.text
    assert (done.token_ids, done.finish_reason) == (ids, ending)
    assert [p.token_id for p in pieces] == [*ids, None]


# --- how it ends ---


def test_the_end_of_text_stops_and_is_not_shown(backend):
    ids = TOKENS.encode("so")
    lm = tiny.saying([*ids, EOS, *ids], TOKENS, backend)
    done = lm.generate([0], max_tokens=9, sampling=GREEDY)
    assert (done.text, done.token_ids, done.finish_reason) == ("so", ids, "stop")


def test_an_end_of_text_at_once_gives_nothing(backend):
    done = tiny.saying([EOS], TOKENS, backend).generate([0], sampling=GREEDY)
    assert (done.text, done.token_ids, done.finish_reason) == ("", [], "stop")


def test_no_tokens_cost_no_work(small, monkeypatch):
    monkeypatch.setattr(Steps, "advance", lambda *_: pytest.fail("a step ran"))
    done = small.generate([1, 2], max_tokens=0)
    assert (done.text, done.token_ids, done.finish_reason) == ("", [], "length")
    assert done.prompt_tokens == 2
    assert list(small.stream([1, 2], max_tokens=0)) == []


@pytest.mark.parametrize("length", [1, 31, 32])
def test_a_full_context_ends_it(small, length):
    done = small.generate([1] * length, max_tokens=100, sampling=GREEDY)
    # The last token needs no place: nothing is computed behind it.
    assert len(done.token_ids) == small.context_length - length + 1
    assert done.finish_reason == "context"


def test_max_tokens_reached_with_the_context_is_the_length(small):
    done = small.generate([1] * 32, max_tokens=1, sampling=GREEDY)
    assert (len(done.token_ids), done.finish_reason) == (1, "length")


def test_times_are_measured(small):
    done = small.generate([1], max_tokens=5, sampling=GREEDY)
    assert done.timings.prefill_s > 0 < done.timings.decode_s
    assert done.timings.tokens_per_s == pytest.approx(4 / done.timings.decode_s)
    assert small.generate([1], max_tokens=1).timings.tokens_per_s is None


# --- what is refused ---


@pytest.mark.parametrize(
    "prompt, message",
    [
        ([], "empty"),
        ([1] * 33, "33 tokens do not fit the model's context of 32"),
        ([17], "17 is outside the vocabulary of 17"),
        ([-1], "-1 is outside"),
        ([1.5], "no sequence of whole numbers"),
        ("text", "no tokenizer"),
    ],
)
def test_a_prompt_that_the_model_cannot_take_is_refused_at_once(small, prompt, message):
    for call in (small.generate, small.stream, small.logits):  # stream: before it is iterated
        with pytest.raises(GenerationError, match=message):
            call(prompt)


def test_a_negative_max_tokens_is_refused(small):
    with pytest.raises(GenerationError, match="max_tokens is -1"):
        small.stream([1], max_tokens=-1)


def test_broken_logits_are_refused_and_the_model_stays_usable(backend):
    rows = np.zeros((4, 3))
    rows[1] = np.nan
    lm = tiny.scripted(rows, None, backend)
    with pytest.raises(SamplingError, match="NaN"):
        lm.generate([0], max_tokens=3, sampling=GREEDY)
    assert lm.generate([0], max_tokens=1, sampling=GREEDY).token_ids == [0]


def test_a_closed_model_is_refused_by_everything_it_gave(backend, tmp_path):
    with load_model(tiny.write(tmp_path / "tiny.gptrs")) as model:
        lm = tiny.text_model(model)
        session, stream = lm.session(), lm.stream([1], max_tokens=9)
        session.feed([1])
        next(stream)
    calls = [
        lambda: lm.generate([1]),
        lambda: lm.logits([1]),
        lambda: lm.plan("decode"),
        lambda: session.feed([1]),
        lambda: next(stream),
        model.as_causal_lm,
        model.parameters,
    ]
    for call in calls:
        with pytest.raises(ModelError, match="closed; load it again"):
            call()
    model.close()


# --- sequences do not disturb each other ---


def test_stopping_early_leaves_the_model_usable(small):
    whole = small.generate([1, 2], max_tokens=8, sampling=GREEDY).token_ids
    stream = small.stream([1, 2], max_tokens=8, sampling=GREEDY)
    assert [next(stream).token_id for _ in range(3)] == whole[:3]
    stream.close()
    assert small.generate([1, 2], max_tokens=8, sampling=GREEDY).token_ids == whole


def test_interleaved_generations_do_not_disturb_each_other(small):
    prompts = [[1], [2, 3, 4], [1, 2]]
    sampling = Sampling(1.5, seed=1)
    alone = [small.generate(p, max_tokens=9, sampling=sampling).token_ids for p in prompts]
    assert len({tuple(ids) for ids in alone}) == 3
    streams = [small.stream(p, max_tokens=9, sampling=sampling) for p in prompts]
    rounds = list(zip_longest(*streams))
    assert [[piece.token_id for piece in column] for column in zip(*rounds, strict=True)] == alone


def test_a_session_grows_beyond_its_capacity(small):
    ids = [1, 5, 3, 7, 2, 9, 4, 8, 6, 0]
    roomy, tight = small.session(32), small.session(2)
    roomy.feed(ids[:2])
    tight.feed(ids[:2])
    for chunk in ([3], [7, 2, 9], [4]):
        np.testing.assert_allclose(tight.feed(chunk), roomy.feed(chunk), rtol=1e-4, atol=1e-4)
    assert tight.token_ids == roomy.token_ids == (1, 5, 3, 7, 2, 9, 4)


def test_a_session_takes_a_prompt_longer_than_one_chunk(backend, tmp_path):
    length = PREFILL_CHUNK + 40
    rows = np.arange(length * 2.0).reshape(length, 2)
    lm = tiny.scripted(rows, None, backend)
    assert lm.session(length).feed([0] * length).tolist() == rows[-1].tolist()


@pytest.mark.parametrize("capacity", [0, -3, 33])
def test_a_capacity_outside_the_context_is_refused(small, capacity):
    with pytest.raises(GenerationError, match="capacity"):
        small.session(capacity)


def test_a_session_refuses_tokens_beyond_the_context_and_goes_on(small):
    session = small.session(4)
    session.feed([1] * 30)
    with pytest.raises(GenerationError, match="33 tokens do not fit"):
        session.feed([1, 2, 3])
    assert len(session.token_ids) == 30
    np.testing.assert_allclose(
        session.feed([1, 2]), small.logits([1] * 31 + [2])[-1], rtol=1e-4, atol=1e-4
    )


def test_an_interrupted_session_continues_as_if_it_had_not_been(small, monkeypatch):
    session = small.session(16)
    session.feed([1, 2, 3])
    advance = Steps.advance

    def interrupted(self, ids, caches, past):
        advance(self, ids, caches, past)  # the caches are gone, and so is the answer
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.feed([4])
    assert session.token_ids == (1, 2, 3)
    np.testing.assert_allclose(
        session.feed([4]), small.logits([1, 2, 3, 4])[-1], rtol=1e-4, atol=1e-4
    )


def test_the_cache_of_a_step_is_donated(small):
    steps = small._steps
    cache = steps.cache(8)
    _, after = steps.advance([1, 2], cache, 0)
    steps.advance([3], after, 2)
    with pytest.raises(PtirError, match="donated"):
        steps.advance([3], after, 2)


def test_a_generation_replays_its_two_steps(small):
    small.generate([1, 2], max_tokens=3, sampling=GREEDY)
    misses = engine.PLANS.stats.misses
    small.generate([3, 2, 1, 4], max_tokens=20, sampling=GREEDY)
    assert engine.PLANS.stats.misses == misses


# --- the same everywhere ---


def test_greedy_decoding_is_the_same_op_by_op(backend, monkeypatch):
    with load_model() as model:
        compiled = tiny.text_model(model).generate("ROMEO:", max_tokens=6, sampling=GREEDY)
    monkeypatch.setenv("PTIR_EAGER", "1")
    with load_model() as model:
        eager = tiny.text_model(model).generate("ROMEO:", max_tokens=6, sampling=GREEDY)
    assert eager.token_ids == compiled.token_ids


def test_decoding_op_by_op_does_not_drag_the_past_along(small, monkeypatch):
    monkeypatch.setenv("PTIR_EAGER", "1")
    small.generate([1, 2, 3], max_tokens=4, sampling=GREEDY)
    misses = engine.PLANS.stats.misses
    small.generate([1, 2, 3], max_tokens=9, sampling=GREEDY)
    assert engine.PLANS.stats.misses == misses  # a graph that grows would be a new plan each step


def test_greedy_decoding_equals_the_largest_logits_of_the_whole(demo):
    done = demo.generate("ROMEO:", max_tokens=12, sampling=GREEDY)
    ids = [*TOKENS.encode("ROMEO:"), *done.token_ids]
    assert demo.logits(ids).argmax(1)[-13:-1].tolist() == done.token_ids


def test_the_demo_model_gives_the_same_tokens_each_time(demo):
    runs = [demo.generate("ROMEO:", max_tokens=16, sampling=GREEDY) for _ in range(2)]
    assert runs[0].token_ids == runs[1].token_ids
    assert "\n" in runs[0].text


def test_memory_of_sequences_is_given_back(small):
    def live() -> int:
        gc.collect()
        return sum(type(o) is Tensor for o in gc.get_objects())

    small.generate([1], max_tokens=4, sampling=GREEDY)
    before = live()
    for _ in range(5):
        small.generate([1], max_tokens=4, sampling=GREEDY)
    assert live() <= before


# --- Ctrl-C ---


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_ends_the_command_within_a_second_with_130(tmp_path):
    # A context so long that the signal meets the command at work.
    path = tiny.write(tmp_path / "long.gptrs", vocab_size=TOKENS.vocab_size, context_length=1 << 15)
    tokenizer = str(DEMO / "tokenizer.json")
    arguments = ["-p", "so", "--max-tokens", "32000", "--seed", "1", "--tokenizer", tokenizer]
    child = subprocess.Popen(
        [sys.executable, "-m", "ptir", "generate", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    first = child.stdout.read(40)  # it is generating
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=10)
    assert time.monotonic() - begun < 1
    assert child.returncode == 130
    assert errors.decode().strip() == "interrupted"
    shown = (first + rest).decode()  # whole characters, and nothing but text
    with load_model(path, tokenizer=tokenizer) as model:
        lm = tiny.text_model(model)
        whole = lm.generate("so", max_tokens=100, sampling=Sampling(0.8, 1)).text
    assert whole.startswith(shown) or shown.startswith(whole)


def test_a_text_model_says_what_it_is_for(small):
    assert isinstance(small, TextModel)
    assert (small.context_length, small.vocab_size, small.tokenizer) == (32, 17, None)
