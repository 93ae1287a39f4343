"""`ptir bench`: what is measured, how it is told, and what is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ptir import config, profile, runtime
from ptir.cli import bench
from ptir.profile import Ceilings
from tests.runtime import tiny

CONTEXT = tiny.CONFIG["context_length"]
SHORT = ("-p", 6, "-n", 3, "-r", 2)


@pytest.fixture(autouse=True)
def _measured(monkeypatch):
    """The machine is as slow as it says here, and NumPy is slower."""
    monkeypatch.setenv("PTIR_BACKEND", "reference")
    monkeypatch.setattr(runtime, "ceilings", lambda backend, dtype: Ceilings(1e9, 1e10))


@pytest.fixture
def model(tmp_path) -> Path:
    return tiny.write(tmp_path / "m.gptrs")


def facts(ptir: Any, *arguments: object) -> dict[str, Any]:
    done = ptir("bench", *arguments, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_json_has_each_figure_with_its_median_and_spread(ptir, model):
    found = facts(ptir, model, *SHORT)
    assert set(found) == {
        *("model", "kind", "bytes", "dtype", "backend"),
        *("threads", "processor", "ceilings", "results"),
    }
    assert [row["name"] for row in found["results"]] == ["pp6", "tg3"]
    assert found["dtype"] == "f32"
    for row in found["results"]:
        assert row["unit"] == "tokens/s"
        assert len(row["values"]) == 2
        assert (row["least"], row["most"]) == (min(row["values"]), max(row["values"]))
        assert 0 < row["least"] <= row["median"] <= row["most"]
        assert 0 < row["of_ceiling"] < 1  # NumPy op by op


def test_tokens_a_second_are_tokens_over_the_seconds_of_a_run(ptir, model, monkeypatch):
    seconds = iter([9.0, 2.0, 4.0, 3.0])  # the first is the warm-up
    monkeypatch.setattr(runtime.bench.Test, "once", lambda self, lm: next(seconds))
    (row,) = facts(ptir, model, "-p", 12, "-n", 0, "-r", 3)["results"]
    assert row["values"] == [6.0, 3.0, 4.0]
    assert row["median"] == 4.0


def test_a_prompt_is_one_step_and_generation_one_for_each_token(model):
    with profile.recording() as recorder, runtime.load_model(model) as loaded:
        lm = tiny.text_model(loaded)
        for test in (runtime.bench.prompt(6), runtime.bench.generation(3)):
            test.once(lm)
    steps = [e for e in recorder.events if e.category == "step"]
    assert [(e.name, e.detail["tokens"], e.detail["past"]) for e in steps] == [
        ("prefill", 6, 0),
        *(("decode", 1, past) for past in range(3)),
    ]


def test_the_page_goes_to_stdout_and_progress_to_stderr(ptir, model):
    done = ptir("bench", model, *SHORT)
    assert done.code == 0
    assert done.err == "measuring the machine\nmeasuring pp6, 2 times\nmeasuring tg3, 2 times\n"
    assert done.out.startswith(f"{model}: gpt, ")
    assert "ceilings: 1.0 GB/s read, 10.0 GFLOP/s in f32\n" in done.out
    assert done.out.count("% of the ceiling\n") == 2


def test_sizes_beyond_the_context_are_cut_and_it_is_said(ptir, model):
    done = ptir("bench", model, "-r", 1)
    assert f"the prompt is cut to {CONTEXT} tokens" in done.err
    assert f"the generation is cut to {CONTEXT} tokens" in done.err
    assert f"  pp{CONTEXT} " in done.out
    assert f"  tg{CONTEXT} " in done.out


def test_a_size_of_0_is_left_out(ptir, model):
    assert [r["name"] for r in facts(ptir, model, "-p", 0, "-n", 2)["results"]] == ["tg2"]
    assert [r["name"] for r in facts(ptir, model, "-p", 2, "-n", 0)["results"]] == ["pp2"]
    done = ptir("bench", model, "-p", 0, "-n", 0)
    assert (done.code, done.out) == (2, "")
    assert "nothing to measure" in done.err


def test_threads_are_in_force_while_it_measures_and_not_after(ptir, model, monkeypatch):
    seen = set[int | None]()

    def once(self: runtime.bench.Test, lm: object) -> float:
        seen.add(config.current().threads)
        return 1.0

    monkeypatch.setattr(runtime.bench.Test, "once", once)
    monkeypatch.delenv("PTIR_THREADS", raising=False)
    assert facts(ptir, model, *SHORT, "--threads", 3)["threads"] == 3
    assert seen == {3}
    assert config.current().threads is None


# --- compare ---


def test_figures_are_compared_with_an_earlier_run_by_name(ptir, model, tmp_path):
    before = tmp_path / "before.json"
    before.write_text(json.dumps(facts(ptir, model, "-p", 6, "-n", 0)))
    earlier = json.loads(before.read_text())["results"][0]["median"]
    pp, tg = facts(ptir, model, *SHORT, "--compare", before)["results"]
    assert pp["before"] == earlier
    assert "before" not in tg
    page = ptir("bench", model, *SHORT, "--compare", before).out
    assert f"before {earlier:.2f}: " in page


def test_a_change_is_told_in_per_cent(ptir, model, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime.bench.Test, "once", lambda self, lm: 1.0)
    before = tmp_path / "before.json"
    before.write_text(json.dumps({"results": [{"name": "pp6", "median": 4.0}]}))
    assert "before 4.00: +50.0 %" in ptir("bench", model, *SHORT, "--compare", before).out


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"results": [1]}', "[" * 100_000, "\xff"])
def test_a_file_that_no_bench_wrote_is_3(ptir, model, tmp_path, text):
    file = tmp_path / "before.json"
    file.write_text(text, encoding="latin-1")
    done = ptir("bench", model, *SHORT, "--compare", file)
    assert (done.code, done.out) == (3, "")
    assert "is not what `ptir bench --json` prints" in done.err


# --- profile ---


def test_per_op_says_on_stdout_where_time_goes(ptir, model):
    done = ptir("bench", model, *SHORT, "--per-op")
    assert "\n\nstep " in done.out
    assert "\nprefill " in done.out
    assert "\ndecode " in done.out


def test_a_profile_is_a_trace_in_the_file_and_a_table_on_stderr(ptir, model, tmp_path):
    done = ptir("bench", model, *SHORT, "--profile", tmp_path / "t.json", "--json")
    assert json.loads(done.out)["results"]
    assert "\nstep " in done.err
    trace = json.loads((tmp_path / "t.json").read_text())
    names = [e["name"] for e in trace["traceEvents"] if e.get("cat") in ("request", "step")]
    assert names == ["pp6", "prefill", "tg3", "decode", "decode", "decode"]


def test_events_lie_inside_of_each_other(ptir, model, tmp_path):
    ptir("bench", model, *SHORT, "--profile", tmp_path / "t.json")
    trace = json.loads((tmp_path / "t.json").read_text())
    open_ends: list[float] = []
    for event in (e for e in trace["traceEvents"] if e["ph"] == "X"):
        end = event["ts"] + event["dur"]
        while open_ends and open_ends[-1] <= event["ts"]:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1] + 1e-3
        open_ends.append(end)


def test_a_generation_can_be_profiled(ptir, tmp_path):
    arguments = ("-p", "ROMEO:", "--max-tokens", 3, "--profile", tmp_path / "t.json")
    done = ptir("generate", *arguments)
    assert done.code == 0
    assert "\nstep " in done.err
    trace = json.loads((tmp_path / "t.json").read_text())
    names = [e["name"] for e in trace["traceEvents"] if e.get("cat") in ("request", "step")]
    assert names == ["generate", "prefill", "decode", "decode"]
    assert profile.current() is None


# --- cold ---


def test_cold_measures_processes_from_their_start(ptir):
    done = ptir("bench", "--cold", "-r", 1, "--json")
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in json.loads(done.out)["results"]}
    assert {name: row["unit"] for name, row in rows.items()} == {
        "cold first": "s",
        "cold process": "s",
        "cold peak": "MiB",
    }
    assert 0.05 < rows["cold first"]["median"] <= rows["cold process"]["median"] < 120
    assert rows["cold peak"]["median"] > 20  # an interpreter with NumPy


def test_the_time_and_the_memory_are_those_of_the_process():
    code = "x = bytearray(300 << 20); import time; print('a', flush=True); time.sleep(0.5)"
    first, whole, peak = bench._process([sys.executable, "-c", code])
    assert whole - first > 0.4
    assert 300 < peak < 2000


def test_a_process_that_fails_says_why_and_is_3(ptir, model):
    done = ptir("bench", model, "--cold", "-r", 1)  # no tokenizer lies beside it
    assert (done.code, done.out) == (3, "")
    assert "no tokenizer.json lies beside it" in done.err


@pytest.mark.parametrize("option", [("--per-op",), ("--profile", "t.json")])
def test_other_processes_are_not_profiled(ptir, option):
    done = ptir("bench", "--cold", *option)
    assert (done.code, done.out) == (2, "")
    assert "leave out --per-op and --profile" in done.err
