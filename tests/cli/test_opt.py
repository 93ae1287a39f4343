"""`ptir opt`: passes on a program in a file."""

import json

import pytest

from ptir import ops
from ptir.ir import Program, from_json, parse_program, tensor_type, to_json

F = tensor_type((2, 2), "f32")
PROGRAM = Program.of([F], lambda x: ops.exp(ops.neg(ops.neg(ops.reshape(x, shape=(2, 2))))))
WITHOUT_NEG = Program.of([F], lambda x: ops.exp(ops.reshape(x, shape=(2, 2))))
SHORT = Program.of([F], ops.exp)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "program.ptir"
    path.write_text(str(PROGRAM), encoding="utf-8")
    return path


def test_the_whole_pipeline_runs_unless_passes_are_named(ptir, file):
    done = ptir("opt", file)
    assert (done.code, done.err) == (0, "")
    assert parse_program(done.out) == SHORT


def test_the_named_passes_run_in_the_order_named(ptir, file):
    assert parse_program(ptir("opt", file, "--passes", "simplify").out) == WITHOUT_NEG
    assert parse_program(ptir("opt", file, "--passes", "simplify, canonicalize").out) == SHORT


def test_a_pass_of_the_library_can_be_named(ptir, file):
    found = parse_program(ptir("opt", file, "--passes", "group_elementwise").out)
    assert found.results[0].attrs["name"] == "elementwise"


def test_json_comes_in_and_goes_out(ptir, tmp_path):
    path = tmp_path / "program.json"
    path.write_text(to_json(PROGRAM), encoding="utf-8")
    done = ptir("opt", path, "--json")
    assert from_json(done.out) == SHORT
    assert json.loads(done.out)["version"] == "ptir.v1"


def test_stats_say_what_fired_and_how_many_nodes_were_left(ptir, file):
    done = ptir("opt", file, "--passes", "simplify,canonicalize", "--stats")
    assert parse_program(done.out) == SHORT
    rows = [row.split() for row in done.err.splitlines()]
    assert rows[0][:4] == ["simplify", "5", "→", "3"]
    assert rows[1][:4] == ["canonicalize", "3", "→", "2"]
    assert ["twice", "1", "×", "in", "simplify"] in rows
    assert ["same_type", "1", "×", "in", "canonicalize"] in rows


def test_explain_shows_both_sides_of_each_firing(ptir, file):
    done = ptir("opt", file, "--passes", "simplify", "--explain")
    assert done.err == (
        "simplify: twice\n"
        "  before\n"
        "    %1: f32[2, 2] = neg(%0: f32[2, 2])\n"
        "    %2: f32[2, 2] = neg(%1: f32[2, 2])\n"
        "  after\n"
        "    %0: f32[2, 2]\n"
    )


def test_an_unknown_pass_is_told_the_nearest(ptir, file):
    done = ptir("opt", file, "--passes", "simplfy")
    assert done.code == 3
    assert "no pass 'simplfy'; did you mean 'simplify'?" in done.err


def test_a_pass_left_out_by_the_environment_does_not_run(ptir, file, monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "reference")
    monkeypatch.setenv("PTIR_PASSES", "-simplify")
    done = ptir("opt", file, "--stats")
    assert "simplify" not in done.err
    assert len(parse_program(done.out).nodes) == 4


def test_a_file_that_is_no_program_is_refused_by_name(ptir, tmp_path):
    path = tmp_path / "bad.ptir"
    path.write_text("program", encoding="utf-8")
    done = ptir("opt", path)
    assert done.code == 3
    assert "bad.ptir" in done.err


def test_a_file_that_is_not_there_is_3(ptir):
    done = ptir("opt", "no/such/file.ptir")
    assert (done.code, done.out) == (3, "")
    assert done.err == "ptir: no/such/file.ptir: No such file or directory\n"
