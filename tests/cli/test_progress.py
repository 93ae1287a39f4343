"""Bars: on a terminal alone, after a while, and gone when all is done."""

import io
from typing import Any

import pytest

from ptir.cli.shared import progress
from ptir.cli.shared.progress import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def attach(monkeypatch) -> Terminal:
    """A terminal as stderr. Only a test itself can do that: a fixture's would be captured."""
    made = Terminal()
    monkeypatch.setattr("sys.stderr", made)
    return made


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_each_round_has_a_bar_that_goes_with_it(monkeypatch):
    terminal = attach(monkeypatch)
    with bar(desc="work") as told:
        for count in (2, 5):
            for done in range(1, count + 1):
                told(done, count)
    first, second = terminal.getvalue().strip().split("\n")
    assert "work: 100%" in first
    assert "2/2" in first
    assert "5/5" in second


def test_what_is_quick_has_none(monkeypatch, clock):
    terminal = attach(monkeypatch)
    with bar(after=1.0) as told:
        told(1, 3)
        clock[0] = 0.9
        told(3, 3)
        clock[0] = 5.0  # another round, which begins here
        told(1, 3)
        assert not terminal.getvalue()
        clock[0] = 6.1
        told(2, 3)
        assert "1/3" in terminal.getvalue()  # where it began: rates count from there
        told(3, 3)
        assert "3/3" in terminal.getvalue()


def test_without_a_terminal_there_is_none(monkeypatch):
    for stream in (io.StringIO(), None):
        monkeypatch.setattr("sys.stderr", stream)
        with bar() as told:
            told(1, 2)
        assert stream is None or not stream.getvalue()


@pytest.mark.parametrize(
    "command",
    [
        ("generate", "-p", "A", "--max-tokens", "1"), ("forward", "--tokens", "1"), ("chat",),
        ("bench", "-p", "2", "-n", "0", "-r", "1"), ("score", "text"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_who_waits_for_weights_sees_how_far_they_are(ptir, command, monkeypatch, tmp_path):
    def patient(*args: Any, after: float, **style: Any) -> Any:
        return bar(0.0, **style | {"leave": True})

    monkeypatch.setattr("ptir.cli.shared.model.bar", patient)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("What light")
    terminal = attach(monkeypatch)
    assert ptir(*command, stdin=b"Hello\n").code == 0
    assert "preparing weights: 100%" in terminal.getvalue()


def test_lines_of_a_batch_are_counted(ptir, monkeypatch, tmp_path):
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"prompt": "A", "max_tokens": 1}\n' * 3)
    terminal = attach(monkeypatch)
    assert ptir("generate", "--batch-file", lines).code == 0
    assert "3/3" in terminal.getvalue()
