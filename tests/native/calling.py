"""Calls of single kernels: NumPy arrays in place, numbers as words."""

import ctypes
import struct
from typing import Any

import numpy as np

from ptir.backends.native.library import library
from ptir.ir import dtype


class Refused(Exception):  # noqa: N818 - what happened, as in tests of the ops
    """A kernel returned a code."""


def levels() -> list[str]:
    """The ISA levels of this machine."""
    return list(library().levels)


def call(name: str, *parts: Any, threads: int = 1, level: str | None = None) -> None:
    """Run one kernel on arrays (with their strides), whole numbers and floats (as f64 bits)."""
    known = library()
    words, bases = [], [0]
    for part in parts:
        if isinstance(part, np.ndarray):
            words += [len(bases), 0, *_layout(part)]
            bases.append(part.__array_interface__["data"][0])
        else:
            words.append(_word(part))
    code = ctypes.c_int()
    plan = np.array([known.kernels[name], len(words), *words], np.int64)
    pointers = np.array(bases, np.uint64)
    known.calls.ptir_run(
        known.level() if level is None else known.levels[level],
        plan.ctypes.data, len(plan), 0, pointers.ctypes.data, threads, 0.0, None, code,
    )  # fmt: skip
    if code.value:
        raise Refused(code.value)


def _layout(array: np.ndarray[Any, Any]) -> list[int]:
    element = array.dtype.itemsize
    strides = [s // element for s in array.strides]
    assert [s * element for s in strides] == list(array.strides)
    return [library().dtypes[dtype(array.dtype).name], array.ndim, *array.shape, *strides]


def _word(value: float) -> int:
    if isinstance(value, float):
        return int(struct.unpack("q", struct.pack("d", value))[0])
    return int(value)
