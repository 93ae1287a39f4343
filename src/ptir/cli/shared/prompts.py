"""Text that a command is given: as an argument, in a file, or piped in; and text in a table.

Knows no tokens.
"""

import json
import os
import sys
from pathlib import Path

import click

import ptir

MAX_PROMPT_BYTES = 1 << 24  # far beyond every context; a device may have no end


def given(prompt: str | None, file: Path | None) -> str:
    """The text of --prompt or --file, or of stdin if neither is given."""
    if prompt is not None and file is not None:
        raise click.UsageError("give --prompt or --file, not both")
    return read(file) if prompt is None else _as_given(prompt)


def read(file: Path | None) -> str:
    """The text of a file or of stdin: UTF-8 whatever the locale says, and not a byte of it lost."""
    if file is not None and file != Path("-"):
        with file.open("rb") as opened:
            return _decoded(opened.read(MAX_PROMPT_BYTES + 1), str(file))
    if sys.stdin is None or (file is None and sys.stdin.isatty()):
        raise click.UsageError("no prompt: give --prompt TEXT, --file FILE, or pipe one in")
    return _decoded(sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1), "stdin")


def quoted(text: str) -> str:
    """As JSON, but readable: a terminal is not steered by it, and spaces are seen."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in written)


def _as_given(prompt: str) -> str:
    """The text of an argument: UTF-8 whatever the locale says."""
    if prompt.isascii() or not any("\udc80" <= c <= "\udcff" for c in prompt):
        return prompt
    return _decoded(os.fsencode(prompt), "--prompt")


def _decoded(raw: bytes, name: str) -> str:
    if len(raw) > MAX_PROMPT_BYTES:
        raise ptir.PtirError(f"{name}: more than {MAX_PROMPT_BYTES} bytes are no prompt")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        why = f"{error.reason} at byte {error.start}"
        raise ptir.PtirError(f"{name}: is not UTF-8 text: {why}") from None
