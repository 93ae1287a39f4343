"""The kernel library: loading it, its ISA levels, kernels and element types by name.

Knows no program and no plan.
"""

import ctypes
import logging
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import final

from ptir import config
from ptir.ir import PtirError, nearest

LOG = logging.getLogger("ptir.backends")
ABI = 1
OWN = Path(__file__).parent / "libptir.so"

_SIGNATURES = {
    "ptir_abi": (ctypes.c_int, ()),
    "ptir_levels": (ctypes.c_int, ()),
    "ptir_level_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "ptir_level_runs": (ctypes.c_int, (ctypes.c_int,)),
    "ptir_kernel_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "ptir_dtype_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "ptir_elementwise_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "ptir_elementwise_supports": (ctypes.c_int, (ctypes.c_int, ctypes.c_int)),
    "ptir_run": (
        ctypes.c_int64,
        (
            ctypes.c_int,  # level
            ctypes.c_void_p,  # words
            ctypes.c_int64,  # count
            ctypes.c_int64,  # start
            ctypes.c_void_p,  # base pointers
            ctypes.c_int,  # threads
            ctypes.c_double,  # slice, seconds
            ctypes.c_void_p,  # times
            ctypes.POINTER(ctypes.c_int),  # code
        ),
    ),
}


class LibraryError(PtirError):
    """A native library that is not there, is another version's, or lacks what was asked for."""


@final
@dataclass(frozen=True, eq=False)
class Library:
    """The loaded library. Numbers are those that stand in the words of plans."""

    path: Path
    calls: ctypes.CDLL

    @cached_property
    def kernels(self) -> dict[str, int]:
        return _numbers(self.calls.ptir_kernel_name)

    @cached_property
    def dtypes(self) -> dict[str, int]:
        return _numbers(self.calls.ptir_dtype_name)

    @cached_property
    def elementwise(self) -> dict[str, int]:
        """The instructions of the elementwise kernel."""
        return _numbers(self.calls.ptir_elementwise_name)

    @cached_property
    def levels(self) -> dict[str, int]:
        """The ISA levels that this machine has, the best one last."""
        count = self.calls.ptir_levels()
        names = {self.calls.ptir_level_name(i).decode(): i for i in range(count)}
        return {name: i for name, i in names.items() if self.calls.ptir_level_runs(i)}

    def level(self) -> int:
        """The level to run: the one that `PTIR_ISA` names, else the best one."""
        asked = config.current().isa
        if asked is None:
            return [*self.levels.values()][-1]
        if asked not in self.levels:
            have = ", ".join(self.levels)
            message = f"PTIR_ISA={asked}: this machine or library has no such level; it has {have}"
            raise LibraryError(f"{message}{nearest(asked, self.levels)}")
        return self.levels[asked]

    def supports(self, instruction: str, dtype: str) -> bool:
        """Whether the elementwise kernel has an instruction for operands of this type."""
        number = self.elementwise.get(instruction)
        if number is None:
            return False
        return bool(self.calls.ptir_elementwise_supports(number, self.dtypes[dtype]))


def library() -> Library:
    """The library of the package, or the one that `PTIR_LIBRARY` names."""
    return _load(config.current().library or OWN)


@cache
def _load(path: Path) -> Library:
    try:
        calls = ctypes.CDLL(str(path))
    except OSError as error:
        raise LibraryError(
            f"the native library does not load: {error}; reinstall ptir (pip install "
            "--force-reinstall ptir), or run with PTIR_BACKEND=reference"
        ) from None
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(calls, name, None)
        if function is None:
            raise LibraryError(f"{path} has no {name}: it is of another version; reinstall ptir")
        function.restype, function.argtypes = result, arguments
    found = calls.ptir_abi()
    if found != ABI:
        raise LibraryError(f"{path} has ABI {found}, wanted {ABI}; reinstall ptir")
    LOG.info("the native library is %s", path)
    return Library(path, calls)


def _numbers(name_of: "ctypes._NamedFuncPointer") -> dict[str, int]:
    found: dict[str, int] = {}
    while (name := name_of(len(found))) is not None:
        found[name.decode()] = len(found)
    return found
