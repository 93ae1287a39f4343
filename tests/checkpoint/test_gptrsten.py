"""GPTRSTEN v2: the bytes of an archive, written and read."""

import struct

import numpy as np
import pytest

from ptir.checkpoint import Checkpoint, CheckpointError, gptrsten
from tests.gptrschk import Row, assemble_archive, row

from .formats import BY_NAME, F32, OLD, Disk, one, use

FORMAT = BY_NAME["gptrsten"]


def test_what_save_writes_is_the_file_made_by_hand(tmp_path):
    path = tmp_path / "x.gptrsten"
    gptrsten.save(path, dict(reversed(OLD.items())))
    assert {path.name: path.read_bytes()} == {path.name: FORMAT.files["model.bin"]}


def test_the_bytes_of_a_small_archive_are_these(tmp_path):
    path = tmp_path / "x.gptrsten"
    gptrsten.save(path, {"b": np.array([7], np.int32), "a": np.array(0.5, np.float32)})
    index = struct.pack("<I", 2)
    index += struct.pack("<I1sIIBQQ", 1, b"a", 0, 0, 0, 88, 4)
    index += struct.pack("<I1sIQIBQQ", 1, b"b", 1, 1, 3, 0, 92, 4)
    wanted = b"GPTRSTEN" + struct.pack("<II", 2, len(index)) + index + struct.pack("<fi", 0.5, 7)
    assert path.read_bytes() == wanted


def test_an_archive_says_nothing_of_a_model(disk: Disk):
    archive = Checkpoint(disk.put(FORMAT, FORMAT.files))
    assert archive.format == "GPTRSTEN 2"
    assert (archive.kind, archive.config, archive.runtime) == (None, {}, None)
    assert archive.metadata == {}


def test_the_order_of_an_index_is_free_and_the_reserved_byte_ignored(disk: Disk):
    file = assemble_archive([row("b", F32), row("a", F32 + 1)])
    for field in file.fields:
        if field.name == "reserved":
            file.data[field.offset] = 1
    loaded = use(disk.put(FORMAT, one(bytes(file.data))))
    assert not isinstance(loaded, str), loaded
    np.testing.assert_array_equal(loaded["a"], F32 + 1)


@pytest.mark.parametrize(
    "data,fact",
    [
        (b"GPTRSTEN", "ends inside version"),
        (b"GPTRSTEN\3\0\0\0", "is GPTRSTEN version 3; version 2 is read"),
        (b"GPTRSTEN\2\0\0\0", "index_len needs bytes 12 to 16"),
        (bytes(assemble_archive([row("w", F32)] * 2).data), "appears twice"),
        (bytes(assemble_archive([Row(b"w", (1,), 4, b"\0")]).data), "dtype tag 4 is unknown"),
    ],
)
def test_what_is_no_archive_is_refused(disk: Disk, data, fact):
    assert fact in use(disk.put(FORMAT, one(data)))


def test_a_type_that_gpt_rs_lacks_is_not_written(tmp_path):
    fact = "tensor 'w': a tensor archive cannot hold f64; have f32, f16, bf16, si32"
    with pytest.raises(CheckpointError, match=fact):
        gptrsten.save(tmp_path / "x", {"w": np.zeros(1)})
    assert list(tmp_path.iterdir()) == []
