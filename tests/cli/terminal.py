"""A program on a terminal of its own, driven as a user does: what is typed, what is shown."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from select import select
from time import monotonic
from types import MappingProxyType
from typing import IO

AT_PROMPT = rb"(?:\n|\x1b\[\?2004h)> $"  # readline asks for pastes in brackets, else nothing does
PATIENCE = 60  # seconds, for a busy machine
# Makes the terminal the one that Ctrl-C comes from.
BOOT = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
LEFT_OUT = ("PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL", "INPUTRC", "PYTHONUNBUFFERED")


class Terminal:
    """`python -m ptir` on a terminal of 80 columns that knows what xterm does."""

    def __init__(
        self, *arguments: str, env: Mapping[str, str], stdout: IO[bytes] | None = None
    ) -> None:
        self._ours, its = pty.openpty()
        self.resize(80)
        usual = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        self._child = subprocess.Popen(
            [sys.executable, "-c", BOOT, "-m", "ptir", *arguments],
            stdin=its,
            stdout=stdout or its,
            stderr=its,
            env={**usual, "TERM": "xterm", "LC_ALL": "C.UTF-8", **env},
            start_new_session=True,
        )
        os.close(its)
        self._unread = b""

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def until(self, pattern: bytes) -> bytes:
        """What is shown, up to the end of the first match."""
        deadline = monotonic() + PATIENCE
        while not (found := re.search(pattern, self._unread, re.DOTALL)):
            assert self._read(deadline - monotonic()), f"no {pattern!r} in {self._unread[-2000:]!r}"
        shown, self._unread = self._unread[: found.end()], self._unread[found.end() :]
        return shown

    def press_ctrl_c(self) -> None:
        """At the prompt. `readline` overlooks it until it waits for a key."""
        state = Path(f"/proc/{self._child.pid}/stat")
        deadline = monotonic() + PATIENCE
        while state.exists() and state.read_text().rpartition(") ")[2][0] != "S":
            assert monotonic() < deadline
        self.type(b"\x03")

    def resize(self, columns: int) -> None:
        """Which the program is told by SIGWINCH."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def ended(self) -> int:
        """The exit code, once all is shown."""
        deadline = monotonic() + PATIENCE
        while self._read(deadline - monotonic()):
            pass
        return self._child.wait(max(deadline - monotonic(), 1))

    def _read(self, seconds: float) -> bool:
        """Take what is there; False at the end, or when nothing comes."""
        if not select([self._ours], [], [], max(seconds, 0))[0]:
            return False
        with suppress(OSError):  # EIO: nobody is there any more
            piece = os.read(self._ours, 1 << 16)
            self._unread += piece
            return bool(piece)
        return False

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._ours)


def chat(
    folder: Path,
    *options: str,
    env: Mapping[str, str] = MappingProxyType({}),
    stdout: IO[bytes] | None = None,
) -> Terminal:
    """`ptir chat` at its first prompt, its history in a folder."""
    env = {"PTIR_CACHE_DIR": str(folder), **env}
    opened = Terminal("chat", *options, env=env, stdout=stdout)
    try:
        opened.until(AT_PROMPT)
    except BaseException:
        opened.__exit__()
        raise
    return opened
