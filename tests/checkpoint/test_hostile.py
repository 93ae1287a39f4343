"""Hostile files of every format: refused in words, or read as what they say; never more."""

import gc
import os
import resource
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from .formats import MUTANTS, SEED, Disk, Format, use


@pytest.mark.usefixtures("mmap_knob")
def test_a_sample_made_by_hand_loads(disk: Disk, format: Format):
    loaded = use(disk.put(format, format.files))
    assert not isinstance(loaded, str), loaded
    assert list(loaded) == sorted(format.arrays)
    for name, array in format.arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        assert loaded[name].tobytes() == array.tobytes()


@pytest.mark.usefixtures("mmap_knob")
def test_every_prefix_of_every_file_is_refused(disk: Disk, format: Format):
    for name, data in format.files.items():
        for length in range(len(data)):
            refusal = use(disk.put(format, {**format.files, name: data[:length]}))
            assert isinstance(refusal, str), (name, length)


def test_trailing_data_are_refused(disk: Disk, format: Format):
    for name, data in format.files.items():
        for more in (b"\0", b"x" * 64):
            refusal = use(disk.put(format, {**format.files, name: data + more}))
            assert isinstance(refusal, str), name


def test_mutants_are_refused_or_valid_in_bounded_memory(disk: Disk, format: Format):
    read = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for mutant in format.mutants(SEED, MUTANTS):
        read += not isinstance(use(disk.put(format, mutant)), str)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << 10  # KiB
    assert MUTANTS // 100 < read < MUTANTS * 3 // 4  # they pass the first check, and are hostile


@pytest.fixture
def no_collection():
    """The garbage of other tests is not part of the time measured."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_no_mutant_costs_time_or_memory(disk: Disk, format: Format):
    tracemalloc.start()
    try:
        for mutant in format.mutants(SEED + 100, 1000):
            path = disk.put(format, mutant)
            tracemalloc.reset_peak()
            held = tracemalloc.get_traced_memory()[0]
            began = time.process_time()
            use(path)
            assert time.process_time() - began < 0.2
            assert tracemalloc.get_traced_memory()[1] - held < 1 << 20
    finally:
        tracemalloc.stop()


FORBIDDEN = ("exec", "compile", "import", "pickle", "subprocess", "os.system", "ctypes", "socket")
watched: list[str] = []
watching = False


def watch(event: str, args: tuple[object, ...]) -> None:
    if watching and event.startswith(FORBIDDEN):
        watched.append(event)
    if watching and event == "open" and not str(args[0]).startswith(str(here)):
        watched.append(f"{event} {args[0]}")


here = Path()


def test_hostile_files_run_no_code_and_open_nothing_else(disk: Disk, format: Format):
    global watching, here
    here = disk.folder
    hostile = list(format.mutants(SEED + 200, 500))
    for mutant in hostile:  # codecs are imported on first use
        use(disk.put(format, mutant))
    sys.addaudithook(watch)
    watching = True
    try:
        for mutant in hostile:
            use(disk.put(format, mutant))
        assert watched == []
        compile("1", "the hook does see", "eval")
        assert watched[:1] == ["compile"]
    finally:
        watching = False
        watched.clear()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
@pytest.mark.usefixtures("mmap_knob")
def test_descriptors_do_not_leak(disk: Disk, format: Format):
    last = list(format.files)[-1]
    bad = {**format.files, last: format.files[last][:-1]}
    use(disk.put(format, format.files))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        assert not isinstance(use(disk.put(format, format.files)), str)
        assert isinstance(use(disk.put(format, bad)), str)
    assert len(os.listdir("/proc/self/fd")) == before
