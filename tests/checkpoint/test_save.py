"""Saves of every format that can be written: whole or not at all, one tensor at a time."""

import errno
import os
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptir.checkpoint import Checkpoint, CheckpointError
from ptir.params import base_param_id

from .formats import FORMATS, Array, Format, use

WRITTEN = [format for format in FORMATS if format.save is not None]
OLD: dict[str, Array] = {"w": np.arange(3, dtype=np.float32)}
NEW: dict[str, Array] = {
    "a": np.ones((2, 3), np.float32),
    "b.c": np.zeros(5, np.int32),
    "w": np.full(4, 7, np.float16),
}


@pytest.fixture(params=WRITTEN, ids=lambda format: format.name)
def written(request) -> Format:
    """Each format that can be written, in turn."""
    found: Format = request.param
    return found


def save(format: Format, path: Path, tensors: Mapping[str, Array]) -> None:
    assert format.save is not None
    format.save(path, tensors)


@pytest.fixture
def old(tmp_path, written):
    """A folder with one file in it."""
    path = tmp_path / "model.bin"
    save(written, path, OLD)
    return path


def holds(path: Path, tensors: Mapping[str, Array]) -> bool:
    """Whether `path` is alone in its folder and holds these tensors."""
    found = use(path)
    assert not isinstance(found, str), found
    alone = [p.name for p in path.parent.iterdir()] == [path.name]
    bits = {name: a.tobytes() for name, a in found.items()}
    return alone and bits == {name: a.tobytes() for name, a in tensors.items()}


class FailsAt:
    """A function that raises `error` at its k-th call; counts its calls."""

    def __init__(self, call: Any, k: int, error: BaseException) -> None:
        self.call, self.k, self.error, self.calls = call, k, error, 0

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        self.calls += 1
        if self.calls == self.k:
            raise self.error
        return self.call(*args, **keywords)


FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("error", [FULL, BROKEN, KeyboardInterrupt()], ids=["full", "io", "ctrl-c"])
@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
def test_a_save_that_fails_at_any_kth_call_leaves_the_old_file_and_nothing_else(
    monkeypatch, written, old, name, error
):
    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else CheckpointError
    counting = FailsAt(getattr(os, name), 0, error)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, counting)
        save(written, old.parent / "other", NEW)
    (old.parent / "other").unlink()
    assert counting.calls >= (1 + len(NEW) if name == "write" else 1)
    synced_or_folder = 2 if name in ("open", "fsync") else 1  # the last is after the rename
    for k in range(1, counting.calls + 2 - synced_or_folder):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, FailsAt(getattr(os, name), k, error))
            with pytest.raises(wanted):
                save(written, old, NEW)
        assert holds(old, OLD)


@pytest.mark.parametrize("name", ["open", "fsync"])
def test_a_save_that_fails_after_the_rename_leaves_the_new_file(monkeypatch, written, old, name):
    with monkeypatch.context() as patch:
        patch.setattr(os, name, FailsAt(getattr(os, name), 2, BROKEN))
        with pytest.raises(CheckpointError, match=r"model\.bin: cannot be written: Input/output"):
            save(written, old, NEW)
    assert holds(old, NEW)


KILLED = """
import os, sys
import numpy as np
from pathlib import Path
from tests.checkpoint.formats import BY_NAME

write, left = os.write, int(sys.argv[3])

def dying(fd, data):
    global left
    left -= 1
    if left < 0:
        write(fd, data[: len(data) // 2])
        os._exit(9)
    return write(fd, data)

os.write = dying
BY_NAME[sys.argv[1]].save(Path(sys.argv[2]), {name: np.ones(9, np.float32) for name in "ab"})
"""


@pytest.mark.parametrize("k", range(3))
def test_a_process_killed_while_it_saves_leaves_the_old_file(written, old, k):
    command = [sys.executable, "-c", KILLED, written.name, str(old), str(k)]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 9
    found = use(old)
    assert not isinstance(found, str), found
    np.testing.assert_array_equal(found["w"], OLD["w"])


def test_short_writes_are_continued(monkeypatch, written, old):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        save(written, old, NEW)
    assert holds(old, NEW)


def test_a_tensor_that_changes_while_it_is_saved_is_refused(written, old):
    class Changing(dict[str, Array]):
        asked = 0

        def __getitem__(self, name: str) -> Array:
            self.asked += 1
            return np.zeros(self.asked, np.float32)

    with pytest.raises(CheckpointError, match="tensor 'w': changed its type while it was saved"):
        save(written, old, Changing(w=OLD["w"]))
    assert holds(old, OLD)


def test_a_save_is_streamed_one_tensor_at_a_time(written, old):
    class Made(Mapping[str, Array]):
        """Sixteen tensors of 1 MiB that exist only while they are asked for."""

        def __getitem__(self, name: str) -> Array:
            return np.full(1 << 18, int(name), np.float32)

        def __iter__(self) -> Iterator[str]:
            return map(str, range(16))

        def __len__(self) -> int:
            return 16

    tracemalloc.start()
    save(written, old, Made())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert old.stat().st_size > 16 << 20
    assert peak < 4 << 20


def test_a_file_can_be_saved_over_while_it_is_mapped(written, old):
    opened = Checkpoint(old)
    before = opened.load(base_param_id("w"))
    save(written, old, NEW)
    np.testing.assert_array_equal(before, OLD["w"])
    assert holds(old, NEW)


def test_strided_and_big_endian_arrays_are_saved_by_value(written, old):
    strided = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-3].T
    big = np.arange(4, dtype=">i4")
    save(written, old, {"s": strided, "b": big})
    assert holds(old, {"b": big.astype("<i4"), "s": np.ascontiguousarray(strided)})


ZERO = np.zeros(1, np.float32)


@pytest.mark.parametrize(
    "tensors,fact",
    [
        ({"w": np.array(["x"])}, "tensor 'w': no PTIR dtype"),
        ({"a..b": ZERO}, "empty segment"),
        ({"": ZERO}, "empty segment"),
        ({"é": ZERO}, "must be ASCII"),
        ({"\ud800": ZERO}, "not valid UTF-8"),
        ({"a\nb": ZERO}, "control character"),
        ({"n" * 513: ZERO}, "name of 513 bytes"),
        ({"w": np.zeros((1,) * 33, np.float32)}, "rank 33"),
        (dict.fromkeys(map(str, range((1 << 16) + 1)), ZERO), "has 65537 tensors"),
    ],
)
def test_what_no_reader_would_take_is_not_written(tmp_path, written, tensors, fact):
    with pytest.raises(CheckpointError, match=fact) as caught:
        save(written, tmp_path / "model.bin", tensors)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_only_a_plain_file_is_replaced(tmp_path, written, old):
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(old)
    os.mkfifo(fifo)
    for path in (link, fifo, tmp_path):
        before = stat.S_IFMT(path.lstat().st_mode)
        with pytest.raises(CheckpointError, match="not a regular file"):
            save(written, path, NEW)
        assert stat.S_IFMT(path.lstat().st_mode) == before


def test_what_is_saved_is_read_back_bit_for_bit(tmp_path, written):
    path = tmp_path / "model.bin"
    save(written, path, written.arrays)
    assert holds(path, dict(sorted(written.arrays.items())))


def test_a_folder_that_does_not_exist_is_named(tmp_path, written):
    with pytest.raises(CheckpointError, match=r"absent/model\.bin: cannot be written: No such"):
        save(written, tmp_path / "absent" / "model.bin", {})


def test_the_mode_of_a_new_file_follows_the_umask(tmp_path, written):
    mask = os.umask(0o027)
    try:
        save(written, tmp_path / "model.bin", {})
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "model.bin").stat().st_mode) == 0o640
