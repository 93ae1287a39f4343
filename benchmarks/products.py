"""Matrix products of the native kernels, in turn with NumPy and Torch: decode and prefill."""

import ctypes
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks import Row
from ptir.backends.native.library import library
from ptir.ir import dtype

try:
    import torch
except ImportError:  # the comparison is left out
    torch = None

THREADS = (1, 2)
ROUNDS = 9
COLD = 96e6  # bytes of weights that are gone through in one round: more than the caches hold
WEIGHTS = ((768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 50257), (2048, 5632))
PREFILL = ((512, 768, 2304), (512, 768, 3072), (512, 3072, 768), (1024,) * 3, (2048,) * 3)

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
Shape = tuple[int, int, int]  # M, K, N


def rows() -> list[Row]:
    """Few rows in gigabytes of weights a second, many in multiply-adds a second."""
    found: list[Row] = []
    for threads in THREADS:
        if torch is not None:
            torch.set_num_threads(threads)
        for K, N in WEIGHTS:
            for element in (np.float32, ml_dtypes.bfloat16):
                for M in (1, 8):
                    found += _few((M, K, N), element, threads)
        for shape in PREFILL:
            found += _many(shape, threads)
    return found


def _few(shape: Shape, element: Any, threads: int) -> list[Row]:
    M, K, N = shape
    copies = max(1, int(COLD / (K * N * np.dtype(element).itemsize)))
    x, weights = _normal((M, K), element), [_normal((K, N), element) for _ in range(copies)]
    calls = [_candidates(x, w, threads) for w in weights]
    ways = {name: [each[name] for each in calls] for name in calls[0]}
    name = f"{M}×{K}×{N} {np.dtype(element).name}, {threads} threads"
    return _turns(name, "GB/s", sum(w.nbytes for w in weights) / 1e9, ways)


def _many(shape: Shape, threads: int) -> list[Row]:
    M, K, N = shape
    x, w = _normal((M, K), np.float32), _normal((K, N), np.float32)
    ways = {name: [call] for name, call in _candidates(x, w, threads).items()}
    return _turns(f"{M}×{K}×{N} f32, {threads} threads", "GFLOP/s", 2e-9 * M * K * N, ways)


def _normal(shape: tuple[int, ...], element: Any) -> Array:
    drawn = np.random.default_rng(0).standard_normal(shape, np.float32)
    return np.asarray(drawn.astype(element))


def _candidates(x: Array, w: Array, threads: int) -> dict[str, Call]:
    ways = {"native": _native(x, w, threads)}
    if x.dtype == np.float32:  # NumPy has bf16 from elsewhere, in plain loops
        ways["NumPy, its own threads"] = lambda: x @ w
    if torch is not None:
        p, q = map(_torch, (x, w))
        ways["Torch"] = lambda: torch.mm(p, q)
    return ways


def _torch(array: Array) -> Any:
    if array.dtype == np.float32:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def _native(x: Array, w: Array, threads: int) -> Call:
    """The kernel alone: one instruction, its words and pointers made ahead."""
    known = library()
    out = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    operands = (x, w, out)
    words = [0]
    for slot, array in enumerate(operands):
        strides = [s // array.itemsize for s in array.strides]
        kind = known.dtypes[dtype(array.dtype).name]
        words += [slot, 0, kind, array.ndim, *array.shape, *strides]
    plan = np.array([known.kernels["dot"], len(words), *words], np.int64)
    pointers = np.array([a.__array_interface__["data"][0] for a in operands], np.uint64)
    level, code = known.level(), ctypes.c_int()

    def call() -> Array:
        known.calls.ptir_run(
            level, plan.ctypes.data, len(plan), 0, pointers.ctypes.data, threads, 0.0, None, code
        )
        return operands[-1]  # and so the operands stay

    return call


def _turns(name: str, unit: str, work: float, ways: dict[str, list[Call]]) -> list[Row]:
    """Each way in turn, round after round, so that a drift of the machine meets all of them."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(1 + ROUNDS):
        for way, calls in ways.items():
            begun = perf_counter()
            for call in calls:
                call()
            took[way].append(work / (perf_counter() - begun))
    kept = {way: rates[1:] for way, rates in took.items()}  # the first is to warm up
    return [
        Row(f"{name}: {way}", unit, median(rates), min(rates), max(rates), ROUNDS)
        for way, rates in kept.items()
    ]
