"""`GPTRSCHK` and `GPTRSTEN` by hand, from their layout: assemblers, and a reader of its own."""

import json
import struct
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3 as blake3_of_any_length

from tests.blake3 import blake3
from tests.mutate import Assembler

TAGS = {"float32": 0, "float16": 1, "bfloat16": 2, "int32": 3}
NEW_TAGS = TAGS | {
    "bool": 4, "int4": 5, "uint4": 6, "int8": 7, "uint8": 8, "int16": 9, "uint16": 10,
    "uint32": 11, "int64": 12, "uint64": 13, "float8_e4m3fn": 14, "float8_e5m2": 15,
    "float64": 16, "complex64": 17, "complex128": 18,
}  # fmt: skip
HEADER = {"kind": "gpt", "config": {"embed_dim": 8}}


class Row(NamedTuple):
    """One tensor of the index as it is written."""

    name: bytes
    dims: tuple[int, ...]
    tag: int
    data: bytes
    base_id: int = 0
    offset: int | None = None  # None: right after the tensor before it
    byte_len: int | None = None  # None: the length of `data`


def row(path: str, array: np.ndarray[Any, Any], **changes: Any) -> Row:
    """`array` under the name `path`, with the id of that name; then the changes."""
    tag = NEW_TAGS[array.dtype.name]
    base_id = int.from_bytes(blake3(path.encode())[:16], "little")
    made = Row(path.encode(), array.shape, tag, packed(array), base_id)
    return made._replace(**changes)


def packed(array: np.ndarray[Any, Any]) -> bytes:
    """Row-major little-endian; of 4-bit elements the first is the low half of a byte."""
    if not array.dtype.name.endswith("int4"):
        return array.tobytes()
    halves = [int(value) & 15 for value in array.reshape(-1).astype(int)] + [0]
    return bytes(a | b << 4 for a, b in zip(halves[:-1:2], halves[1::2], strict=False))


def assemble(
    rows: list[Row], header: bytes | dict[str, Any] = HEADER, version: int = 2
) -> Assembler:
    """A whole checkpoint: the rows in the order given, their data in the same order.

    Version 2 has nothing between them. Version 3 is aligned, by spaces behind the JSON and zeros
    behind the data, and ends in digests.
    """
    document = header if isinstance(header, bytes) else json.dumps(header).encode()
    index_len = 4 + sum(45 + len(r.name) + 8 * len(r.dims) for r in rows)
    alignment = 64 if version == 3 else 1
    document += b" " * (-(16 + len(document) + 4 + index_len) % alignment)
    file = Assembler()
    file.raw(b"GPTRSCHK")
    file.u32("version", version)
    file.u32("config_len", len(document))
    file.raw(document)
    _index_and_data(file, rows, index_len, alignment, ids=True)
    if version == 3:
        for r in rows:
            file.raw(blake3_of_any_length(r.data).digest())
        file.raw(bytes(32))
        file.data[:] = sealed(bytes(file.data))
    return file


def assemble_archive(rows: list[Row]) -> Assembler:
    """A whole GPTRSTEN file: as a checkpoint of version 2, without config and ids."""
    file = Assembler()
    file.raw(b"GPTRSTEN")
    file.u32("version", 2)
    index_len = 4 + sum(29 + len(r.name) + 8 * len(r.dims) for r in rows)
    _index_and_data(file, rows, index_len, 1, ids=False)
    return file


def _index_and_data(
    file: Assembler, rows: list[Row], index_len: int, alignment: int, *, ids: bool
) -> None:
    file.u32("index_len", index_len)
    at = len(file.data) + index_len
    file.u32("count", len(rows))
    for r in rows:
        file.u32("name_len", len(r.name))
        file.raw(r.name)
        if ids:
            file.integer("base_id", 16, r.base_id)
        file.u32("rank", len(r.dims))
        for dim in r.dims:
            file.u64("dim", dim)
        file.u32("dtype", r.tag)
        file.integer("reserved", 1, 0)
        file.u64("offset", at if r.offset is None else r.offset)
        file.u64("byte_len", len(r.data) if r.byte_len is None else r.byte_len)
        at += len(r.data) + -len(r.data) % alignment
    for r in rows:
        file.raw(r.data + bytes(-len(r.data) % alignment))


def sealed(data: bytes) -> bytes:
    """A version 3 file with the seal that its header and digests ask for, if they can be found."""
    (config_len,) = struct.unpack_from("<I", data.ljust(16, b"\0"), 12)
    lengths = data[16 + config_len : 16 + config_len + 8]
    if len(lengths) < 8:
        return data
    index_len, count = struct.unpack("<II", lengths)
    start, end = 16 + config_len + 4 + index_len, len(data) - 32 * (count + 1)
    if end < start:
        return data
    return data[:-32] + blake3_of_any_length(data[:start] + data[end:-32]).digest()


def read_by_hand(raw: bytes, version: int = 2) -> tuple[dict[str, Any], list[Row]]:
    """Config and rows in the order of the index; trusting, as only a test may be."""
    magic, found, config_len = struct.unpack_from("<8sII", raw)
    assert (magic, found) == (b"GPTRSCHK", version)
    header = json.loads(raw[16 : 16 + config_len])
    index_len, count = struct.unpack_from("<II", raw, 16 + config_len)
    at = 16 + config_len + 8
    rows = []
    for _ in range(count):
        (name_len,) = struct.unpack_from("<I", raw, at)
        name = raw[at + 4 : at + 4 + name_len]
        base_id, rank = struct.unpack_from("<16sI", raw, at + 4 + name_len)
        at += 4 + name_len + 20
        dims = struct.unpack_from(f"<{rank}Q", raw, at)
        tag, reserved, offset, byte_len = struct.unpack_from("<IBQQ", raw, at + 8 * rank)
        at += 8 * rank + 21
        assert reserved == 0
        data = raw[offset : offset + byte_len]
        number = int.from_bytes(base_id, "little")
        rows.append(Row(name, dims, tag, data, number, offset, byte_len))
    assert at == 16 + config_len + 4 + index_len
    return header, rows
