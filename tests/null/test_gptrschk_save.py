"""Writing GPTRSCHK v2: the bytes, what is refused, and what a failure leaves behind."""

import errno
import functools
import os
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ptir.checkpoint import Checkpoint, CheckpointError, save
from ptir.params import base_param_id
from tests.gptrschk import TAGS, read_by_hand

CONFIG = {"embed_dim": 8, "eps": 1e-5, "activation": "gelu"}
Array = np.ndarray[Any, Any]
OLD: dict[str, Array] = {"w": np.arange(3, dtype=np.float32)}
NEW: dict[str, Array] = {
    "a": np.ones((2, 3), np.float32),
    "b.c": np.zeros(5, np.int32),
    "w": np.full(4, 7, np.float16),
}

DTYPES = [np.dtype(name) for name in (np.float32, np.float16, ml_dtypes.bfloat16, np.int32)]
SEGMENT = st.text("abcdefgh_0123456789 -/", min_size=1, max_size=6)
NAME = st.lists(SEGMENT, min_size=1, max_size=3).map(".".join)


@st.composite
def array(draw):
    """Any bits, NaN payloads among them, of any writable dtype and rank."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    count = int(np.prod(shape)) * dtype.itemsize
    raw = draw(st.binary(min_size=count, max_size=count))
    return (
        np.frombuffer(raw, np.uint8).view(dtype).reshape(shape) if count else np.zeros(shape, dtype)
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("save") / "model.bin"


@settings(max_examples=50)  # each one waits for the disk
@given(st.dictionaries(NAME, array(), max_size=5))
def test_what_is_saved_is_loaded_bit_for_bit(path, tensors):
    save(path, kind="gpt", config=CONFIG, tensors=tensors)
    checkpoint = Checkpoint(path)
    assert (checkpoint.kind, checkpoint.config, checkpoint.runtime) == ("gpt", CONFIG, None)
    assert checkpoint.names() == tuple(sorted(tensors))
    for name, wanted in tensors.items():
        loaded = checkpoint.load(base_param_id(name))
        assert (loaded.dtype, loaded.shape) == (wanted.dtype, wanted.shape)
        assert loaded.tobytes() == wanted.tobytes()


@settings(max_examples=50)  # each one waits for the disk
@given(st.dictionaries(NAME, array(), max_size=5))
def test_the_file_is_laid_out_as_the_format_says(path, tensors):
    runtime = {"functional_overrides": {"matmul": "force=tiled"}}
    save(path, kind="gpt", config=CONFIG, runtime=runtime, tensors=tensors)
    raw = path.read_bytes()
    header, rows = read_by_hand(raw)
    assert header == {"kind": "gpt", "config": CONFIG, "runtime": runtime}
    assert [r.name.decode() for r in rows] == sorted(tensors)
    at = len(raw) - sum(len(r.data) for r in rows)
    assert at % 64 == 0
    for r in rows:
        wanted = tensors[r.name.decode()]
        assert (r.dims, r.tag) == (wanted.shape, TAGS[wanted.dtype.name])
        assert (r.offset, r.data) == (at, wanted.tobytes())
        assert r.base_id == base_param_id(r.name.decode())
        at += len(r.data)


def test_strided_and_big_endian_arrays_are_saved_by_value(path):
    strided = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-3].T
    save(path, kind="gpt", config={}, tensors={"s": strided, "b": np.arange(4, dtype=">i4")})
    checkpoint = Checkpoint(path)
    np.testing.assert_array_equal(checkpoint.load(base_param_id("s")), strided)
    np.testing.assert_array_equal(checkpoint.load(base_param_id("b")), np.arange(4))


def test_a_loaded_checkpoint_can_be_saved_over_itself(path):
    save(path, kind="gpt", config={}, tensors=NEW)
    old = Checkpoint(path)
    save(path, kind="gpt", config={}, tensors={n: old.load(base_param_id(n)) for n in old.names()})
    for name, wanted in NEW.items():
        np.testing.assert_array_equal(Checkpoint(path).load(base_param_id(name)), wanted)
        np.testing.assert_array_equal(old.load(base_param_id(name)), wanted)


def test_a_save_is_streamed_one_tensor_at_a_time(path):
    class Made(Mapping[str, Array]):
        """Sixteen tensors of 1 MiB that exist only while they are asked for."""

        def __getitem__(self, name: str) -> Array:
            return np.full(1 << 18, int(name), np.float32)

        def __iter__(self) -> Iterator[str]:
            return map(str, range(16))

        def __len__(self) -> int:
            return 16

    tracemalloc.start()
    save(path, kind="gpt", config={}, tensors=Made())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 16 << 20
    assert peak < 4 << 20
    path.unlink()


ZERO = np.zeros(1, np.float32)
NESTED: list[Any] = functools.reduce(lambda inner, _: [inner], range(33), [])
REFUSED = [
    ({"tensors": {"w": np.zeros(1)}}, r"tensor 'w': version 2 cannot hold f64; have f32 \(0\)"),
    ({"tensors": {"w": np.array(["x"])}}, "tensor 'w': no PTIR dtype"),
    ({"tensors": {"a..b": ZERO}}, "empty segment"),
    ({"tensors": {"": ZERO}}, "empty segment"),
    ({"tensors": {"é": ZERO}}, "must be ASCII"),
    ({"tensors": {"\ud800": ZERO}}, "not valid UTF-8"),
    ({"tensors": {"a\nb": ZERO}}, "control character"),
    ({"tensors": {"n" * 513: ZERO}}, "name of 513 bytes"),
    ({"tensors": {"w": np.zeros((1,) * 33, np.float32)}}, "rank 33"),
    ({"kind": "../gpt"}, 'needs "kind"'),
    ({"config": {"a": float("nan")}}, "config cannot be written as JSON"),
    ({"config": {"a": {1, 2}}}, "config cannot be written as JSON"),
    ({"config": {"a": 10**20}}, "21 digits"),
    ({"config": {"a": "\ud800"}}, "config is not valid JSON"),
    ({"config": {"a": "x" * (1 << 20)}}, "at most 1048576"),
    ({"runtime": {"a": NESTED}}, "nested more than 32 deep"),
]  # fmt: skip


@pytest.mark.parametrize("change,fact", REFUSED)
def test_what_no_reader_would_take_is_not_written(tmp_path, change, fact):
    path = tmp_path / "model.bin"
    with pytest.raises(CheckpointError, match=fact) as caught:
        save(path, **{"kind": "gpt", "config": {}, "tensors": {}} | change)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


# A save that fails.


@pytest.fixture
def old(tmp_path):
    """A folder with one checkpoint in it."""
    path = tmp_path / "model.bin"
    save(path, kind="gpt", config={"age": 1}, tensors=OLD)
    return path


def is_untouched(path: Path) -> bool:
    checkpoint = Checkpoint(path)
    value = checkpoint.load(base_param_id("w"))
    alone = [p.name for p in path.parent.iterdir()] == [path.name]
    return alone and checkpoint.config == {"age": 1} and np.array_equal(value, OLD["w"])


class FailsAt:
    """A system call that does its work until the k-th time, and then fails."""

    def __init__(self, call, k, error):
        self.call, self.left, self.error = call, k, error

    def __call__(self, *args, **keywords):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.call(*args, **keywords)


FULL = OSError(errno.ENOSPC, "No space left on device")
WRITES = 1 + len(NEW)


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "interrupt"])
@pytest.mark.parametrize(
    "name,k",
    [*(("write", k) for k in range(WRITES)), ("open", 0), ("fsync", 0), ("replace", 0)],
)
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(monkeypatch, old, name, k, error):
    wanted = CheckpointError if error is FULL else KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(os, name, FailsAt(getattr(os, name), k, error))
        with pytest.raises(wanted):
            save(old, kind="gpt", config={}, tensors=NEW)
    assert is_untouched(old)


def test_the_failing_writes_above_are_all_the_writes(monkeypatch, old):
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FailsAt(os.write, WRITES, FULL))
        save(old, kind="gpt", config={}, tensors=NEW)
    assert Checkpoint(old).names() == tuple(NEW)


def test_a_message_says_the_file_and_the_reason(monkeypatch, old):
    monkeypatch.setattr(os, "write", FailsAt(os.write, 0, FULL))
    with pytest.raises(CheckpointError, match=r"model\.bin: cannot be written: No space left"):
        save(old, kind="gpt", config={}, tensors=NEW)


KILLED = """
import os, sys
import numpy as np
from ptir.checkpoint import save

write, left = os.write, int(sys.argv[2])

def dying(fd, data):
    global left
    left -= 1
    if left < 0:
        write(fd, data[: len(data) // 2])
        os._exit(9)
    return write(fd, data)

os.write = dying
tensors = {name: np.ones(9, np.float32) for name in "ab"}
save(sys.argv[1], kind="gpt", config={}, tensors=tensors)
"""


@pytest.mark.parametrize("k", range(3))
def test_a_process_killed_while_it_saves_leaves_the_old_file(old, k):
    done = subprocess.run([sys.executable, "-c", KILLED, old, str(k)], check=False)
    assert done.returncode == 9
    assert Checkpoint(old).config == {"age": 1}


def test_short_writes_are_continued(monkeypatch, old):
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        save(old, kind="gpt", config={}, tensors=NEW)
    for name, wanted in NEW.items():
        np.testing.assert_array_equal(Checkpoint(old).load(base_param_id(name)), wanted)


def test_a_tensor_that_changes_while_it_is_saved_is_refused(old):
    class Changing(dict[str, Array]):
        asked = 0

        def __getitem__(self, name: str) -> Array:
            self.asked += 1
            return np.zeros(self.asked, np.float32)

    with pytest.raises(CheckpointError, match="tensor 'w': changed"):
        save(old, kind="gpt", config={}, tensors=Changing(w=OLD["w"]))
    assert is_untouched(old)


def test_only_a_plain_file_is_replaced(tmp_path, old):
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(old)
    os.mkfifo(fifo)
    for path in (link, fifo, tmp_path):
        before = stat.S_IFMT(path.lstat().st_mode)
        with pytest.raises(CheckpointError, match="not a regular file"):
            save(path, kind="gpt", config={}, tensors=NEW)
        assert stat.S_IFMT(path.lstat().st_mode) == before


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent/model\.bin: cannot be written: No such"):
        save(tmp_path / "absent" / "model.bin", kind="gpt", config={}, tensors={})


def test_the_mode_of_a_new_file_follows_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        save(tmp_path / "model.bin", kind="gpt", config={}, tensors={})
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "model.bin").stat().st_mode) == 0o640
