"""Lines that a user types or pipes in. Knows no conversation."""

import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Any, final

import click

from ptir.ir import PtirError

PROMPT = "> "
MAX_BYTES = 1 << 24  # of a line that is piped in; far beyond every context
REMEMBERED = 1000  # lines
# What is pasted is one line. In a C locale a byte of a character would be a key with Alt.
SETTINGS = ("enable-bracketed-paste on", "input-meta on", "output-meta on", "convert-meta off")


@final
class Lines:
    """Lines of stdin. On a terminal with a prompt, and edited by `readline` where it is.

    What is typed is in the locale's encoding, or in UTF-8 where the locale names none that has it;
    what is piped in is UTF-8.
    """

    def __init__(self, history: Path) -> None:
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._history = history
        self._readline: Any = None
        if self.is_terminal and isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")
            # Where stdout is no terminal, readline would write its prompt and echo into it.
            if sys.stdout is not None and sys.stdout.isatty() and find_spec("readline"):
                self._readline = import_module("readline")
                self._begin_editing()

    def read(self) -> str:
        """The next line without its end. Raises EOFError, and PtirError for what is no text."""
        if not self.is_terminal:
            return _piped()
        if self._readline is None:
            click.echo(PROMPT, nl=False, err=True)
            line = sys.stdin.readline()
            if not line:
                raise EOFError
        else:
            line = input(PROMPT)
            self._remember()
        return typed("the line", line.removesuffix("\n"), sys.stdin.encoding)

    def _begin_editing(self) -> None:
        if "libedit" not in (self._readline.__doc__ or ""):
            for setting in SETTINGS:
                self._readline.parse_and_bind(f"set {setting}")
        self._readline.set_history_length(REMEMBERED)
        with suppress(OSError):
            self._readline.read_history_file(self._history)

    def _remember(self) -> None:
        """Keep the history, for the user alone; a folder that cannot be written has none."""
        with suppress(OSError):
            self._history.parent.mkdir(0o700, parents=True, exist_ok=True)
            self._readline.write_history_file(self._history)  # with the mode 0600


def _piped() -> str:
    """A line of stdin that is UTF-8, whatever the locale says."""
    raw = sys.stdin.buffer.readline(MAX_BYTES + 1) if sys.stdin is not None else b""
    if not raw:
        raise EOFError
    if len(raw) > MAX_BYTES:
        raise PtirError(f"stdin: more than {MAX_BYTES} bytes are no line")
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        why = f"{error.reason} at byte {error.start} of a line"
        raise PtirError(f"stdin: is not UTF-8 text: {why}") from None


def typed(what: str, text: str, encoding: str) -> str:
    """Text that came in the locale's encoding, as it was meant: else it was UTF-8."""
    if not any("\udc80" <= c <= "\udcff" for c in text):
        return text
    try:
        return text.encode(encoding, "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise PtirError(f"{what} is not UTF-8 text") from None
