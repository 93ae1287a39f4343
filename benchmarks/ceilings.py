"""What this machine can do at most: bytes read a second, multiply-adds a second, and what Torch's
product of two large matrices reaches of them. Knows no model.
"""

import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter, sleep

import numpy as np

from benchmarks import Row

try:
    import torch
except ImportError:  # products are left out
    torch = None

SIZES = {"64 MiB": 64 << 20, "512 MiB": 512 << 20}
LARGE = SIZES["512 MiB"]
SIDES = (256, 512, 1024, 2048, 4096)
PAGE = 4096  # bytes
LONG = 0.1  # seconds
WATCHED = 0.25  # seconds
SOURCE = Path(__file__).with_suffix(".c")
ROUNDS = 10_000_000
REPEATS = 5


def rows() -> list[Row]:
    counts = sorted({1, len(os.sched_getaffinity(0))})
    return [row for threads in counts for row in _rows(threads)]


def _rows(threads: int) -> list[Row]:
    calls: dict[str, tuple[str, Callable[[], float | None]]] = {
        f"read {name}": ("GB/s", lambda size=size: bandwidth(threads, size))
        for name, size in SIZES.items()
    }
    calls["multiply-adds f32"] = "GFLOP/s", lambda: multiply_adds(threads)
    for dtype in ("f32", "bf16"):
        calls[f"product {dtype}"] = "GFLOP/s", lambda dtype=dtype: product(threads, dtype)
    measured = (_row(f"{n}, threads: {threads}", *how) for n, how in calls.items())
    return [row for row in measured if row is not None]


def _row(name: str, unit: str, call: Callable[[], float | None]) -> Row | None:
    found = [once for _ in range(REPEATS) if (once := call()) is not None]
    if not found:
        return None
    giga = [once / 1e9 for once in found]
    return Row(name, unit, median(giga), min(giga), max(giga), len(giga))


def bandwidth(threads: int, size: int = LARGE) -> float:
    """Bytes a second that the threads read of a buffer, each its own part: by sums, or without a C
    compiler by the C library's search for a byte that is not there.
    """
    start, part = _aligned(_buffer(size)), size // threads // PAGE * PAGE
    return part * threads / _seconds(threads, lambda i: _read(start + i * part, part))


def read(threads: int, arrays: Sequence[np.ndarray], times: int) -> None:
    """Read all bytes of contiguous arrays so many times, each thread its own part."""

    def parts(thread: int) -> None:
        for _ in range(times):
            for array in arrays:
                part = array.nbytes // threads
                _read(array.ctypes.data + thread * part, part)

    _seconds(threads, parts)


def _read(start: int, count: int) -> None:
    library = _library()
    if library is None:
        _memchr()(start, 0, count)
    else:
        library.read_once(start, count)


def _aligned(buffer: np.ndarray) -> int:
    """The address of its first whole page."""
    return -(-buffer.ctypes.data // PAGE) * PAGE


@functools.cache
def _buffer(size: int) -> np.ndarray:
    return np.ones(size + PAGE, np.uint8)  # not zeros, which the system would give one page for


@functools.cache
def _memchr() -> Callable[[int, int, int], int | None]:
    found = ctypes.CDLL(None).memchr
    found.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    found.restype = ctypes.c_void_p
    return found


def multiply_adds(threads: int) -> float | None:
    """f32 operations a second in registers alone; None without a C compiler."""
    library = _library()
    if library is None:
        return None
    done = threads * ROUNDS * library.operations()
    return done / _seconds(threads, lambda _: library.multiply_adds(ROUNDS))


@functools.cache
def _library() -> ctypes.CDLL | None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ceilings.so"
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        subprocess.run([compiler, *options, SOURCE, "-o", path], check=True)
        library = ctypes.CDLL(str(path))
    library.multiply_adds.argtypes = [ctypes.c_long]
    library.multiply_adds.restype = ctypes.c_double
    library.read_once.argtypes = [ctypes.c_void_p, ctypes.c_long]
    library.read_once.restype = ctypes.c_double
    library.operations.restype = ctypes.c_long
    return library


def product(threads: int, dtype: str) -> float | None:
    """Operations a second of Torch's product of two square matrices; None without Torch.

    They grow until one product takes long enough: without units for it, bf16 is very slow.
    """
    if torch is None:
        return None
    torch.set_num_threads(threads)
    for side in SIDES:
        a = _matrix(side, dtype)
        begun = perf_counter()
        torch.mm(a, a)
        seconds = perf_counter() - begun
        if seconds > LONG:
            break
    return 2 * side**3 / seconds


@functools.cache
def _matrix(side: int, dtype: str) -> "torch.Tensor":
    return torch.rand(side, side).to({"f32": torch.float32, "bf16": torch.bfloat16}[dtype])


def busy_cores() -> float:
    """How many cores other processes keep busy while this one waits; 0 where nothing tells."""
    before, begun = _busy_seconds(), perf_counter()
    sleep(WATCHED)
    return (_busy_seconds() - before) / (perf_counter() - begun)


def _busy_seconds() -> float:
    """Of all cores since the system started: at work for anyone, or taken by other machines."""
    try:
        first, *_ = Path("/proc/stat").read_text().partition("\n")
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _seconds(threads: int, work: Callable[[int], object]) -> float:
    """Until the last of the threads is done; what they run lets go of the interpreter."""
    running = [Thread(target=work, args=(i,)) for i in range(threads)]
    begun = perf_counter()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return perf_counter() - begun
