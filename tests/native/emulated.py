"""A pytest plugin: the kernels' tests run `driver.c` instead of the library (`./dev aarch64`).

The driver is another machine's program, started by the command in `KERNEL_DRIVER`.
"""

import atexit
import ctypes
import os
import shlex
import subprocess
from typing import IO, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from ptir.backends.native.library import library
from tests.native import calling

DRIVER = subprocess.Popen(
    shlex.split(os.environ["KERNEL_DRIVER"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
)


@atexit.register
def end() -> None:
    DRIVER.kill()
    DRIVER.communicate()


def pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None
    return end


def whole(*numbers: int) -> bytes:
    return np.array(numbers, "<i8").tobytes()


def regions_of(arrays: list[np.ndarray[Any, Any]]) -> list[tuple[int, int]]:
    """The memory that the arrays lie in, [low, high); arrays that share some share a region."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(map(byte_bounds, arrays)):
        if found and low < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found


def receive(count: int) -> bytes:
    data = pipe(DRIVER.stdout).read(count)
    assert len(data) == count, f"the driver ended with {DRIVER.wait()}"
    return data


def call(name: str, *parts: Any, threads: int = 1, level: str | None = None) -> None:
    """As `calling.call`, elsewhere."""
    assert level in (None, "base")
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    words: list[int] = []
    slot = 0
    for part in parts:
        if isinstance(part, np.ndarray):
            words += [slot, 0, *calling._layout(part)]
            slot += 1
        else:
            words.append(calling._word(part))
    plan = [library().kernels[name], len(words), *words]
    regions = regions_of(arrays)
    before = [ctypes.string_at(low, high - low) for low, high in regions]
    request = [whole(threads, len(plan), len(regions), len(arrays), *plan)]
    for (low, high), content in zip(regions, before, strict=True):
        request += [whole(high - low, low % 64), content]
    for array in arrays:
        low, at = byte_bounds(array)[0], array.__array_interface__["data"][0]
        region = next(i for i, (start, end) in enumerate(regions) if start <= low <= end)
        request.append(whole(region, at - regions[region][0]))
    pipe(DRIVER.stdin).write(b"".join(request))
    pipe(DRIVER.stdin).flush()
    code = int.from_bytes(receive(8), "little", signed=True)
    for (low, _), content in zip(regions, before, strict=True):
        after = receive(len(content))
        if after != content:
            ctypes.memmove(low, after, len(after))
    if code:
        raise calling.Refused(code)


def levels() -> list[str]:
    return ["base"]


vars(calling).update(call=call, levels=levels)
