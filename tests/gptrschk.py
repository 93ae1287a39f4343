"""`GPTRSCHK` v2 by hand, from its layout: an assembler and a reader that share no code."""

import json
import struct
from typing import Any, NamedTuple

import numpy as np

from tests.blake3 import blake3
from tests.mutate import Assembler

TAGS = {"float32": 0, "float16": 1, "bfloat16": 2, "int32": 3}
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
    tag = TAGS[array.dtype.name]
    base_id = int.from_bytes(blake3(path.encode())[:16], "little")
    made = Row(path.encode(), array.shape, tag, array.tobytes(), base_id)
    return made._replace(**changes)


def assemble(rows: list[Row], header: bytes | dict[str, Any] = HEADER) -> Assembler:
    """A whole file: the rows in the order given, their data in the same order, nothing between."""
    document = header if isinstance(header, bytes) else json.dumps(header).encode()
    index_len = 4 + sum(45 + len(r.name) + 8 * len(r.dims) for r in rows)
    file = Assembler()
    file.raw(b"GPTRSCHK")
    file.u32("version", 2)
    file.u32("config_len", len(document))
    file.raw(document)
    file.u32("index_len", index_len)
    at = 8 + 4 + 4 + len(document) + 4 + index_len
    file.u32("count", len(rows))
    for r in rows:
        file.u32("name_len", len(r.name))
        file.raw(r.name)
        file.integer("base_id", 16, r.base_id)
        file.u32("rank", len(r.dims))
        for dim in r.dims:
            file.u64("dim", dim)
        file.u32("dtype", r.tag)
        file.integer("reserved", 1, 0)
        file.u64("offset", at if r.offset is None else r.offset)
        file.u64("byte_len", len(r.data) if r.byte_len is None else r.byte_len)
        at += len(r.data)
    for r in rows:
        file.raw(r.data)
    return file


def read_by_hand(raw: bytes) -> tuple[dict[str, Any], list[Row]]:
    """Config and rows in the order of the index; trusting, as only a test may be."""
    magic, version, config_len = struct.unpack_from("<8sII", raw)
    assert (magic, version) == (b"GPTRSCHK", 2)
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
