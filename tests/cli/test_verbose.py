"""`--verbose`: each room says under its own name what it does."""

import logging

import pytest

from ptir import engine
from ptir.functional import winners
from tests.runtime import tiny

ONE = ("generate", "-p", "ROMEO:", "--max-tokens", 1)


def rooms(err: str) -> set[str]:
    return {line.partition(": ")[0] for line in err.splitlines() if line.startswith("ptir.")}


def test_nothing_is_said_unless_asked(ptir):
    engine.PLANS.clear()
    done = ptir(*ONE)
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert rooms(done.err) == set()


def test_rooms_say_what_they_do(ptir):
    engine.PLANS.clear()
    done = ptir(*ONE, "-v")
    assert rooms(done.err) == {"ptir.checkpoint", "ptir.engine", "ptir.runtime"}
    assert "demo.gptrs: GPTRSCHK " in done.err
    assert "ptir.engine: a program was compiled for native in " in done.err
    assert "a request ended by length: 4 tokens in (0 of them cached; miss" in done.err


@pytest.mark.parametrize("flags", [("-vv",), ("--verbose", "--verbose"), ("-v", "-v", "-v")])
def test_twice_says_more(ptir, flags):
    engine.PLANS.clear()
    assert "ptir.passes" in rooms(ptir(*ONE, *flags).err)


def test_measurements_are_told(ptir, tmp_path, monkeypatch):
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path))
    err = ptir(*ONE, "-v", "--override", "layer_norm=benchmark", "--backend", "reference").err
    assert "ptir.functional: layer_norm of " in err
    assert " is the fastest" in err


def test_a_warning_is_said_unasked_and_steers_no_terminal(ptir, tmp_path, monkeypatch):
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path / "a\x1b[2J"))
    winners.path().parent.mkdir()
    winners.path().write_text("nonsense")
    err = ptir("functionals").err
    assert err.startswith(f"ptir.functional: {tmp_path}/a\\x1b[2J/winners-")
    assert "is ignored: " in err


def test_nothing_is_left_behind(ptir):
    logger = logging.getLogger("ptir")
    before = (logger.level, list(logger.handlers))
    ptir("backends", "-vv")
    ptir("backends", "-vv", "--nonsense")
    assert (logger.level, list(logger.handlers)) == before


def test_every_command_takes_it(ptir, tmp_path):
    path = tiny.write(tmp_path / "m.gptrs")
    assert "ptir.checkpoint" in rooms(ptir("show", path, "-v").err)
