"""What tells the data of a tensor from any other data, in any process, without reading them."""

import os
import shutil
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from ptir.checkpoint import Checkpoint, CheckpointError, safetensors, save
from ptir.checkpoint.file import RegularFile

from .formats import BY_NAME, FORMATS, Disk, Format

TICK = 0.12  # seconds after which a change of a file shows in its times


def contents(path: Path) -> dict[str, bytes]:
    checkpoint = Checkpoint(path)
    return {name: checkpoint.content(name) for name in checkpoint.names()}


@pytest.mark.usefixtures("mmap_knob")
def test_each_tensor_of_a_file_has_its_own_and_keeps_it(disk: Disk, format: Format):
    path = disk.put(format, format.files)
    found = contents(path)
    assert all(len(content) == 32 for content in found.values())
    assert len(set(found.values())) == len(format.arrays)
    assert contents(path) == found


@pytest.mark.parametrize("format", [f for f in FORMATS if f.save], ids=lambda f: f.name)
def test_two_tensors_of_one_type_are_told_apart(tmp_path, format: Format):
    assert format.save is not None
    format.save(tmp_path / "m", {"v": np.ones(16, np.float32), "w": np.zeros(16, np.float32)})
    found = contents(tmp_path / "m")
    assert found["v"] != found["w"]


def test_no_data_are_read(disk: Disk, format: Format, monkeypatch):
    checkpoint = Checkpoint(disk.put(format, format.files))
    for method in ("_copy", "array", "digest"):
        monkeypatch.setattr(RegularFile, method, lambda *given: pytest.fail("read"))
    for name in checkpoint.names():
        checkpoint.content(name)


def test_copies_are_the_same_where_digests_tell_it(disk: Disk, format: Format):
    path = disk.put(format, format.files)
    found = contents(path)
    copy = path.with_name("copy")
    shutil.copytree(path, copy) if path.is_dir() else shutil.copy2(path, copy)
    assert (contents(copy) == found) is (format.name == "gptrschk3")


def test_the_same_bytes_as_another_type_or_shape_are_other_data(tmp_path):
    zeros = np.zeros((4, 4), np.float32)
    arrays = [zeros, zeros.view(np.int32), zeros.reshape(2, 8), zeros.reshape(16)]
    arrays.append(np.zeros((4, 32), ml_dtypes.int4))
    found = set()
    for array in arrays:
        save(tmp_path / "m", kind="x", config={}, tensors={"w": array})
        found.add(contents(tmp_path / "m")["w"])
    assert len(found) == len(arrays)


@pytest.mark.parametrize("how", ["replaced", "in place", "in place, same time"])
def test_a_changed_file_has_other_contents(tmp_path, how):
    path, other = tmp_path / "m", tmp_path / "o"
    safetensors.save(path, {"w": np.zeros(4)})
    safetensors.save(other, {"w": np.ones(4)})
    time.sleep(TICK)
    before, times = contents(path), path.stat()
    if how == "replaced":
        shutil.copy2(other, tmp_path / "c")
        os.replace(tmp_path / "c", path)
    else:
        path.write_bytes(other.read_bytes())
    if how == "in place, same time":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert contents(path) != before


def test_an_unknown_tensor_has_none(disk: Disk):
    format = BY_NAME["safetensors"]
    checkpoint = Checkpoint(disk.put(format, format.files))
    for ask in (checkpoint.content, checkpoint.check_content):
        with pytest.raises(CheckpointError, match="has no tensor 'nothing'"):
            ask("nothing")


def test_the_contents_of_a_file_that_rests_are_sound(disk: Disk, format: Format):
    path = disk.put(format, format.files)
    time.sleep(TICK)
    checkpoint = Checkpoint(path)
    for name in checkpoint.names():
        checkpoint.check_content(name)


def test_contents_are_not_sound_once_the_file_has_changed(tmp_path):
    path = tmp_path / "m"
    safetensors.save(path, {"w": np.zeros(4)})
    time.sleep(TICK)
    checkpoint = Checkpoint(path)
    checkpoint.check_content("w")
    os.utime(path)
    with pytest.raises(CheckpointError, match="changed since it was opened"):
        checkpoint.check_content("w")


def test_contents_are_not_sound_while_the_clock_could_miss_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr("ptir.checkpoint.file._TICK", 60 * 10**9)
    safetensors.save(tmp_path / "m", {"w": np.zeros(4)})
    with pytest.raises(CheckpointError, match="changed at the moment"):
        Checkpoint(tmp_path / "m").check_content("w")


def test_contents_are_not_sound_where_data_are_not_those_of_the_digest(tmp_path):
    path = tmp_path / "m"
    save(path, kind="x", config={}, tensors={"v": np.zeros(16), "w": np.ones(16)})
    raw = path.read_bytes()
    path.write_bytes(raw.replace(np.ones(16).tobytes(), np.full(16, 2.0).tobytes()))
    checkpoint = Checkpoint(path)
    checkpoint.check_content("v")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="its data are not those of its digest"):
            checkpoint.check_content("w")


@pytest.mark.parametrize("verify", [True, False])
def test_a_digest_is_compared_once(tmp_path, monkeypatch, verify):
    save(tmp_path / "m", kind="x", config={}, tensors={"w": np.ones(16)})
    read, digest = [], RegularFile.digest

    def counted(self, *given):
        read.append(given)
        return digest(self, *given)

    monkeypatch.setattr(RegularFile, "digest", counted)
    checkpoint = Checkpoint(tmp_path / "m", verify=verify)
    for _ in range(2):
        checkpoint.check_content("w")
    assert len(read) == 1
