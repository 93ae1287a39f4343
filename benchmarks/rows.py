"""Norms and softmax of rows in turn with Torch.

The native ones are instructions of one plan, as in a program; each of Torch's is a Python call.
"""

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
ROUNDS = 15
WORK = 1 << 20  # elements that are gone through in one round, at least
SHAPES = ((1, 768), (512, 768), (512, 4096), (8, 50257))
EPS = int(np.float64(1e-5).view(np.int64))
CONSTANTS = {"layer_norm": (3, EPS), "rms_norm": (1, EPS), "softmax": (0,)}  # flags first
WEIGHTS = {"layer_norm": 2, "rms_norm": 1, "softmax": 0}

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]


def rows() -> list[Row]:
    """Microseconds a call of each, by shape, element type and number of threads."""
    found: list[Row] = []
    for threads in THREADS:
        if torch is not None:
            torch.set_num_threads(threads)
        for shape in SHAPES:
            for element in (np.float32, ml_dtypes.bfloat16):
                for name in CONSTANTS:
                    found += _measured(name, shape, element, threads)
    return found


def _measured(name: str, shape: tuple[int, int], element: Any, threads: int) -> list[Row]:
    drawn = np.random.default_rng(0).standard_normal(shape, np.float32)
    x = np.asarray(drawn.astype(element))
    weights = [np.ones(shape[1], element)] * WEIGHTS[name]
    calls = max(1, WORK // x.size)
    ways = {"native": _native(name, [x, np.empty_like(x), *weights], threads, calls)}
    if torch is not None:
        ways["Torch"] = _torch(name, list(map(_tensor, (x, *weights))), calls)
    title = f"{name} {shape[0]}×{shape[1]} {x.dtype.name}, {threads} threads"
    return _turns(title, calls, ways)


def _native(name: str, operands: list[Array], threads: int, calls: int) -> Call:
    """A plan of nothing but this kernel, its words and pointers made ahead."""
    known = library()
    words = [*CONSTANTS[name]]
    for slot, array in enumerate(operands):
        strides = [s // array.itemsize for s in array.strides]
        kind = known.dtypes[dtype(array.dtype).name]
        words += [slot, 0, kind, array.ndim, *array.shape, *strides]
    plan = np.array([known.kernels[name], len(words), *words] * calls, np.int64)
    pointers = np.array([a.__array_interface__["data"][0] for a in operands], np.uint64)
    level, code = known.level(), ctypes.c_int()

    def call() -> Array:
        known.calls.ptir_run(
            level, plan.ctypes.data, len(plan), 0, pointers.ctypes.data, threads, 0.0, None, code
        )
        return operands[1]  # and so the operands stay

    return call


def _tensor(array: Array) -> Any:
    if array.dtype == np.float32:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def _torch(name: str, operands: list[Any], calls: int) -> Call:
    x, *weights = operands

    def call() -> None:
        for _ in range(calls):
            if name == "softmax":
                torch.softmax(x, -1)
            else:
                norm = getattr(torch.nn.functional, name)
                norm(x, x.shape[-1:], *weights, eps=1e-5)

    return call


def _turns(name: str, calls: int, ways: dict[str, Call]) -> list[Row]:
    """Each way in turn, round after round, so that a drift of the machine meets all of them."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(1 + ROUNDS):
        for way, call in ways.items():
            begun = perf_counter()
            call()
            took[way].append((perf_counter() - begun) / calls * 1e6)
    kept = {way: times[1:] for way, times in took.items()}  # the first is to warm up
    return [
        Row(f"{name}: {way}", "µs", median(times), min(times), max(times), ROUNDS)
        for way, times in kept.items()
    ]
