"""Chat templates rendered in a child process that may fail. Knows no tokenizer and no messages."""

import json
import math
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

from .error import ChatError

MAX_REQUEST_BYTES = 1 << 25
MAX_TEMPLATE = 1 << 20  # characters
_SCRIPT = Path(__file__).with_name("sandbox.py")
# The child is isolated from the environment and the folder, so it is told where jinja2 lies.
_BOOT = (
    "import sys, runpy; sys.path.append(sys.argv.pop(1)); sys.argv.pop(0); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
_LARGEST_ESCAPE = 12  # bytes of JSON for one character


@dataclass(frozen=True)
class Limits:
    """What one render may take. A system without process limits keeps `seconds` alone."""

    seconds: float = 2.0
    memory: int = 1 << 29  # bytes of address space, Python's own among them
    output: int = 1 << 23  # characters
    start_seconds: float = 20.0  # for the child to start, which is waited for once


DEFAULT = Limits()


@final
class Renderer:
    """Renders Jinja templates, one at a time, in a child that is started by the first of them.

    That start takes about 0.15 s; later renders take well under a millisecond more than Jinja does.
    A child that fails is replaced by the next render. Close it, or use it in a `with` block; it may
    be used again afterwards. Every method may be called from any thread.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def render(self, template: str, variables: Mapping[str, Any], *, mark: str = "") -> str:
        """The text of `template` with `variables`, which are of JSON's types.

        `mark` is a character that `tojson` never escapes. Raises ChatError.
        """
        if len(template) > MAX_TEMPLATE:
            fact = f"it has {len(template)} characters; at most {MAX_TEMPLATE} are read"
            raise ChatError("syntax", fact)
        asked = {
            "template": template,
            "variables": variables,
            "mark": mark,
            "now": datetime.now().isoformat(),
            "output": self.limits.output,
        }
        request = as_json(asked).encode("ascii")
        with self._lock:
            answer = json.loads(self._answer(request))
            if answer.get("reason") == "memory":
                self._drop()  # what it still holds is not known
        if "text" in answer:
            return str(answer["text"])
        # What a template says is shown on one line without control characters.
        raise ChatError(answer["reason"], repr(answer["message"])[1:-1])

    def close(self) -> None:
        """End the child, if there is one. May be called again."""
        with self._lock:
            self._drop()

    def _answer(self, request: bytes) -> bytes:
        try:
            return self._running().exchange(request)
        except BaseException:  # Ctrl-C too: an answer that nobody took would be the next one's
            self._drop()
            raise

    def _running(self) -> "_Child":
        if self._child is not None and not self._child.is_alive():
            self._drop()
        if self._child is None:
            self._child = _Child(self.limits)
            self._child.start()
        return self._child

    def _drop(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Child:
    """A process that runs `sandbox.py`, killed when an answer takes too long."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        try:
            # A session of its own: Ctrl-C is the parent's to handle.
            self._process = subprocess.Popen(
                _command(limits),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            fact = f"Python cannot be started to render it: {error.strerror}"
            raise ChatError("lost", fact) from error
        self.end = weakref.finalize(self, _end, self._process)

    def is_alive(self) -> bool:
        """Whether it can be asked. In a process that forked from its parent it cannot: there it
        counts as ended, and is left alone.
        """
        return self._process.poll() is None

    def start(self) -> None:
        """Wait until it is ready. Raises ChatError."""
        with self._within(self._limits.start_seconds, "to start"):
            self._receive()

    def exchange(self, request: bytes) -> bytes:
        """The answer to a request. Raises ChatError if none comes in time."""
        with self._within(self._limits.seconds, "to render"):
            assert self._process.stdin is not None
            rest = memoryview(len(request).to_bytes(8, "big") + request)
            while rest:
                rest = rest[self._process.stdin.write(rest) or 0 :]
            return self._receive()

    def _receive(self) -> bytes:
        size = int.from_bytes(self._read(8), "big")
        if size > (most := _LARGEST_ESCAPE * self._limits.output + (1 << 12)):
            raise ChatError("output", f"its process answered {size} bytes; at most {most} are read")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        read = bytearray()
        while len(read) < size:
            part = self._process.stdout.read(size - len(read))
            if not part:
                raise EOFError
            read += part
        return bytes(read)

    @contextmanager
    def _within(self, seconds: float, what: str) -> Iterator[None]:
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, EOFError):
            if not late.is_set():
                code = self._process.wait()
                raise ChatError("lost", f"its process ended by itself, with code {code}") from None
        finally:
            timer.cancel()
            timer.join()  # else it might kill after we looked
        if late.is_set():
            raise ChatError("time", f"it took more than {seconds:g} s {what} and was stopped")


def _command(limits: Limits) -> list[str]:
    spec = find_spec("jinja2")
    if not sys.executable or spec is None or spec.origin is None:
        missing = "Python's own path" if not sys.executable else "jinja2"
        raise ChatError("lost", f"{missing} is not known, so there is nothing to render it with")
    beside = str(Path(spec.origin).parent.parent)
    bounds = [str(limits.memory), str(math.ceil(limits.seconds))]
    return [sys.executable, "-I", "-B", "-c", _BOOT, beside, str(_SCRIPT), *bounds]


def as_json(value: Any) -> str:
    """`value` in ASCII. Raises ChatError for what JSON does not have or is beyond the bounds."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        fact = f"messages and variables must be of JSON's types: {str(error)[:200]}"
        raise ChatError("request", fact) from error
    if len(text) > MAX_REQUEST_BYTES:
        fact = f"the messages have {len(text)} bytes as JSON; at most {MAX_REQUEST_BYTES} go in"
        raise ChatError("request", fact)
    return text


def _end(process: "subprocess.Popen[bytes]") -> None:
    with process:  # closes the pipes and waits
        process.kill()
