"""Recorded events, their trace as Perfetto reads it, and their tables."""

import json
import threading
from collections.abc import Iterator
from time import perf_counter_ns, sleep
from typing import Any

import pytest

from ptir import profile
from ptir.profile import Ceilings, Event, Recorder


def filled(*events: Event) -> Recorder:
    recorder = Recorder()
    for event in events:
        recorder.add(event)
    return recorder


def op(name: str, ms: float, **detail: Any) -> Event:
    return Event(name, "op", 0, int(ms * 1e6), detail=detail)


def rows(table: str, title: str) -> dict[str, list[str]]:
    """The cells of each row in the part of a table that has this title."""
    part = next(p for p in table.split("\n\n") if p.startswith(title))
    return {cells[0]: cells[1:] for cells in map(str.split, part.splitlines())}


# --- recording ---


def test_nothing_records_until_it_is_asked_for():
    assert profile.current() is None
    with profile.recording() as recorder:
        assert profile.current() is recorder
    assert profile.current() is None


def test_a_span_that_nobody_records_is_one_shared_object():
    assert profile.span("a", "op") is profile.span("b", "step", tokens=1)


def test_a_span_takes_no_microsecond_while_nothing_records():
    def once() -> int:
        begun = perf_counter_ns()
        for _ in range(1000):
            with profile.span("a", "op"):
                pass
        return perf_counter_ns() - begun

    assert min(once() for _ in range(20)) < 1000 * 1000


def test_a_span_has_its_name_its_detail_and_the_time_that_it_took():
    with profile.recording() as recorder, profile.span("a", "step", tokens=3):
        sleep(0.002)
    (event,) = recorder.events
    assert (event.name, event.category, dict(event.detail)) == ("a", "step", {"tokens": 3})
    assert event.thread == threading.get_ident()
    assert event.took_ns >= 2_000_000
    assert 0 < event.start_ns <= perf_counter_ns() - event.took_ns


def test_a_span_that_raises_is_recorded():
    with profile.recording() as recorder:
        with pytest.raises(ValueError, match="no"), profile.span("a", "op"):
            raise ValueError("no")
        assert [e.name for e in recorder.events] == ["a"]


def test_an_inner_recording_has_its_own_events_and_the_outer_one_goes_on():
    with profile.recording() as outer:
        with profile.recording() as inner, profile.span("in", "op"):
            pass
        with profile.span("out", "op"):
            pass
    assert [[e.name for e in r.events] for r in (outer, inner)] == [["out"], ["in"]]


def test_a_recording_ends_when_its_block_raises():
    with pytest.raises(ValueError, match="no"), profile.recording():
        raise ValueError("no")
    assert profile.current() is None


def test_a_full_recorder_counts_what_it_drops():
    recorder = Recorder(limit=2)
    for n in range(5):
        recorder.add(Event(str(n), "op", n, 1))
    assert [e.name for e in recorder.events] == ["0", "1"]
    assert recorder.dropped == 3
    assert profile.chrome_trace(recorder)["otherData"] == {"dropped_events": 3}
    assert profile.table(recorder).endswith("3 later events were dropped")


def test_no_event_of_any_thread_is_lost():
    def work() -> None:
        for _ in range(500):
            with profile.span("a", "op"):
                pass

    with profile.recording() as recorder:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(recorder.events) == 8 * 500
    assert recorder.dropped == 0


# --- trace ---


def spans(trace: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (e for e in trace["traceEvents"] if e["ph"] == "X")


def test_a_trace_is_json_in_microseconds_from_the_first_event():
    recorder = filled(Event("b", "op", 5_500, 250), Event("a", "step", 5_000, 1_000))
    trace = json.loads(json.dumps(profile.chrome_trace(recorder), allow_nan=False))
    assert [(e["name"], e["cat"], e["ts"], e["dur"]) for e in spans(trace)] == [
        ("a", "step", 0.0, 1.0),
        ("b", "op", 0.5, 0.25),
    ]


def test_an_event_follows_what_it_is_inside_of():
    recorder = filled(
        Event("op", "op", 10, 5),
        Event("program", "program", 10, 5),
        Event("step", "step", 10, 9),
        Event("request", "request", 0, 20),
    )
    names = [e["name"] for e in spans(profile.chrome_trace(recorder))]
    assert names[:2] == ["request", "step"]


def test_each_thread_has_a_track_with_a_small_number_and_a_name():
    recorder = filled(Event("a", "op", 0, 1, thread=1 << 40), Event("b", "op", 1, 1, thread=7))
    trace = profile.chrome_trace(recorder)
    assert [e["tid"] for e in spans(trace)] == [1, 2]
    named = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"}
    assert named == {0: "ptir", 1: "thread 1", 2: "thread 2"}


def test_a_detail_that_json_lacks_is_told_as_text():
    recorder = filled(Event("a", "op", 0, 1, detail={"shape": (1, 2), "bytes": 3, "hit": True}))
    (event,) = spans(profile.chrome_trace(recorder))
    assert event["args"] == {"shape": "(1, 2)", "bytes": 3, "hit": True}


def test_a_saved_trace_is_read_back(tmp_path):
    recorder = filled(Event("漢", "op", 0, 1))
    profile.save(recorder, tmp_path / "t.json")
    saved = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert saved == profile.chrome_trace(recorder)


def test_nothing_recorded_is_an_empty_trace_and_an_empty_table():
    assert list(spans(profile.chrome_trace(Recorder()))) == []
    assert profile.table(Recorder()) == ""


# --- tables ---

GEMM = {"kernel": "gemm", "bytes": 2_000_000, "flops": 6_000_000_000}


def test_steps_are_told_with_tokens_a_second():
    recorder = filled(
        Event("prefill", "step", 0, 100_000_000, detail={"tokens": 50}),
        Event("decode", "step", 0, 10_000_000, detail={"tokens": 1}),
        Event("decode", "step", 0, 30_000_000, detail={"tokens": 1}),
    )
    found = rows(profile.table(recorder), "step")
    assert found["prefill"] == ["100.000", "1", "50", "500.0"]
    assert found["decode"] == ["40.000", "2", "2", "50.0"]


def test_ops_are_summed_by_kernel_and_by_functional():
    recorder = filled(
        op("x", 2, **GEMM, functional="linear"),
        op("y", 4, **GEMM, functional="attention"),
        op("z", 2, kernel="copy", functional="attention", bytes=4_000_000),
    )
    table = profile.table(recorder)
    kernels = rows(table, "kernel")
    assert kernels["gemm"] == ["6.000", "75.0", "%", "2", "4.00", "0.7", "12.000", "2000.0"]
    assert kernels["copy"] == ["2.000", "25.0", "%", "1", "4.00", "2.0"]
    assert [rows(table, "functional")[n][0] for n in ("attention", "linear")] == ["6.000", "2.000"]
    assert list(kernels)[1:] == ["gemm", "copy"]


def test_ops_are_summed_by_layer_whatever_the_number_of_its_block():
    layers = ["blocks.0.ln_1", "blocks.12.ln_1", "blocks.1.attention", "lm_head"]
    table = profile.table(
        filled(*(op("x", n, **GEMM, layer=name) for n, name in enumerate(layers, 1)))
    )
    found = {name: row[0] for name, row in rows(table, "layer").items() if name != "layer"}
    assert found == {"blocks.*.ln_1": "3.000", "blocks.*.attention": "3.000", "lm_head": "4.000"}


def test_an_op_that_names_no_kernel_stands_under_its_own_name():
    assert rows(profile.table(filled(op("exp", 1))), "kernel")["exp"] == [
        "1.000",
        "100.0",
        "%",
        "1",
    ]


def test_what_steps_spend_outside_of_ops_is_told():
    recorder = filled(Event("decode", "step", 0, 10_000_000), op("x", 4, kernel="gemm"))
    table = profile.table(recorder)
    assert rows(table, "kernel")["gemm"][:3] == ["4.000", "40.0", "%"]
    for rest in (line for line in table.splitlines() if line.startswith("(the rest")):
        assert rest.split()[-3:] == ["6.000", "60.0", "%"]


def test_the_share_of_the_ceiling_is_that_of_the_slower_of_reading_and_computing():
    recorder = filled(op("x", 10, **GEMM), op("y", 10, kernel="copy", bytes=40_000_000))
    found = rows(profile.table(recorder, Ceilings(8e9, 1.2e12)), "kernel")
    assert found["gemm"][-2:] == ["50.0", "%"]  # 6 GFLOP take 5 ms
    assert found["copy"][-2:] == ["50.0", "%"]  # 40 MB take 5 ms


def test_without_ops_whole_programs_are_told():
    recorder = filled(Event("run", "program", 0, 1_000_000), Event("compile", "program", 0, 10))
    assert rows(profile.table(recorder), "program")["run"][0] == "1.000"
