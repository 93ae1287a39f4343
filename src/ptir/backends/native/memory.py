"""Memory that plans run in: arenas that are used again, and a refusal where there is too little."""

from pathlib import Path
from threading import Lock
from typing import NamedTuple, final

import numpy as np

from ptir.ir import SpecError

from .handle import Array
from .plan import ALIGNMENT

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
KEPT = 4  # arenas that wait for the next run
LARGE = 1 << 26  # bytes from which on the free memory is looked at first


class Arena(NamedTuple):
    """Bytes that begin at a cache line, and where."""

    array: Array
    address: int


@final
class Arenas:
    """Arenas of any plan: a run takes one and gives it back. For several threads."""

    def __init__(self) -> None:
        self._free: list[Arena] = []
        self._lock = Lock()

    def take(self, nbytes: int) -> Arena:
        """At least so many bytes that are nobody else's. Raises `SpecError`."""
        with self._lock:
            for index, arena in enumerate(self._free):
                if len(arena.array) >= nbytes:
                    return self._free.pop(index)
            self._free.clear()  # the larger one serves in their place
        return aligned(nbytes)

    def give_back(self, arena: Arena) -> None:
        with self._lock:
            self._free.append(arena)
            if len(self._free) > 1:
                self._free.sort(key=lambda one: len(one.array))
                del self._free[:-KEPT]


ARENAS = Arenas()


def aligned(nbytes: int) -> Arena:
    """Fresh bytes that begin at a cache line. Raises `SpecError` where there are not so many."""
    refuse_excess(nbytes)
    whole = np.empty(nbytes + ALIGNMENT, np.uint8)
    skip = -whole.ctypes.data % ALIGNMENT
    return Arena(whole[skip : skip + nbytes], whole.ctypes.data + skip)


def refuse_excess(nbytes: int) -> None:
    """Raise `SpecError` (`memory`) if the machine cannot give so many bytes now."""
    if nbytes < LARGE:
        return
    free = free_memory()
    if free is not None and nbytes > free:
        raise SpecError(
            "memory",
            "plan",
            f"it needs {nbytes / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; use a smaller batch "
            "or a shorter context, or free memory",
        )


def free_memory() -> int | None:
    """Bytes that this process may still take: what is free, within the cgroup's limit."""
    known = [n for n in (_available(), _cgroup_rest()) if n is not None]
    return min(known, default=None)


def _available() -> int | None:
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kib) * 1024 for kib in found), None)


def _cgroup_rest() -> int | None:
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)
