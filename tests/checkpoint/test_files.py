"""Files under any format: how a format is told, what is no file, what happens when one is cut."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptir.checkpoint import Checkpoint, CheckpointError, safetensors
from ptir.params import BaseParamId, ParamSource, ParamSpec, base_param_id

from .formats import BY_NAME, Disk, Format, one, use

TOLD = {
    "gptrschk2": "GPTRSCHK 2",
    "gptrschk3": "GPTRSCHK 3",
    "gptrsten": "GPTRSTEN 2",
    "safetensors": "safetensors",
    "folder": "safetensors shards",
}


def test_a_format_is_told_by_its_content_not_by_its_name(disk: Disk, format: Format):
    checkpoint = Checkpoint(disk.put(format, format.files))
    assert checkpoint.format == TOLD[format.name]
    assert isinstance(checkpoint, ParamSource)


@pytest.mark.parametrize(
    "data,start",
    [
        (b"", "it is empty"),
        (b"G", "it starts with b'G'"),
        (b"GPTRSCHX\2\0\0\0", "it starts with b'GPTRSCHX'"),
        (b"PK\3\4 a torch file", r"it starts with b'PK\x03\x04 a t'"),
        (b"\x80\4\x95 a pickle", r"it starts with b'\x80\x04\x95 a pi'"),
        (b"\x93NUMPY\1\0v\0{'descr'", r"it starts with b'\x93NUMPY\x01\x00'"),
        (b"\x1b[31m\n\0\0", r"it starts with b'\x1b[31m\n\x00\x00'"),
    ],
)
def test_what_has_no_known_start_is_refused(disk: Disk, data, start):
    wanted = "is not a GPTRSCHK checkpoint, GPTRSTEN archive or safetensors file: "
    assert wanted + start in use(disk.put(BY_NAME["gptrschk2"], one(data)))


def test_each_tensor_is_told_without_being_read(disk: Disk, format: Format, monkeypatch):
    checkpoint = Checkpoint(disk.put(format, format.files))
    monkeypatch.setattr("ptir.checkpoint.packing.read", lambda *_: pytest.fail("read"))
    for name, array in format.arrays.items():
        spec = checkpoint.spec(name)
        assert isinstance(spec, ParamSpec)
        assert (spec.dtype.numpy, spec.shape) == (array.dtype, array.shape)


def test_an_unknown_tensor_is_refused_with_the_nearest_name(disk: Disk, format: Format):
    checkpoint = Checkpoint(disk.put(format, format.files))
    last = max(format.arrays)
    with pytest.raises(CheckpointError, match=f"has no tensor '{last}x'; did you mean '{last}'"):
        checkpoint.spec(last + "x")
    with pytest.raises(CheckpointError, match=r"no tensor with the id 0x0+1$"):
        checkpoint.load(BaseParamId(1))


# --- what is no file ---


def test_what_is_not_a_regular_file_is_refused_and_not_even_opened(tmp_path, monkeypatch):
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    monkeypatch.setattr(os, "open", lambda path, *_: pytest.fail(f"opened {path}"))
    for path in (fifo, Path(os.devnull)):
        assert "not a regular file" in use(path)
    assert "symbolic link" in use(link)
    assert "No such file" in use(tmp_path / "absent")
    assert "is a folder with neither" in use(tmp_path)


# --- files that shrink ---


@pytest.mark.usefixtures("mmap_knob")
def test_a_file_that_is_cut_while_open_is_refused(disk: Disk, format: Format):
    path = disk.put(format, format.files)
    checkpoint = Checkpoint(path)
    checkpoint.check_size()
    name = next(name for name in reversed(format.files) if name != "config.json")
    os.truncate(disk.folder / name, len(format.files[name]) - 1)
    with pytest.raises(CheckpointError, match="when it was opened"):
        checkpoint.check_size()
    with pytest.raises(CheckpointError, match="when it was opened"):
        [checkpoint.load(base_param_id(tensor)) for tensor in checkpoint.names()]


def test_copied_tensors_survive_a_cut(disk: Disk, format: Format, monkeypatch):
    monkeypatch.setenv("PTIR_MMAP", "0")
    loaded = use(disk.put(format, format.files))
    assert not isinstance(loaded, str), loaded
    for name in format.files:
        os.truncate(disk.folder / name, 0)
    for name, array in format.arrays.items():
        assert loaded[name].tobytes() == array.tobytes()


SHRINK = """
import os, sys
import numpy as np
from ptir.checkpoint import Checkpoint, CheckpointError, safetensors
from ptir.params import base_param_id

path, cut, mode = sys.argv[1:]
checkpoint = Checkpoint(path)
arrays = [checkpoint.load(base_param_id(name)) for name in checkpoint.names()]
os.truncate(cut, 10)
if mode != "blind":
    try:
        checkpoint.check_size()
    except CheckpointError:
        print("refused")
if mode != "asked":
    print(sum(float(array.astype(np.float64).sum()) for array in arrays))
"""


@pytest.mark.parametrize(
    "mode,mapped,outcome",
    [
        ("asked", "1", (0, "refused\n")),
        ("both", "0", (0, "refused\n4096.0\n")),
        ("blind", "1", (-signal.SIGBUS, "")),  # what the other two are for
    ],
)
def test_a_process_asks_before_it_reads_a_file_that_shrank(
    tmp_path, format: Format, mode, mapped, outcome
):
    """Large enough that the cut takes whole pages of the mapping."""
    big = {"w": np.ones(4096, np.float32)}
    path = cut = tmp_path / "model.bin"
    if format.save is None:
        path, cut = tmp_path, tmp_path / "model.safetensors"
    save = format.save or safetensors.save
    save(cut, big)
    done = subprocess.run(
        [sys.executable, "-c", SHRINK, str(path), str(cut), mode],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PTIR_MMAP": mapped},
    )
    assert (done.returncode, done.stdout) == outcome, done.stderr
