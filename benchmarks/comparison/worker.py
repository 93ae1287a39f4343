"""A peer's process as this side sees it. It is stopped while it is not asked, so that threads which
wait by spinning take nothing from others.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PTIR_THREADS")
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
INSTALLED = {"PYTHONDONTWRITEBYTECODE": ""}  # what pip installs has its bytecode beside it


class PeerError(Exception):
    """A peer that cannot take part, and why."""


class Setting(NamedTuple):
    """What a process is started for."""

    peer: str
    folder: Path
    dtype: str
    threads: int


class Worker:
    """A running peer; `ask` it for one thing at a time. Raises PeerError when it cannot answer."""

    def __init__(self, setting: Setting, mode: str) -> None:
        self.setting = setting
        self.log = setting.folder / f"{setting.peer}-{setting.dtype}-{setting.threads}.log"
        arguments = (setting.peer, setting.folder, setting.dtype, setting.threads)
        command = [sys.executable, "-m", "benchmarks.peers", mode, *map(str, arguments)]
        threads = dict.fromkeys(THREADS, str(setting.threads))
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=REPOSITORY,
                env={**os.environ, **OFFLINE, **INSTALLED, **threads},
            )

    def ask(self, do: str, **what: int) -> dict[str, Any]:
        self.process.send_signal(signal.SIGCONT)
        try:
            print(json.dumps({"do": do, **what}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise PeerError(f"ended: {self._last_words()}") from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next answer; the process stops behind it."""
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"ended: {self._last_words()}")
        self.process.send_signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "missing" in answer:
            raise PeerError(answer["missing"])
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _last_words(self) -> str:
        self.process.wait()
        said = self.log.read_text().strip().splitlines() or ["nothing was said"]
        return f"{said[-1]} (code {self.process.returncode}; more in {self.log})"


@contextmanager
def running(setting: Setting, mode: str) -> Iterator[Worker]:
    worker = Worker(setting, mode)
    try:
        yield worker
    finally:
        worker.close()


def prepare(setting: Setting) -> None:
    """See to it that the weights are there in the peer's form. Raises PeerError."""
    with running(setting, "prepare") as worker:
        worker.answer()


def first_token(setting: Setting) -> tuple[float, int]:
    """Seconds from the start of a process to its first token, and its peak of resident bytes.

    Files are warm: what is measured is the program's start, not the disk's.
    """
    begun = perf_counter()
    with running(setting, "first") as worker:
        answer = worker.answer()
        return perf_counter() - begun, answer["peak_bytes"]
