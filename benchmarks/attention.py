"""The native attention kernel against Torch's, round about: decode over a cache, and prefill."""

import math
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter, sleep
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks import Row, ceilings
from tests.native.calling import call

try:
    import torch
except ImportError:  # the comparison is left out
    torch = None

CAUSAL, PAST, WORKSPACE = 1, 2, 64
CHUNK = 256  # keys of a part in the workspace
THREADS = 2
DEPTH = 64
REPEATS = 7
PAUSE = 0.05  # seconds

Way = Callable[[int], Any]  # that many calls


def rows() -> list[Row]:
    """Each length of context in f32 and bf16 (32 heads, 8 key heads), then 512 new positions."""
    found = []
    for dtype in (np.float32, ml_dtypes.bfloat16):
        for context in (128, 1024, 8192):
            found += _decode(np.dtype(dtype), context, calls=max(10, 20_000 // context))
    return found + _prefill(512)


def _decode(dtype: np.dtype[Any], context: int, calls: int) -> list[Row]:
    q, k, v = _values(dtype, (32, 1), (8, context), (8, context))
    past = np.array([context - 1], np.int32)
    parts = np.empty(32 * math.ceil(context / CHUNK) * (DEPTH + 2), np.float32)
    flags, out = CAUSAL | PAST | WORKSPACE, np.empty_like(q)

    def attend(threads: int) -> Way:
        words = flags, DEPTH**-0.5, 0.0, 0
        return _often(lambda: call("attention", *words, q, k, v, out, past, parts, threads=threads))

    ways = {}
    for threads in (THREADS, 1):
        ways[f"attention, {threads} threads"] = attend(threads)
        ways[f"reading k and v, {threads} threads"] = partial(ceilings.read, threads, [k, v])
    if torch is not None:
        ways["Torch"] = _often(_torch(q, k, v, enable_gqa=True))
    return _measure(f"decode {dtype.name} {context}", ways, calls)


def _prefill(length: int) -> list[Row]:
    q, k, v = _values(np.dtype(np.float32), *[(12, length)] * 3)
    out = np.empty_like(q)
    words = CAUSAL, DEPTH**-0.5, 0.0, 0
    ways = {"attention": _often(lambda: call("attention", *words, q, k, v, out, threads=THREADS))}
    if torch is not None:
        ways["Torch"] = _often(_torch(q, k, v, is_causal=True))
    return _measure(f"prefill float32 {length}", ways, 3)


def _values(dtype: np.dtype[Any], *sizes: tuple[int, int]) -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return [random.standard_normal((1, *size, DEPTH)).astype(dtype) for size in sizes]


def _often(run: Callable[[], Any]) -> Way:
    def repeat(calls: int) -> None:
        for _ in range(calls):
            run()

    return repeat


def _torch(*arrays: np.ndarray[Any, Any], **options: bool) -> Callable[[], Any]:
    torch.set_num_threads(THREADS)
    given = [
        torch.from_numpy(x)
        if x.dtype == np.float32
        else torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        for x in arrays
    ]
    return lambda: torch.nn.functional.scaled_dot_product_attention(*given, **options)


def _measure(name: str, ways: dict[str, Way], calls: int) -> list[Row]:
    """Microseconds a call; the ways take turns, so that all meet the same state of the machine, and
    wait for the threads of the one before, which spin for a while.
    """
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        for way, run in ways.items():
            sleep(PAUSE)
            run(1)
            begun = perf_counter()
            run(calls)
            times[way].append((perf_counter() - begun) / calls * 1e6)
    return [
        Row(f"{name}: {way}", "µs", median(t), min(t), max(t), REPEATS) for way, t in times.items()
    ]
