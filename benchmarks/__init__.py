"""Measurements. Each file is one benchmark, found by its name: `rows() -> list[Row]` runs it.

One with options of its own has `main(arguments)` instead; it runs only when it is named.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measurement: its unit, the median of its repeats, and their smallest and largest."""

    name: str
    unit: str
    median: float
    least: float
    most: float
    repeats: int
    note: str = ""


def measure(name: str, call: Callable[[], Any], *, calls: int, repeats: int = 5) -> Row:
    """Microseconds a call, over `calls` calls in each of `repeats` rounds, after one to warm up."""
    call()
    rounds = []
    for _ in range(repeats):
        begun = perf_counter()
        for _ in range(calls):
            call()
        rounds.append((perf_counter() - begun) / calls * 1e6)
    return Row(name, "µs", median(rounds), min(rounds), max(rounds), repeats)


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    except OSError:
        told = ""
    return told.partition("\n")[0].strip("\t :") or platform.processor() or platform.machine()
