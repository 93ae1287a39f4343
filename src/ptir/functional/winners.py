"""The fastest implementation of each measured call: kept in memory, and on disk for this kind of
processor and this version of the package. Knows no functional and no backend.
"""

import functools
import logging
import platform
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from threading import RLock

import msgspec

from ptir import config
from ptir.checkpoint.atomic import replace_file
from ptir.ir import PtirError
from ptir.version import VERSION

MAX_BYTES = 8 << 20  # of a file that is read
MAX_WINNERS = 4096  # in a file; the oldest go first

LOG = logging.getLogger("ptir.functional")


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured: a functional on operand types and attributes, on a backend as it was."""

    functional: str
    operands: str
    attributes: str
    backend: str
    version: str
    options: str


class Winner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fastest implementation of a call, and the median milliseconds of each one tried."""

    call: Call
    implementation: str
    times: dict[str, float]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Winners on disk. They count only where they were found."""

    cpu: str
    version: str
    winners: list[Winner]


@functools.cache
def cpu() -> str:
    """The processor's model, as well as the system tells it."""
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        facts = ""
    model = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def path() -> Path:
    """Where winners are kept for this processor and this version."""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{cpu()} {VERSION}".lower())
    return config.cache_folder() / f"winners-{name}.json"


def stored() -> list[Winner]:
    """The winners on disk, the oldest first: none if there is no file, or none that is ours."""
    file = path()
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        found = msgspec.json.decode(raw, type=File)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        LOG.warning("%s is ignored: %s", file, error)
        return []
    if (found.cpu, found.version) != (cpu(), VERSION):
        LOG.warning("%s is ignored: it is of %s, ptir %s", file, found.cpu, found.version)
        return []
    return found.winners


class Winners:
    """Winners by functional, the most recently used of each. One call is measured at a time."""

    def __init__(self) -> None:
        self._kept: dict[str, OrderedDict[Call, Winner]] = {}
        self._lock = RLock()

    def fetch(
        self,
        call: Call,
        candidates: Collection[str],
        capacity: int,
        measure: Callable[[], Mapping[str, float]],
    ) -> Winner:
        """The winner of a call among these candidates: known, stored, or measured now."""
        with self._lock:
            kept = self._kept.setdefault(call.functional, OrderedDict())
            found = kept.get(call)
            if found is None or set(found.times) != set(candidates):
                found = _of(call, candidates) or _measured(call, measure())
                kept[call] = found
            kept.move_to_end(call)
            while len(kept) > capacity:
                kept.popitem(last=False)
            return found

    def clear(self) -> None:
        """Forget what is in memory."""
        with self._lock:
            self._kept.clear()


def _of(call: Call, candidates: Collection[str]) -> Winner | None:
    """The stored winner, if the same implementations were tried."""
    for winner in reversed(stored()):
        if winner.call == call and set(winner.times) == set(candidates):
            return winner if winner.implementation in winner.times else None
    return None


def _measured(call: Call, times: Mapping[str, float]) -> Winner:
    winner = Winner(call, min(times, key=lambda name: times[name]), dict(times))
    LOG.info("%s of %s: %s is the fastest", call.functional, call.operands, winner.implementation)
    _store(winner)
    return winner


def _store(winner: Winner) -> None:
    """Add a winner to the file; one that cannot be written costs a later measurement, no more."""
    others = [w for w in stored() if w.call != winner.call]
    file = File(cpu(), VERSION, [*others, winner][-MAX_WINNERS:])
    try:
        path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path(), [msgspec.json.format(msgspec.json.encode(file), indent=1)])
    except (OSError, PtirError) as error:
        LOG.warning("winners are not kept: %s", error)


WINNERS = Winners()
