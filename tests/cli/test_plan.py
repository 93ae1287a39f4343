"""`ptir plan`: bytes by kind, a bound on the speed, and that no weight is read for them."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import pytest

from ptir import load_model, runtime
from ptir.checkpoint import Checkpoint, save
from ptir.profile import Ceilings
from ptir.runtime import ceilings as measure
from tests.runtime import tiny

V, T, E, L, _ = map(int, tiny.CONFIG.values())
MEASURED = Ceilings(1e9, 1e10)


@pytest.fixture(autouse=True)
def _measured(monkeypatch):
    """The machine is as slow as it says here, and the backend derives nothing of its own."""
    monkeypatch.setenv("PTIR_BACKEND", "reference")
    monkeypatch.setattr(runtime, "ceilings", lambda backend, dtype: MEASURED)


@pytest.fixture
def model(tmp_path) -> Path:
    return tiny.write(tmp_path / "m.gptrs")


def facts(ptir: Any, *arguments: object) -> dict[str, Any]:
    done = ptir("plan", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_json_has_the_stated_fields(ptir, model):
    found = facts(ptir, model)
    assert set(found) == {
        *("model", "kind", "backend", "context", "batch", "checkpoint_bytes", "bytes", "exact"),
        *("ceilings", "tokens_per_s"),
    }
    assert list(found["bytes"]) == ["weights", "derived", "caches", "working", "total"]
    assert found["checkpoint_bytes"] == sum(a.nbytes for a in tiny.weights().values())
    assert (found["context"], found["batch"]) == (T, 1)
    assert found["ceilings"] == {"bytes_per_s": 1e9, "flops_per_s": 1e10, "dtype": "f32"}


def test_the_total_is_the_sum_of_the_kinds(ptir, model):
    kinds = facts(ptir, model)["bytes"]
    assert kinds.pop("total") == sum(kinds.values())


def test_what_steps_read_is_no_less_than_the_checkpoint_where_nothing_is_derived_of_it(ptir, model):
    found = facts(ptir, model)
    assert found["bytes"]["weights"] + found["bytes"]["derived"] >= found["checkpoint_bytes"]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("context", [1, 7, T])
def test_caches_take_keys_and_values_of_every_layer_and_position(ptir, model, context, batch):
    found = facts(ptir, model, "--ctx", context, "--batch", batch)
    with load_model(model) as loaded:
        capacity = tiny.text_model(loaded).context_length  # the least capacity is more than it
    assert found["bytes"]["caches"] == 2 * L * batch * capacity * E * 4


def test_a_larger_batch_takes_more_room_to_work_in_and_no_more_weights(ptir, model):
    one, four = (facts(ptir, model, "--batch", batch)["bytes"] for batch in (1, 4))
    assert four["working"] > one["working"]
    assert four["weights"] + four["derived"] <= one["weights"] + one["derived"]


def matrices() -> int:
    """Elements of all that a row is multiplied by."""
    return L * (3 * E * E + E * E + 2 * 4 * E * E) + E * V


def test_prefill_is_bound_by_its_products_where_those_are_slow(ptir, model, monkeypatch):
    slow = Ceilings(1e30, 1e6)
    monkeypatch.setattr(runtime, "ceilings", lambda backend, dtype: slow)
    scores = L * 2 * T * E  # a position's products with all keys and all values
    head = E * V * (T - 1)  # of the last position alone
    operations = 2 * (T * (matrices() + scores) - head)
    rates = facts(ptir, model)["tokens_per_s"]
    assert rates["prefill"] == pytest.approx(T * 1e6 / operations)
    assert rates["decode"] == pytest.approx(1e6 / (2 * (matrices() + scores)))


def test_decode_is_bound_by_what_it_reads_where_that_is_slow(ptir, model, monkeypatch):
    slow = Ceilings(1e6, 1e30)
    monkeypatch.setattr(runtime, "ceilings", lambda backend, dtype: slow)
    rows = V * E - E + T * E - E  # of embeddings, one row each is read
    weights = sum(a.size for a in tiny.weights().values()) - rows
    caches = 2 * L * 5 * E
    rates = facts(ptir, model, "--ctx", 5)["tokens_per_s"]
    assert rates["decode"] == pytest.approx(1e6 / (4 * (weights + caches)))


def test_a_batch_shares_what_is_read_of_the_weights(ptir, model, monkeypatch):
    monkeypatch.setattr(runtime, "ceilings", lambda backend, dtype: Ceilings(1e6, 1e30))
    one, four = (
        facts(ptir, model, "--ctx", 1, "--batch", n)["tokens_per_s"]["decode"] for n in (1, 4)
    )
    assert 2 * one < four < 4 * one


def test_no_weight_is_read(ptir, model, monkeypatch):
    def fail(self: Checkpoint, name: object) -> None:
        raise AssertionError(f"{name} was read")

    monkeypatch.setattr(Checkpoint, "load", fail)
    assert facts(ptir, model)["bytes"]["weights"] > 0


def test_an_executable_that_knows_its_memory_is_asked(ptir, model, monkeypatch):
    asked: list[dict[str, int]] = []

    class Sized:
        def memory(self, symbols: Any) -> int:
            asked.append(dict(symbols))
            return 1000 + len(symbols)

    monkeypatch.setattr("ptir.backends.reference.Backend.compile", lambda self, program: Sized())
    monkeypatch.setenv("PTIR_PLAN_CACHE", "255")
    path = tiny.write(model.parent / "other.gptrs", embed_dim=10)  # no plan of it is known yet
    found = facts(ptir, path, "--ctx", 9)
    assert (found["bytes"]["working"], found["exact"]) == (1004, True)
    assert asked == [{"C": T, "B": 1, "S": 1, "T": 9}, {"C": T, "B": 1, "S": 1}]


def test_the_page_has_the_same_facts(ptir, model):
    done = ptir("plan", model, "--ctx", 9, "--batch", 2)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{model}: gpt, on reference\nmemory of 2 × 9 tokens\n")
    assert "speed at most, of 1.0 GB/s read and 10.0 GFLOP/s in f32\n" in done.out
    for kind in ("weights", "derived", "caches", "working", "total", "prefill", "decode"):
        assert f"\n  {kind} " in done.out


def test_a_context_that_the_model_does_not_have_is_refused(ptir, model):
    done = ptir("plan", model, "--ctx", T + 1)
    assert (done.code, done.out) == (2, "")
    assert f"{T + 1} tokens do not fit the model's context of {T}" in done.err


@pytest.mark.parametrize("arguments", [("--ctx", 0), ("--batch", 0), ("--ctx", "x")])
def test_sizes_that_make_no_sense_are_refused(ptir, model, arguments):
    assert ptir("plan", model, *arguments).code == 2


def test_what_is_no_checkpoint_is_3(ptir):
    assert ptir("plan", __file__).code == 3


def test_the_ceiling_is_that_of_products_in_the_models_own_type(ptir, tmp_path, monkeypatch):
    asked = []

    def measured(backend, dtype):
        asked.append(dtype)
        return Ceilings(1e9, 1e10, dtype)

    monkeypatch.setattr(runtime, "ceilings", measured)
    weights = {name: array.astype(ml_dtypes.bfloat16) for name, array in tiny.weights().items()}
    path = tmp_path / "m.gptrs"
    save(path, kind="gpt", config=tiny.CONFIG, tensors=weights)
    assert "10.0 GFLOP/s in bf16\n" in ptir("plan", path).out
    assert "in f32\n" in ptir("plan").out
    assert asked == ["bf16", "f32"]


def test_products_are_measured_in_the_type_that_is_asked_for():
    for asked, measured in (("bf16", "bf16"), ("f32", "f32"), ("si8", "f32")):
        found = measure("native", asked)
        assert found.dtype == measured
        assert found.bytes_per_s > 1e8
        assert found.flops_per_s > 1e8
