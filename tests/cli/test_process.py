"""`ptir` as a process: what it imports, its locale, its pipes."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import Any
from unicodedata import category

import pytest

PTIR = [sys.executable, "-m", "ptir"]
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN_1 = {"PYTHONIOENCODING": "latin-1"}
# As it usually is: unbuffered streams have nothing left that could fail at exit.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
GREEDY = ["--temperature", "0", "--max-tokens", "4"]


def run(*arguments: str | bytes, env: dict[str, str] | None = None, **options: Any) -> Any:
    return subprocess.run(
        [*PTIR, *arguments],
        env=BUFFERED | (env or {}),
        check=False,
        capture_output=not {"stdout", "stderr"} & options.keys(),
        **options,
    )


HELP = """
import sys
sys.argv = ["ptir", *sys.argv[1:]]
from ptir.cli import main
try:
    main()
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["generate", "--help"],
        *([name, "-h"] for name in ("show", "ir", "chat", "score", "forward", "tokenize", "cache")),
        ["completion", "bash"],
    ],
    ids=" ".join,
)
def test_help_imports_no_numpy(arguments):
    done = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], capture_output=True, text=True, check=False
    )
    loaded = set(done.stderr.split())
    assert done.returncode == 0
    assert done.stdout
    assert "click" in loaded
    assert not loaded & {"numpy", "tokenizers", "ml_dtypes", "msgspec", "ptir.ir"}


def test_a_program_is_read_by_a_process_that_has_done_nothing_else(tmp_path):
    (tmp_path / "a.ptir").write_bytes(run("ir").stdout)
    assert run("ir", str(tmp_path / "a.ptir")).stdout == run("ir").stdout


def test_a_prompt_is_utf_8_whatever_the_locale(tmp_path):
    plain, cased = (
        json.loads(run("generate", "-p", "é漢", "--json", *GREEDY, env=env).stdout)
        for env in ({}, ASCII)
    )
    assert plain["token_ids"] == cased["token_ids"]
    piped = run("generate", "--json", *GREEDY, env=ASCII, input="é漢".encode())
    assert json.loads(piped.stdout)["token_ids"] == plain["token_ids"]


def test_what_a_terminal_lacks_is_replaced():
    done = run("generate", "-p", "é漢", "--echo", "--max-tokens", "0", env=LATIN_1)
    assert (done.returncode, done.stdout) == (0, "é?\n".encode("latin-1"))
    wrong = run("generate", "no-é漢", "-p", "x", env=LATIN_1)
    assert wrong.returncode == 3
    assert "no-é?: cannot be read".encode("latin-1") in wrong.stderr


def test_an_ascii_locale_gets_utf_8():
    done = run("generate", "-p", "é漢", "--echo", "--max-tokens", "0", env=ASCII)
    assert (done.returncode, done.stdout) == (0, "é漢\n".encode())


def test_a_prompt_that_is_not_utf_8_is_3():
    done = run(b"generate", b"-p", b"a\xff")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr == b"ptir: --prompt: is not UTF-8 text: invalid start byte at byte 1\n"


@pytest.mark.parametrize(
    "arguments", [["generate", "-p", "ROMEO:", "--max-tokens", "40"], ["ir"], ["--help"]]
)
def test_a_closed_pipe_is_quiet(arguments):
    reader, writer = os.pipe()
    os.close(reader)  # whoever read it has what it wanted
    done = run(*arguments, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_closed_streams_are_no_reason_to_fail():
    command = f"{sys.executable} -m ptir generate --max-tokens 1 -p x >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    command = f"{sys.executable} -m ptir generate <&-"
    done = subprocess.run(["sh", "-c", command], check=False, capture_output=True)
    assert done.returncode == 2
    assert b"no prompt" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_full_disk_is_3_and_said_once():
    with open("/dev/full", "wb") as full:
        done = run("generate", "-p", "x", "--max-tokens", "3", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    assert done.stderr == b"ptir: No space left on device\n"


def on_a_terminal(*arguments: str) -> str:
    """What a terminal is sent; the `\\r` that it puts before each new line is left out."""
    ours, its = pty.openpty()
    child = subprocess.Popen([*PTIR, *arguments], stdout=its, stderr=subprocess.DEVNULL)
    os.close(its)
    sent = b""
    with open(ours, "rb", buffering=0) as screen, suppress(OSError):  # EIO: all are gone
        while piece := screen.read(1 << 16):
            sent += piece
    assert child.wait() == 0
    return sent.decode().replace("\r\n", "\n")


def controls(text: str) -> set[str]:
    return {c for c in text if category(c) == "Cc"} - {"\n", "\t"}


def test_a_prompt_steers_no_terminal_and_goes_unchanged_into_a_pipe():
    prompt = "a\x1b[31mb\x9b2J\x7f\r\tc\n👩‍🚀é"
    arguments = ("generate", "--echo", "-p", prompt, "--max-tokens", "0")
    assert on_a_terminal(*arguments) == "a\\x1b[31mb\\x9b2J\\x7f\\r\tc\n👩‍🚀é\n"
    assert run(*arguments).stdout == f"{prompt}\n".encode()


def test_generated_text_steers_no_terminal():
    arguments = ("generate", "-p", "x", "--temperature", "1000", "--seed", "1")
    plain = run(*arguments).stdout.decode()
    assert "\x1b" in plain or len(controls(plain)) > 3  # else this test would prove nothing
    shown = on_a_terminal(*arguments)
    assert not controls(shown)
    assert set(plain) - controls(plain) <= set(shown)


def test_text_is_streamed_as_it_comes():
    child = subprocess.Popen(
        [*PTIR, "generate", "-p", "ROMEO:", "--seed", "1"],
        stdout=subprocess.PIPE,
        env=BUFFERED,
    )
    assert child.stdout is not None
    with child.stdout as out:
        sizes = []
        while piece := os.read(out.fileno(), 1 << 16):
            sizes.append(len(piece))
    assert child.wait() == 0
    assert len(sizes) > 10
