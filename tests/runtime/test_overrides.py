"""Overrides of a loaded model: from its checkpoint, from the caller, around every call."""

import numpy as np
import pytest

import ptir
from ptir import engine
from ptir.checkpoint import save
from ptir.models import ModelError
from tests.runtime.tiny import CONFIG, text_model, weights, write

BOTH = {"attention": "force=blocked", "layer_norm": "force=welford"}


def stating(path, runtime):
    """A checkpoint of the tiny gpt with a runtime section."""
    save(path, kind="gpt", config=CONFIG, tensors=weights(), runtime=runtime)
    return path


def composites(loaded, step):
    program = text_model(loaded).plan(step).key.program
    return {n.attrs["name"] for n in program.nodes if n.op is ptir.ops.composite}


@pytest.mark.parametrize("step", ["prefill", "decode", "score"])
def test_every_step_runs_the_implementations_that_load_model_is_told(tmp_path, backend, step):
    path = write(tmp_path / "m.gptrs")
    with ptir.load_model(path, overrides=BOTH) as loaded, ptir.load_model(path) as plain:
        found = composites(loaded, step)
        assert {"attention.blocked", "layer_norm.welford"} <= found
        assert {"attention", "layer_norm"} <= composites(plain, step)
        assert found.isdisjoint({"attention", "layer_norm"})


def test_a_model_gives_the_same_numbers_under_exact_implementations(tmp_path, backend):
    path, ids = write(tmp_path / "m.gptrs"), [3, 1, 4, 1, 5, 9, 2]
    sampling = ptir.Sampling(0.0)
    with ptir.load_model(path) as plain, ptir.load_model(path, overrides=BOTH) as loaded:
        logits = text_model(plain).logits(ids)
        np.testing.assert_allclose(text_model(loaded).logits(ids), logits, rtol=1e-4, atol=1e-4)
        forward = loaded.forward(ptir.Tokens(ids)).numpy()
        np.testing.assert_allclose(forward[0], logits, rtol=1e-4, atol=1e-4)
        wanted = text_model(plain).generate(ids, max_tokens=9, sampling=sampling)
        got = text_model(loaded).generate(ids, max_tokens=9, sampling=sampling)
        assert got.token_ids == wanted.token_ids
    assert ptir.functional.current().policies == {}


def test_what_the_checkpoint_states_holds_unless_the_caller_says_otherwise(tmp_path, backend):
    path = stating(tmp_path / "m.gptrs", {"functional_overrides": BOTH})
    with ptir.load_model(path) as loaded:
        assert {"attention.blocked", "layer_norm.welford"} <= composites(loaded, "decode")
    with ptir.load_model(path, overrides={"attention": "default"}) as loaded:
        assert {"attention", "layer_norm.welford"} <= composites(loaded, "decode")
        with ptir.override(attention="force=blocked"):  # the model's own stand nearer to its calls
            assert "attention" in composites(loaded, "decode")


def test_an_override_around_a_model_that_names_none_is_followed(tmp_path, backend):
    with ptir.load_model(write(tmp_path / "m.gptrs")) as loaded:
        before = text_model(loaded).generate([1, 2], max_tokens=3, sampling=ptir.Sampling(0.0))
        misses = engine.PLANS.stats.misses
        with ptir.override(attention="force=blocked"):
            assert "attention.blocked" in composites(loaded, "decode")
            after = text_model(loaded).generate([1, 2], max_tokens=3, sampling=ptir.Sampling(0.0))
        assert engine.PLANS.stats.misses > misses
        assert after.token_ids == before.token_ids


def test_overrides_may_be_measured_while_a_model_is_traced(tmp_path, backend, monkeypatch):
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path / "cache"))
    ptir.functional.winners.WINNERS.clear()
    overrides = {"attention": "benchmark", "layer_norm": "benchmark(cache=8)"}
    with ptir.load_model(write(tmp_path / "m.gptrs"), overrides=overrides) as loaded:
        text_model(loaded).generate([1, 2], max_tokens=2, sampling=ptir.Sampling(0.0))
    winners = ptir.functional.winners.stored()
    assert {w.call.functional for w in winners} == {"attention", "layer_norm"}
    assert {w.call.backend for w in winners} == {backend}


REFUSED = [
    ({"functional_overrides": {"matmull": "default"}}, "did you mean 'matmul'?"),
    ({"functional_overrides": {"attention": "force=tiled"}}, "no implementation 'tiled'"),
    ({"functional_overrides": {"attention": 3}}, "wanted a string"),
    ({"functional_overrides": ["attention"]}, "wanted an object of policies by name"),
    ({"functional_overrides": {"\x1b[0m": "default"}}, "no functional"),
]


@pytest.mark.parametrize("runtime,message", REFUSED)
def test_a_checkpoint_that_asks_for_what_there_is_not_is_refused(tmp_path, runtime, message):
    path = stating(tmp_path / "m.gptrs", runtime)
    with pytest.raises(ModelError) as caught:
        ptir.load_model(path)
    assert str(caught.value).startswith(f"{path}: runtime.functional_overrides: ")
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_overrides_of_load_model_are_read_before_the_file():
    with pytest.raises(ptir.SpecError, match="did you mean 'matmul'"):
        ptir.load_model("/no/such/file", overrides={"matmull": "default"})
