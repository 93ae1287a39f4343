"""How many threads a plan gets: the cores that this process may use, not those of the machine."""

import math
import os
from functools import cache
from pathlib import Path

from ptir import config

CGROUP = Path("/sys/fs/cgroup")
CPUS = Path("/sys/devices/system/cpu")


def threads() -> int:
    """`PTIR_THREADS`, else the physical cores in the affinity mask, at most the cgroup's quota."""
    return config.current().threads or _available()


@cache
def _available() -> int:
    cpus = allowed_cpus()
    quota = cpu_quota()
    cores = len({_core(cpu) for cpu in cpus})
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def allowed_cpus() -> list[int]:
    """The processors in the affinity mask of this process."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not every system has affinity
        return list(range(os.cpu_count() or 1))


def cpu_quota(root: Path = CGROUP) -> float | None:
    """Processors' worth of time that the cgroup grants; None: all of them."""
    try:
        granted, period = (root / "cpu.max").read_text().split()
        return None if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError):
        return _first_version(root)


def _first_version(root: Path) -> float | None:
    try:
        granted = int((root / "cpu/cpu.cfs_quota_us").read_text())
        return granted / int((root / "cpu/cpu.cfs_period_us").read_text()) if granted > 0 else None
    except (OSError, ValueError):
        return None


def _core(cpu: int) -> object:
    """What tells a physical core from others; hyper-threads share it."""
    topology = CPUS / f"cpu{cpu}" / "topology"
    try:
        package = (topology / "physical_package_id").read_text().strip()
        return package, (topology / "core_id").read_text().strip()
    except OSError:
        return cpu
