"""Many requests at once: each gets what it gets alone, and nothing of one is seen in another."""

import asyncio
import gc
import os
import threading
from typing import Any

import numpy as np
import pytest

from ptir import load_model
from ptir.ir import PtirError
from ptir.models import ModelError
from ptir.runtime import Generation, GenerationError, Limits, Sampling, SamplingError, TextModel
from ptir.runtime.steps import Steps

from . import tiny

GREEDY = Sampling(temperature=0)
ALONE: dict[str, Any] = {"reuse_prefix": False}
VOCAB = tiny.CONFIG["vocab_size"]


@pytest.fixture
def small(tmp_path, backend):
    """The tiny gpt with a context of 64."""
    with load_model(tiny.write(tmp_path / "tiny.gptrs", context_length=64)) as model:
        yield tiny.text_model(model)


def with_limits(text: TextModel, **limits: int) -> TextModel:
    return TextModel(text._steps, text.tokenizer, Limits(**limits))


def prompts(count: int, seed: int = 0, most: int = 20) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, VOCAB, random.integers(1, most)).tolist() for _ in range(count)]


def samplings(count: int) -> list[Sampling]:
    return [Sampling(0.9, seed=i, top_k=i % 7, logprobs=i % 3) for i in range(count)]


def logprobs(done: Generation) -> list[float]:
    return [choice.logprob for choice in done.logprobs if choice.logprob is not None]


def idle(text: TextModel) -> bool:
    return text._batcher.load[:2] == (0, 0)


# --- the same tokens ---


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_a_request_gives_the_same_tokens_in_any_batch(small, batch):
    asked, chosen = prompts(11), samplings(11)
    most = [3 + 2 * i for i in range(11)]
    alone = [
        small.generate(p, max_tokens=n, sampling=s, **ALONE)
        for p, n, s in zip(asked, most, chosen, strict=True)
    ]
    together = with_limits(small, batch=batch)
    found = together.generate(asked, max_tokens=most, sampling=chosen, **ALONE)
    assert [g.token_ids for g in found] == [g.token_ids for g in alone]
    for a, b in zip(alone, found, strict=True):  # NumPy's products of several rows round otherwise
        np.testing.assert_allclose(logprobs(a), logprobs(b), 1e-4)
    assert idle(together)


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_a_prompt_read_in_chunks_gives_the_same_logprobs(small, chunk):
    asked = prompts(4, seed=1)
    scored = Sampling(0, prompt_logprobs=2, logprobs=1)
    whole = small.generate(asked, max_tokens=4, sampling=scored, **ALONE)
    cut = with_limits(small, chunk=chunk).generate(asked, max_tokens=4, sampling=scored, **ALONE)
    for a, b in zip(whole, cut, strict=True):
        assert a.token_ids == b.token_ids
        told, again = [
            np.array([(c.token, c.logprob) for c in done.prompt_logprobs], float) for done in (a, b)
        ]
        np.testing.assert_allclose(told, again, 1e-4)


def test_prompt_logprobs_are_those_of_the_whole_forward_pass(small):
    ids = [3, 1, 4, 1, 5, 9]
    logits = small.logits(ids).astype("f8")
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = small.generate(ids, max_tokens=1, sampling=Sampling(0, prompt_logprobs=0))
    assert [c.token for c in found.prompt_logprobs] == ids[1:]
    wanted = [logprobs[t, token] for t, token in enumerate(ids[1:])]
    np.testing.assert_allclose([c.logprob for c in found.prompt_logprobs], wanted, atol=1e-4)


def test_a_cache_grows_while_others_run_without_reading_again(small, monkeypatch):
    read = []
    real = Steps.advance

    def counted(self, ids, cache, past):
        read.append(len(ids))
        return real(self, ids, cache, past)

    monkeypatch.setattr(Steps, "advance", counted)
    monkeypatch.setattr("ptir.runtime.batcher.AHEAD", 1)
    monkeypatch.setattr("ptir.runtime.session.SMALLEST_CAPACITY", 2)
    asked = prompts(3, seed=2, most=6)
    grown = small.generate(asked, max_tokens=20, sampling=GREEDY, **ALONE)
    assert sum(read) == sum(map(len, asked))
    monkeypatch.undo()
    assert [g.token_ids for g in grown] == [
        small.generate(p, max_tokens=20, sampling=GREEDY, **ALONE).token_ids for p in asked
    ]


# --- joining and leaving ---


def test_a_request_joins_while_another_runs_and_neither_notices(small):
    first = small.start([1, 2, 3], max_tokens=12, sampling=GREEDY).pieces()
    before = [next(first).token_id for _ in range(4)]
    second = small.generate([4, 5], max_tokens=5, sampling=GREEDY, **ALONE)
    after = [p.token_id for p in first]
    assert before + after == small.generate([1, 2, 3], max_tokens=12, sampling=GREEDY).token_ids
    assert second.token_ids == small.generate([4, 5], max_tokens=5, sampling=GREEDY).token_ids


def test_whoever_waits_serves_the_others_too(small):
    other = small.start([4, 5], max_tokens=5, sampling=GREEDY)
    small.generate([1, 2, 3], max_tokens=12, sampling=GREEDY)
    assert other.is_done


@pytest.mark.parametrize("leaves", [0, 1, 2])
def test_a_row_that_leaves_changes_no_other(small, leaves):
    asked = prompts(3, seed=3)
    wanted = small.generate(asked, max_tokens=15, sampling=GREEDY, **ALONE)
    answers = [small.start(p, max_tokens=15, sampling=GREEDY, **ALONE) for p in asked]
    small._batcher.run(answers[leaves]._request, 5)
    answers[leaves].cancel()
    for index, (answer, whole) in enumerate(zip(answers, wanted, strict=True)):
        found = answer.outcome()
        assert found.finish_reason == ("cancelled" if index == leaves else "length")
        assert found.token_ids == whole.token_ids[: len(found.token_ids)]
    assert idle(small)


def test_to_stop_iterating_is_to_cancel(small):
    pieces = small.stream([1, 2], max_tokens=20, sampling=GREEDY)
    next(pieces)
    pieces.close()
    assert idle(small)


def test_threads_get_what_each_gets_alone(small):
    asked = prompts(8, seed=4)
    wanted = [small.generate(p, max_tokens=10, sampling=GREEDY, **ALONE) for p in asked]
    found: dict[int, list[int]] = {}

    def ask(index: int) -> None:
        done = small.generate(asked[index], max_tokens=10, sampling=GREEDY, **ALONE)
        found[index] = done.token_ids

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[i] for i in range(len(asked))] == [g.token_ids for g in wanted]
    assert idle(small)


def test_an_event_loop_runs_many_at_once(small):
    asked = prompts(6, seed=5)

    async def ask() -> tuple[list[list[int]], list[int | None]]:
        many = [small.agenerate(p, max_tokens=8, sampling=GREEDY, **ALONE) for p in asked]
        streamed = [
            piece.token_id async for piece in small.astream(asked[0], max_tokens=8, sampling=GREEDY)
        ]
        return [g.token_ids for g in await asyncio.gather(*many)], streamed

    many, streamed = asyncio.run(ask())
    wanted = [small.generate(p, max_tokens=8, sampling=GREEDY, **ALONE).token_ids for p in asked]
    assert many == wanted
    assert streamed == wanted[0]


def test_a_task_that_is_cancelled_takes_its_request_along(small):
    async def ask() -> None:
        task = asyncio.create_task(small.agenerate([1, 2], max_tokens=60, sampling=GREEDY))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert idle(small)


# --- prefixes ---

LONG = [3 * i % VOCAB for i in range(20)]


def test_a_prompt_that_begins_as_an_earlier_one_is_not_read_again(small):
    first = small.generate(LONG, max_tokens=3, sampling=GREEDY)
    again = small.generate([*LONG, 1, 2], max_tokens=3, sampling=GREEDY)
    assert (first.cached_tokens, again.cached_tokens) == (0, 20)
    assert first.cache_reason == "miss: no request begins the same"
    assert again.cache_reason == "hit: an earlier request began the same"
    fresh = small.generate([*LONG, 1, 2], max_tokens=3, sampling=GREEDY, **ALONE)
    assert (fresh.cached_tokens, fresh.token_ids) == (0, again.token_ids)


def test_a_conversation_reads_only_what_is_new(small):
    first = small.generate(LONG, max_tokens=5, sampling=GREEDY)
    turn = [*LONG, *first.token_ids, 7, 7]
    second = small.generate(turn, max_tokens=5, sampling=GREEDY)
    assert second.cached_tokens == len(LONG) + 4  # the last token of the answer was never run


def test_a_prompt_that_begins_as_one_at_work_is_not_read_again(small):
    at_work = small.start(LONG, max_tokens=30, sampling=GREEDY).pieces()
    next(at_work)
    next(at_work)
    found = small.generate([*LONG, 5], max_tokens=3, sampling=GREEDY)
    assert found.cache_reason == "hit: a request at work begins the same"
    assert found.cached_tokens == 20
    fresh = small.generate([*LONG, 5], max_tokens=3, sampling=GREEDY, **ALONE)
    assert fresh.token_ids == found.token_ids


def test_the_whole_prompt_is_never_taken_from_a_cache(small):
    small.generate(LONG, max_tokens=3, sampling=GREEDY)
    again = small.generate(LONG, max_tokens=3, sampling=GREEDY)
    assert again.cached_tokens == len(LONG) - 1


def test_so_many_caches_are_kept_as_the_limits_say(small):
    text = with_limits(small, kept=2)
    for first in range(4):
        text.generate([first, *LONG], max_tokens=1, sampling=GREEDY)
    assert text._batcher.load == (0, 0, 2)
    assert text.generate([3, *LONG], max_tokens=1, sampling=GREEDY).cached_tokens
    assert not text.generate([0, *LONG], max_tokens=1, sampling=GREEDY).cached_tokens


# --- the end of the context ---


def test_a_full_context_stops(small):
    found = small.generate([1, 2], max_tokens=999, sampling=GREEDY)
    assert found.finish_reason == "context"
    assert found.prompt_tokens + len(found.token_ids) == small.context_length + 1


def test_a_context_that_slides_reads_its_later_half_once(small, monkeypatch):
    read = []
    real = Steps.advance

    def counted(self, ids, cache, past):
        read.append(len(ids))
        return real(self, ids, cache, past)

    monkeypatch.setattr(Steps, "advance", counted)
    more = small.context_length + small.context_length // 2 + 1
    found = small.generate([1, 2], max_tokens=more, sampling=GREEDY, overflow="slide")
    assert (found.finish_reason, len(found.token_ids)) == ("length", more)
    half = small.context_length // 2
    assert read == [2, half, half]


def test_what_slides_is_what_the_model_says_of_the_later_half(small):
    more = small.context_length + 1
    found = small.generate([1, 2], max_tokens=more, sampling=GREEDY, overflow="slide")
    half = small.context_length // 2
    ids = [1, 2, *found.token_ids]
    kept = ids[small.context_length + 1 - half : small.context_length + 1]
    assert found.token_ids[small.context_length - 1] == int(small.logits(kept)[-1].argmax())


# --- what goes wrong ---


def test_a_request_that_fails_ends_alone(small):
    def broken(history, logits):
        if len(history) > 5:
            raise RuntimeError("no idea")
        return logits

    chosen = [GREEDY, Sampling(0, processors=[broken]), GREEDY]
    asked = [[1, 2], [3, 4], [5, 6]]
    found = small.generate(asked, max_tokens=8, sampling=chosen, on_error="keep")
    assert [g.finish_reason for g in found] == ["length", "error", "length"]
    assert isinstance(found[1].error, SamplingError)
    assert len(found[1].token_ids) == 4
    with pytest.raises(SamplingError, match="broken failed with RuntimeError: no idea"):
        small.generate(asked, max_tokens=8, sampling=chosen)
    assert idle(small)


def test_logits_that_are_nan_end_the_request_with_an_error(small, monkeypatch):
    real = Steps.decode

    def broken(self, ids, cache, past):
        logits, cache = real(self, ids, cache, past)
        logits = logits.copy()
        logits[1:2] = np.nan
        return logits, cache

    answers = [small.start(p, max_tokens=6, sampling=GREEDY) for p in ([1, 2], [3, 4], [5, 6])]
    monkeypatch.setattr(Steps, "decode", broken)
    found = [a.outcome() for a in answers]
    assert [g.finish_reason for g in found].count("error") == 2  # row 1, and who came to its place
    failed = next(g for g in found if g.error)
    assert "NaN" in str(failed.error)
    assert idle(small)


def test_ctrl_c_in_a_step_leaves_every_request_as_it_was(small, monkeypatch):
    asked = prompts(3, seed=6)
    wanted = small.generate(asked, max_tokens=12, sampling=GREEDY, **ALONE)
    answers = [small.start(p, max_tokens=12, sampling=GREEDY, **ALONE) for p in asked]
    for answer in answers:
        small._batcher.run(answer._request, 4)
    real = Steps.decode

    def interrupted(self, ids, cache, past):
        real(self, ids, cache, past)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small._batcher.run(answers[0]._request, 11)
    assert [a.result().token_ids for a in answers] == [g.token_ids for g in wanted]


def test_a_step_that_fails_fails_those_in_it_and_nobody_after(small, monkeypatch):
    def full(self, ids, cache, past):
        raise MemoryError("no more")

    answers = [small.start(p, max_tokens=6, sampling=GREEDY) for p in ([1, 2], [3, 4])]
    small._batcher.run(answers[0]._request, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "decode", full)
        assert {a.outcome().finish_reason for a in answers} == {"error"}
    assert small.generate([1, 2], max_tokens=6, sampling=GREEDY).finish_reason == "length"


def test_a_model_that_is_closed_ends_what_it_was_at(small):
    answer = small.start([1, 2], max_tokens=30, sampling=GREEDY)
    pieces = answer.pieces()
    next(pieces)
    small.close()
    with pytest.raises(ModelError, match="closed"):
        next(pieces)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"max_tokens": [1, 2]}, "2 of max_tokens for 3 prompts"),
        ({"sampling": [GREEDY]}, "1 of sampling for 3 prompts"),
        ({"on_piece": print}, "on_piece is for one prompt"),
        ({"overflow": "drop"}, "wanted 'stop' or 'slide'"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"sampling": Sampling(logit_bias={10**6: 1.0})}, "logit_bias names token"),
        ({"sampling": Sampling(stop=["x"])}, "stop strings need a tokenizer"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(small, wrong, message):
    with pytest.raises(PtirError, match=message):
        small.generate([[1], [2], [3]], **wrong)
    assert idle(small)


def test_no_prompt_of_several_runs_if_one_is_refused(small):
    with pytest.raises(GenerationError, match="outside the vocabulary"):
        small.generate([[1], [10**6]], max_tokens=3)
    assert idle(small)


@pytest.mark.parametrize("wrong", [{"max_tokens": [1]}, {"sampling": [GREEDY]}])
def test_one_prompt_takes_no_lists(small, wrong):
    with pytest.raises(GenerationError, match="but there is one prompt"):
        small.generate([1, 2], **wrong)


def test_what_is_cancelled_before_it_began_never_runs(small, monkeypatch):
    answer = small.start([1, 2], max_tokens=5, sampling=GREEDY)
    answer.cancel()
    assert answer.outcome().finish_reason == "cancelled"
    assert not answer.outcome().token_ids
    assert idle(small)


def test_a_request_for_no_tokens_never_runs_in_the_turns_of_others(small):
    answer = small.start([1, 2], max_tokens=0, sampling=GREEDY)
    small.generate([3, 4], max_tokens=5, sampling=GREEDY)
    assert (answer.outcome().token_ids, answer.outcome().finish_reason) == ([], "length")
    assert idle(small)


def test_a_model_is_closed_while_another_thread_generates(small):
    failed: list[BaseException] = []
    begun = threading.Event()

    def ask() -> None:
        try:
            for _ in range(1000):
                small.generate([1, 2], max_tokens=60, sampling=GREEDY, **ALONE)
                begun.set()
        except ModelError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(60)
    small.close()
    thread.join(60)
    assert not thread.is_alive()
    assert len(failed) == 1


@pytest.mark.parametrize("broken", ["take_row", "put_row"])
def test_without_memory_to_move_a_row_the_others_go_on(small, monkeypatch, broken):
    asked = [[*LONG, i] for i in range(3)]
    wanted = small.generate(asked, max_tokens=12, sampling=GREEDY, **ALONE)
    chosen = {"sampling": GREEDY, "reuse_prefix": True}
    answers = [small.start(p, max_tokens=12, **chosen) for p in asked]
    small._batcher.run(answers[2]._request, 3)

    def full(self, *given):
        raise MemoryError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(Steps, broken, full)
        answers[0].cancel()
    for answer, whole in zip(answers[1:], wanted[1:], strict=True):
        assert answer.outcome().token_ids == whole.token_ids


# --- a soak ---


def test_500_requests_with_cancellations_and_failures_equal_those_run_alone(small):
    random = np.random.default_rng(20261125)

    def failing(history, logits):
        raise ValueError("injected")

    text = with_limits(small, batch=5, chunk=7, kept=3)
    wanted: dict[tuple[object, ...], list[int]] = {}
    counts = {"length": 0, "cancelled": 0, "error": 0, "context": 0}
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(50):
        going = []
        for _ in range(10):
            shared = LONG[: random.integers(0, 20)] if random.random() < 0.5 else []
            ids = [*shared, *random.integers(0, VOCAB, random.integers(1, 8)).tolist()]
            most, seed = int(random.integers(1, 25)), int(random.integers(0, 4))
            fate = random.choice(["run", "run", "run", "cancel", "fail"])
            chosen = Sampling(0.7 * (seed > 0), seed=seed, top_p=0.9)
            if fate == "fail":
                chosen = Sampling(0, processors=[failing])
            answer = text.start(
                ids, max_tokens=most, sampling=chosen, reuse_prefix=bool(random.random() < 0.7)
            )
            going.append((answer, fate, (tuple(ids), most, seed)))
        for answer, fate, key in going:
            if fate == "cancel":
                text._batcher.run(answer._request, int(random.integers(0, 3)))
                answer.cancel()
            found = answer.outcome()
            counts[found.finish_reason] += 1
            assert (found.finish_reason == "error") == (fate == "fail")
            if fate == "fail":
                continue
            if key not in wanted:
                prompt, most, seed = key
                chosen = Sampling(0.7 * (seed > 0), seed=seed, top_p=0.9)
                alone = small.generate(list(prompt), max_tokens=most, sampling=chosen, **ALONE)
                wanted[key] = alone.token_ids
            assert found.token_ids == wanted[key][: len(found.token_ids)]
            if fate == "run":
                assert len(found.token_ids) == len(wanted[key])
        assert idle(text)
    assert min(counts["length"], counts["cancelled"], counts["error"]) > 40
    if opened:
        assert len(os.listdir("/proc/self/fd")) <= opened + 2


def test_thousands_of_requests_leave_no_object_behind(small):
    def live() -> int:
        gc.collect()
        return len(gc.get_objects())

    for _ in range(20):
        small.generate([1, 2, 3], max_tokens=2, sampling=GREEDY)
    before = live()
    for i in range(1000):
        small.generate([i % 5, 2, 3], max_tokens=2, sampling=GREEDY)
    assert live() - before < 200
