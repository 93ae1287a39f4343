"""GPTRSCHK v3: its layout byte by byte, every type, its digests; v2 as it always was."""

import hashlib
import os
import struct

import ml_dtypes
import numpy as np
import pytest
from blake3 import blake3

from ptir.checkpoint import Checkpoint, CheckpointError, gptrschk, save
from ptir.ir import DTYPES, dtype
from ptir.params import base_param_id
from tests.gptrschk import HEADER, NEW_TAGS, Row, assemble, packed, read_by_hand, row, sealed
from tests.mutate import with_field

from .formats import ALL, BY_NAME, F32, Array, Disk, one, use

FORMAT = BY_NAME["gptrschk3"]
(SAMPLE,) = FORMAT.files.values()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gptrs"


def arrays(checkpoint: Checkpoint) -> dict[str, Array]:
    return {name: checkpoint.load(base_param_id(name)) for name in checkpoint.names()}


def test_what_save_writes_is_the_file_made_by_hand(path):
    save(path, kind="gpt", config={"embed_dim": 8}, tensors=ALL)
    rows = [row(name, array) for name, array in sorted(ALL.items())]
    wanted = assemble(rows, b'{"kind":"gpt","config":{"embed_dim":8}}', 3)
    assert path.read_bytes() == bytes(wanted.data)


def test_the_layout_is_as_the_documentation_says(path):
    runtime = {"functional_overrides": {"matmul": "force=tiled"}}
    save(path, kind="gpt", config={"eps": 1e-5}, runtime=runtime, tensors=ALL)
    raw = path.read_bytes()
    header, rows = read_by_hand(raw, version=3)
    assert header == {"kind": "gpt", "config": {"eps": 1e-5}, "runtime": runtime}
    assert [r.name.decode() for r in rows] == sorted(ALL)
    at = rows[0].offset or 0
    for r in rows:
        wanted = ALL[r.name.decode()]
        assert (r.dims, r.tag) == (wanted.shape, NEW_TAGS[wanted.dtype.name])
        assert (r.offset, r.data) == (at, packed(wanted))
        assert r.base_id == base_param_id(r.name.decode())
        assert at % 64 == 0
        after = at + -(-len(r.data) // 64) * 64
        assert not any(raw[at + len(r.data) : after])
        at = after
    tail = raw[at:]
    assert tail[:-32] == b"".join(blake3(r.data).digest() for r in rows)
    assert tail[-32:] == blake3(raw[: rows[0].offset] + tail[:-32]).digest()


def test_every_type_of_ptir_has_a_tag_and_is_in_the_sample():
    assert {dtype(array.dtype) for array in ALL.values()} == set(DTYPES.values())
    assert len(NEW_TAGS) == len(DTYPES)


@pytest.mark.parametrize("element", [ml_dtypes.int4, ml_dtypes.uint4])
@pytest.mark.parametrize("count", range(6))
def test_4_bit_elements_take_half_a_byte_and_come_back(path, element, count):
    values = (np.arange(count) * 5 % 16 - (8 if element is ml_dtypes.int4 else 0)).astype(element)
    save(path, kind="gpt", config={}, tensors={"w": values})
    _, (only,) = read_by_hand(path.read_bytes(), version=3)
    assert only.byte_len == (count + 1) // 2
    loaded = arrays(Checkpoint(path))["w"]
    assert loaded.dtype == values.dtype
    np.testing.assert_array_equal(loaded.astype(int), values.astype(int))


@pytest.mark.parametrize(
    "tag,dims,data,fact",
    [
        (4, (2,), b"\1\2", "tensor 'w': has a byte that is neither 0 nor 1"),
        (5, (1,), b"\x10", "tensor 'w': the unused last nibble is not zero"),
        (6, (3,), b"\x21\x53", "tensor 'w': the unused last nibble is not zero"),
        (19, (1,), b"\0", r"dtype tag 19 is unknown; have f32 \(0\), .* c128 \(18\)"),
        (5, (2**63 - 1, 4), b"\0", "overflows 63 bits"),
    ],
)
def test_a_value_that_its_type_does_not_have_is_refused(path, tag, dims, data, fact):
    path.write_bytes(assemble([Row(b"w", dims, tag, data)], HEADER, 3).data)
    with pytest.raises(CheckpointError, match=fact):
        arrays(Checkpoint(path))


def test_a_reserved_byte_that_is_not_0_is_refused(disk: Disk):
    file = assemble([row("w", F32)], HEADER, 3)
    reserved = next(field for field in file.fields if field.name == "reserved")
    raw = sealed(with_field(bytes(file.data), reserved, 1))
    refusal = use(disk.put(FORMAT, one(raw)))
    assert "tensor 'w': has a reserved byte that is not 0" in refusal


def test_a_tensor_that_is_not_aligned_is_refused(disk: Disk):
    file = assemble([row("a", F32), row("b", F32)], HEADER, 3)
    offsets = [field for field in file.fields if field.name == "offset"]
    for field, change, fact in ((1, -8, "'b': overlaps"), (1, 8, "'b': 8 unused bytes")):
        old = int.from_bytes(file.data[offsets[field].offset :][:8], "little")
        raw = sealed(with_field(bytes(file.data), offsets[field], old + change))
        assert fact in use(disk.put(FORMAT, one(raw)))


# --- digests ---


def test_each_flipped_bit_of_the_header_and_the_digests_is_found_on_opening(path):
    save(path, kind="gpt", config={"eps": 1e-5}, tensors={"w": F32, "b": F32[0]})
    raw = bytearray(path.read_bytes())
    _, rows = read_by_hand(bytes(raw), version=3)
    start, end = min(r.offset or 0 for r in rows), len(raw) - 3 * 32
    for at in [*range(start), *range(end, len(raw))]:
        raw[at] ^= 1 << at % 8
        path.write_bytes(raw)
        with pytest.raises(CheckpointError):
            Checkpoint(path)
        raw[at] ^= 1 << at % 8


@pytest.mark.parametrize("asked", ["argument", "method", "knob"])
def test_each_flipped_bit_of_the_data_is_found_when_digests_are_compared(path, monkeypatch, asked):
    save(path, kind="gpt", config={}, tensors={"w": F32, "none": F32[:0], "z": F32[0]})
    raw = bytearray(path.read_bytes())
    _, rows = read_by_hand(bytes(raw), version=3)
    start, end = min(r.offset or 0 for r in rows), len(raw) - 4 * 32
    if asked == "knob":
        monkeypatch.setenv("PTIR_CHECK_DIGESTS", "1")
    for at in range(start, end):
        raw[at] ^= 1 << at % 8
        path.write_bytes(raw)
        with pytest.raises(CheckpointError, match=r"tensor '[wz]': is damaged"):
            Checkpoint(path, verify=True if asked == "argument" else None).verify()
        assert asked == "knob" or Checkpoint(path).names() == ("none", "w", "z")
        raw[at] ^= 1 << at % 8
    path.write_bytes(raw)
    assert Checkpoint(path, verify=True).verify() == 3


def test_digests_are_not_compared_unless_asked(path, monkeypatch):
    save(path, kind="gpt", config={}, tensors={"w": F32})
    monkeypatch.setattr(gptrschk, "verify", lambda *_: pytest.fail("compared"))
    arrays(Checkpoint(path))
    monkeypatch.setenv("PTIR_CHECK_DIGESTS", "1")
    arrays(Checkpoint(path, verify=False))


def test_a_format_without_digests_compares_none(disk: Disk, format):
    compared = Checkpoint(disk.put(format, format.files), verify=True).verify()
    assert compared == (len(ALL) if format.name == "gptrschk3" else 0)


def test_a_file_cut_inside_its_digests_is_refused_by_that_name(path):
    save(path, kind="gpt", config={}, tensors={})
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    with pytest.raises(CheckpointError, match="ends inside its digests: 32 bytes wanted, 31 left"):
        Checkpoint(path)


# --- versions ---


# Of the file below, from the writer that was there before version 3.
VERSION_2 = "37e0b786910734dfe8099f127c3e98990e713e83a8709ad8632681b6c5fddf8c"


def test_a_version_2_file_is_what_it_always_was(path):
    tensors = {"b": np.arange(6, dtype="f4").reshape(2, 3), "a.w": np.arange(5, dtype="i4")}
    config, runtime = {"embed_dim": 8, "eps": 1e-5}, {"dtype": "f32"}
    save(path, kind="gpt", config=config, runtime=runtime, tensors=tensors, version=2)
    assert Checkpoint(path).format == "GPTRSCHK 2"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == VERSION_2


def test_version_3_is_written_unless_another_is_asked_for(path):
    save(path, kind="gpt", config={}, tensors={})
    assert struct.unpack_from("<I", path.read_bytes(), 8) == (3,)
    assert Checkpoint(path).format == "GPTRSCHK 3"


@pytest.mark.parametrize("version", [0, 1, 4, 2**32 - 1])
def test_no_other_version_is_read_or_written(path, version):
    wanted = f"GPTRSCHK version {version}; version 2 or 3 is"
    with pytest.raises(CheckpointError, match=wanted):
        save(path, kind="gpt", config={}, tensors={}, version=version)
    assert not os.path.lexists(path)
    path.write_bytes(b"GPTRSCHK" + struct.pack("<II", version, 0))
    with pytest.raises(CheckpointError, match=wanted):
        Checkpoint(path)


def test_a_checkpoint_of_either_version_can_be_saved_as_the_other(path):
    save(path, kind="gpt", config={}, tensors=BY_NAME["gptrschk2"].arrays, version=2)
    first = arrays(Checkpoint(path))
    save(path, kind="gpt", config={}, tensors=first)
    second = arrays(Checkpoint(path, verify=True))
    assert {n: a.tobytes() for n, a in first.items()} == {n: a.tobytes() for n, a in second.items()}
