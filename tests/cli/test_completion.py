"""Shell completion: the scripts, what bash makes of one, and what each shell is answered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from ptir import config
from ptir.cli import commands

SHELLS = ["bash", "zsh", "fish"]


def completions(*arguments: str, last: str = "") -> list[str]:
    """What click would offer for the word `last` behind these."""
    shell = get_completion_class("bash")
    assert shell is not None
    asked = shell(commands, {}, "ptir", config.COMPLETE)
    return [item.value for item in asked.get_completions(list(arguments), last)]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_asks_ptir_for_the_completions(ptir, shell):
    done = ptir("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert f"{config.COMPLETE}={shell}_complete" in done.out
    assert any("ptir" in line and "comp" in line for line in done.out.splitlines()[-9:])


def test_another_shell_is_2(ptir):
    done = ptir("completion", "csh")
    assert (done.code, done.out) == (2, "")
    assert "'bash', 'zsh', 'fish'" in done.err


def test_commands_and_their_own_commands_are_completed():
    assert completions(last="gen") == ["generate"]
    assert {"generate", "score", "tokenize", "cache"} <= set(completions())
    assert "shared" not in completions()
    assert completions("cache") == ["clear"]
    assert completions("completion") == SHELLS


def test_options_and_their_choices_are_completed():
    assert completions("generate", last="--top") == ["--top-k", "--top-p"]
    assert completions("generate", "--overflow") == ["stop", "slide"]
    assert {"--no-reuse-prefix", "--no-ignore-eos"} <= set(completions("generate", last="--no-"))


@pytest.fixture
def path(tmp_path):
    """A PATH on which `ptir` is this one."""
    script = tmp_path / "bin" / "ptir"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m ptir "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}:{os.environ['PATH']}"


def in_bash(path: str, words: str, at: int, folder: Path) -> list[str]:
    """What bash has after the user pressed tab in a folder."""
    lines = [
        'eval "$(ptir completion bash)"',
        "complete -p ptir | grep -q _ptir_completion || exit 9",
        f"COMP_WORDS=({words}); COMP_CWORD={at}",
        'cd "$FOLDER"; _ptir_completion ptir',
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        env={**os.environ, "PATH": path, "FOLDER": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_bash_completes_a_command_and_an_option_whatever_the_settings(path, tmp_path):
    assert in_bash(path, "ptir tok", 1, tmp_path) == ["tokenize"]
    (tmp_path / "ptir.toml").write_text("no settings at all")
    assert in_bash(path, "ptir generate x --max-", 3, tmp_path) == ["--max-tokens"]
