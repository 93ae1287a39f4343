"""Memory of large results: used again when nobody reads it any more, and not before."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ptir.backends.native import memory
from ptir.backends.native.memory import BLOCK, Blocks

F32 = np.dtype("f4")
SIDE = (BLOCK // 4, 2)


@pytest.fixture
def blocks(monkeypatch):
    made = Blocks()
    monkeypatch.setattr(memory, "BLOCKS", made)
    return made


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_with_the_last_array_on_it(blocks):
    first = blocks.take(SIDE, F32, False)
    place = address(first)
    part = first[1:, 1].T
    del first
    other = blocks.take(SIDE, F32, False)
    assert address(other) != place
    part[:] = 3
    assert (part == 3).all()
    del part
    assert address(blocks.take(SIDE, F32, False)) == place


def test_zeros_are_zeros_in_used_memory(blocks):
    used = blocks.take(SIDE, F32, False)
    place = address(used)
    used.fill(7)
    del used
    again = blocks.take((2, BLOCK // 8), np.dtype("f8"), True)
    assert address(again) == place
    assert not again.any()


def test_only_memory_of_the_same_size_is_used_again(blocks):
    place = address(blocks.take(SIDE, F32, False))
    more, less = (blocks.take((BLOCK // 4, n), F32, False) for n in (3, 1))
    assert place not in (address(more), address(less))
    assert address(blocks.take(SIDE, F32, False)) == place


def test_what_waits_is_bounded(blocks, monkeypatch):
    monkeypatch.setattr(blocks, "_most", 5 * BLOCK)
    held = [blocks.take((n, BLOCK // 4), F32, False) for n in (1, 2, 3, 4)]
    held.clear()
    assert sum(map(len, blocks._free)) <= 5 * BLOCK
    waiting = list(map(len, blocks._free))
    blocks.take((6, BLOCK // 4), F32, False)  # too large: those that wait stay
    assert list(map(len, blocks._free)) == waiting


def test_threads_never_share_a_block(blocks):
    def work(number):
        for _ in range(200):
            mine = blocks.take(SIDE, F32, bool(number % 2))
            assert number % 2 == 0 or not mine[:8].any()
            mine[::1000] = number
            assert (mine[::1000] == number).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_a_result_that_lives_until_the_end_of_the_process_ends_in_silence():
    code = (
        "import numpy as np, ptir\n"
        "x = ptir.as_tensor(np.ones((1024, 1024), 'f4'))\n"
        "kept = ptir.compile(lambda x: x + x, backend='native')(x)\n"
        "view = kept.numpy()[3:]\n"
        "print(int(view.sum()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{2 * 1021 * 1024}\n", "")
