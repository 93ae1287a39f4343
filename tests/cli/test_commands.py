"""`ptir` itself, and `ir`, `show`, `backends`."""

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptir import __version__, backends, cli, ir, load_model
from ptir.checkpoint import save
from ptir.cli import commands
from ptir.runtime import load
from ptir.runtime.build import build
from tests.runtime import tiny

COMMANDS = sorted(p.stem for p in Path(cli.__file__).parent.glob("[a-z]*.py"))


# --- ptir ---


def test_help_lists_every_command_with_its_line(ptir):
    done = ptir("--help")
    assert (done.code, done.err) == (0, "")
    listed = done.out.partition("Commands:\n")[2]
    rows = re.findall(r"^  (\w+) +(\S.{20,})$", listed, re.MULTILINE)
    assert [name for name, _ in rows] == COMMANDS
    assert {"backends", "generate", "ir", "show"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help_for_every_option(ptir, name, flag):
    done = ptir(name, flag)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: ptir {name}")
    command = commands.get_command(None, name)  # type: ignore[arg-type]  # it asks for none
    assert command is not None
    options = [p for p in command.params if p.param_type_name == "option"]
    assert all(getattr(option, "help", None) for option in options)


def test_no_command_shows_help_as_a_usage_error(ptir):
    done = ptir()
    assert (done.code, done.out) == (2, "")
    assert "Commands:" in done.err


def test_an_unknown_command_is_2_with_the_nearest(ptir):
    done = ptir("generat")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'generate'?" in done.err
    assert "No such command 'xyz'" in ptir("xyz").err


def test_the_version_is_that_of_the_installed_package(ptir):
    done = ptir("--version")
    assert (done.code, done.out) == (0, f"ptir, version {version('ptir')}\n")
    assert __version__ == version("ptir")


# --- show ---


def test_show_tells_kind_config_and_parameters(ptir, tmp_path):
    path = tiny.write(tmp_path / "m.gptrs")
    done = ptir("show", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{path}: gpt\n")
    assert "  embed_dim = 8\n" in done.out
    assert "tokenizer: none\n" in done.out
    weights = tiny.weights()
    total = sum(a.size for a in weights.values())
    assert f"{len(weights)} parameters, {total:,} elements" in done.out
    assert all(name in done.out for name in weights)


def test_show_json_has_the_same_facts(ptir, tmp_path):
    path = tiny.write(tmp_path / "m.gptrs")
    facts = json.loads(ptir("show", path, "--json").out)
    weights = tiny.weights()
    assert facts.pop("parameters") == [
        {"name": n, "dtype": "f32", "shape": list(a.shape), "bytes": a.nbytes}
        for n, a in sorted(weights.items())
    ]
    assert facts == {
        "path": str(path),
        "kind": "gpt",
        "config": tiny.CONFIG,
        "vocabulary": None,
        "dtype": "f32",
        "elements": sum(a.size for a in weights.values()),
        "bytes": sum(a.nbytes for a in weights.values()),
    }


def test_show_without_a_model_is_the_demo(ptir):
    told = ptir("show").out
    assert "tokenizer: 768 tokens\ncomputed in f32\n53 parameters" in told
    assert " f32 " not in told.partition("53 parameters")[2]  # as they are stored


def test_show_tells_what_derived_weights_were_made_of(ptir, tmp_path):
    path = tmp_path / "d.gptrs"
    config = {"derivation": "1f", "parameters": ["a.w", "b.w"]}
    save(path, kind="derived", config=config, tensors={"value": np.zeros((2, 3), "f4")})
    done = ptir("show", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{path}: derived\n")
    assert "  parameters = ['a.w', 'b.w']\n" in done.out
    facts = json.loads(ptir("show", path, "--json").out)
    assert (facts["config"], facts["elements"], facts["bytes"]) == (config, 6, 24)


def test_show_of_no_checkpoint_is_3(ptir):
    done = ptir("show", __file__)
    assert (done.code, done.out) == (3, "")
    assert "is not a GPTRSCHK checkpoint" in done.err


# --- backends ---


def test_backends_lists_each_with_its_duty_and_marks_the_default(ptir):
    rows = ptir("backends").out.splitlines()
    assert [row[2:].split()[0] for row in rows] == backends.names()
    assert [row[2:].split()[0] for row in rows if row[0] == "*"] == ["native"]
    assert all(len(row.split(None, 3)) > 2 for row in rows)


def test_backends_json_has_the_same_facts(ptir):
    facts = json.loads(ptir("backends", "--json").out)
    assert [f["name"] for f in facts] == backends.names()
    assert [f["name"] for f in facts if f["default"]] == ["native"]
    assert all(set(f) == {"name", "version", "default"} for f in facts)


def test_a_default_backend_that_does_not_exist_is_3(ptir, monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "refrence")
    assert ptir("backends").code == 3


# --- ir ---


@pytest.mark.parametrize(
    "command",
    [
        ("forward", "--tokens", "1,2,3"), ("score", "text"), ("ir", "--json"),
        ("generate", "-p", "A", "--max-tokens", "2"), ("chat",), ("plan", "--ctx", "8"),
        ("bench", "-p", "2", "-n", "0", "-r", "1"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_the_type_that_is_named_is_what_the_model_computes_in(ptir, command, tmp_path, monkeypatch):
    seen: list[Any] = []

    def watch(*args: Any) -> Any:
        seen.append(args[2])
        return build(*args)

    monkeypatch.setattr(load, "build", watch)
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("What light")
    for dtype in ("bf16", "f16"):
        done = ptir(*command, "--dtype", dtype)
        assert (done.code, seen.pop().name) == (0, dtype), done.err
    assert ptir(*command, "--dtype", "f64").code == 2
    assert not seen


@pytest.mark.parametrize("step", ["prefill", "decode", "score"])
@pytest.mark.parametrize("optimized", [(), ("--optimized",)])
def test_a_step_of_the_demo_is_printed_and_read_back(ptir, step, optimized, monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "reference")
    done = ptir("ir", "--step", step, *optimized)
    assert (done.code, done.err) == (0, "")
    program = ir.parse_program(done.out).verify()
    with load_model() as model:
        plan = tiny.text_model(model).plan(step)
    assert program == (plan.program if optimized else plan.key.program)
    assert ("composite" in done.out) is not bool(optimized)  # the reference claims none


def test_the_steps_are_different_programs(ptir):
    printed = {ptir("ir", "--step", step).out for step in ("prefill", "decode", "score")}
    assert len(printed) == 3
    assert ptir("ir").out == ptir("ir", "--step", "decode").out


def test_a_program_goes_through_both_forms_unchanged(ptir, tmp_path):
    text = ptir("ir", "--step", "score", "--literals").out
    (tmp_path / "a.ptir").write_text(text)
    assert ptir("ir", tmp_path / "a.ptir", "--literals").out == text
    as_json = ptir("ir", tmp_path / "a.ptir", "--json").out
    (tmp_path / "a.json").write_text(as_json)
    assert ptir("ir", tmp_path / "a.json", "--literals").out == text
    assert ptir("ir", tmp_path / "a.json", "--json").out == as_json
    assert ir.from_json(as_json) == ir.parse_program(text)


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.ptir", b"program @x {"),
        ("a.ptir", b"\xff\xfe"),
        ("a.ptir", b""),
        ("a.json", b"{}"),
        ("a.json", b"[" * 100_000),
        ("a.json", b"\xff"),
    ],
)
def test_what_is_no_program_is_3(ptir, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    done = ptir("ir", tmp_path / name)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("ptir: ")
    assert name in done.err


def test_a_program_that_breaks_a_rule_is_3(ptir, tmp_path):
    (tmp_path / "a.ptir").write_text(
        ptir("ir").out.replace("f32[?B, 768] = ", "f32[?B, 769] = ", 1)
    )
    done = ptir("ir", tmp_path / "a.ptir")
    assert (done.code, done.out) == (3, "")


def test_a_missing_program_is_3(ptir, tmp_path):
    done = ptir("ir", tmp_path / "none.ptir")
    assert (done.code, done.out) == (3, "")
    assert done.err == f"ptir: {tmp_path}/none.ptir: No such file or directory\n"
