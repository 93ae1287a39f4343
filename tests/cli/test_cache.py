"""`ptir cache`: what is kept on disk, and its deletion."""

import json
import os

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder with two files of ours and one that is not."""
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path))
    for name, size in (("winners-a.json", 3), ("winners-b.json", 4), ("notes.json", 5)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "winners-folder.json").mkdir()
    return tmp_path


def test_the_folder_and_its_files_are_shown_with_sizes(ptir, folder):
    head, *rows = ptir("cache").out.splitlines()
    assert head == f"{folder}: 2 files, 7 bytes"
    assert [row.split() for row in rows] == [["3", "winners-a.json"], ["4", "winners-b.json"]]
    assert json.loads(ptir("cache", "--json").out) == {
        "folder": str(folder),
        "files": {str(folder / "winners-a.json"): 3, str(folder / "winners-b.json"): 4},
        "bytes": 7,
    }


def test_a_folder_that_is_not_there_is_empty(ptir, tmp_path, monkeypatch):
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path / "none"))
    assert ptir("cache").out == f"{tmp_path}/none: 0 files, 0 bytes\n"
    assert ptir("cache", "clear") == (0, "0 files deleted\n", "")


def test_measurements_are_found_there(ptir, tmp_path, monkeypatch):
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "0")
    measuring = ("--override", "layer_norm=benchmark", "--max-tokens", 1)
    assert ptir("generate", "-p", "x", *measuring).code == 0
    assert ptir("cache").out.startswith(f"{tmp_path}: 1 file, ")


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_clear_deletes_what_is_ours_alone(ptir, folder):
    assert ptir("cache", "clear", "--yes") == (0, "2 files deleted\n", "")
    assert left(folder) == ["notes.json", "winners-folder.json"]


def test_clear_asks_first(ptir, folder, monkeypatch):
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "n")
    done = ptir("cache", "clear")
    assert (done.code, len(left(folder))) == (130, 4)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "y")
    assert ptir("cache", "clear").out == "2 files deleted\n"
    assert len(left(folder)) == 2


def test_clear_deletes_nothing_where_nobody_can_be_asked(ptir, folder):
    done = ptir("cache", "clear", stdin=b"y\n")
    assert (done.code, done.out, len(left(folder))) == (2, "", 4)
    assert "give --yes" in done.err


@pytest.fixture
def derived(folder):
    """The same with two derived values, what a dead writer left, and what is not ours."""
    inner = folder / "derived"
    inner.mkdir()
    for name in ("a" * 32 + ".gptrs", "b" * 32 + ".gptrs", ".ptir-0.tmp", ".ptir-1.tmp", ".lock"):
        (inner / name).write_bytes(b"x" * 1000)
    (inner / "my-model.gptrs").write_bytes(b"x")
    os.utime(inner / ".ptir-0.tmp", (1, 1))
    return inner


def test_derived_weights_are_one_row_of_many_files(ptir, folder, derived):
    head, *rows = ptir("cache").out.splitlines()
    assert head == f"{folder}: 5 files, 3,007 bytes"
    assert rows[-1].split(None, 1) == ["3,000", "derived/ (3 files)"]
    assert len(rows) == 3
    found = json.loads(ptir("cache", "--json").out)
    assert found["files"][str(derived / f"{'a' * 32}.gptrs")] == 1000
    assert (len(found["files"]), found["bytes"]) == (5, 3007)


def test_clear_deletes_derived_weights_and_what_dead_writers_left(ptir, folder, derived):
    assert ptir("cache", "clear", "--yes").out == "5 files deleted\n"
    assert left(derived) == [".lock", ".ptir-1.tmp", "my-model.gptrs"]


def test_derived_weights_behind_a_link_are_not_ours(ptir, folder, derived):
    derived.rename(folder / "elsewhere")
    derived.symlink_to(folder / "elsewhere")
    assert ptir("cache", "clear", "--yes").out == "2 files deleted\n"
    assert len(left(folder / "elsewhere")) == 6
