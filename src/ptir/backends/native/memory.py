"""Memory that plans run in and leave results in, used again; refusals where there is too little."""

from collections import deque
from collections.abc import Sequence
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, final

import numpy as np

from ptir.ir import SpecError

from .handle import Array
from .plan import ALIGNMENT

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
KEPT = 4  # arenas that wait for the next run
LARGE = 1 << 26  # bytes from which on the free memory is looked at first
BLOCK = 1 << 20  # bytes of a result from which on its memory is kept for the next one
BLOCKS_KEPT = 1 << 28  # bytes of those that wait


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


@final
class Block:
    """Bytes under arrays; they wait for the next result when the last of those arrays is gone."""

    def __init__(self, memory: Array, owner: "Blocks") -> None:
        self._memory = memory
        self._owner = owner  # modules may be gone when the last arrays go
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._owner.give_back(self._memory)


@final
class Blocks:
    """Memory of large results: fresh pages are slow, the more so in a virtual machine.

    For several threads, without a lock: memory comes back wherever an array ends, perhaps in the
    middle of `take`.
    """

    def __init__(self) -> None:
        self._free = deque[Array]()
        self._most = BLOCKS_KEPT

    def take(self, shape: Sequence[int], element: np.dtype[Any], is_zero: bool) -> Array:
        """An array of a result, of zeros or of anything."""
        nbytes = prod(shape) * element.itemsize
        if nbytes < BLOCK:
            return (np.zeros if is_zero else np.empty)(shape, element)
        memory = self._find(nbytes)
        if memory is None:
            memory = (np.zeros if is_zero else np.empty)(nbytes, np.uint8)
        elif is_zero:
            memory.fill(0)
        return np.asarray(Block(memory, self)).view(element).reshape(shape)

    def give_back(self, memory: Array) -> None:
        if len(memory) > self._most:
            return
        self._free.append(memory)
        while sum(len(one) for one in tuple(self._free)) > self._most:
            self._next()

    def _find(self, nbytes: int) -> Array | None:
        for _ in range(len(self._free)):
            memory = self._next()
            if memory is None or len(memory) == nbytes:
                return memory
            self._free.append(memory)
        return None

    def _next(self) -> Array | None:
        try:
            return self._free.popleft()
        except IndexError:  # another thread had it
            return None


BLOCKS = Blocks()


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
