"""safetensors: tensors in one file behind a JSON header that says where each one is.

u64 length, header, data. Stricter than the `safetensors` package, where a file may say two things
or nothing that PTIR holds: see `docs/formats.md`. Knows no model.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ptir.ir import DTYPES

from . import index, packing
from .atomic import replace_file
from .contents import Contents, Part
from .document import dump_object, parse_object
from .error import CheckpointError, Path, shown
from .file import RegularFile
from .index import Entry

MAX_HEADER_BYTES = 10 << 20
METADATA = "__metadata__"
_LENGTH = 8
_FIELDS = ("dtype", "shape", "data_offsets")
# In the order in which the format's own writer puts data: the widest first.
_DTYPES: Final = {
    "U64": DTYPES["ui64"],
    "I64": DTYPES["si64"],
    "F64": DTYPES["f64"],
    "C64": DTYPES["c64"],
    "F32": DTYPES["f32"],
    "U32": DTYPES["ui32"],
    "I32": DTYPES["si32"],
    "BF16": DTYPES["bf16"],
    "F16": DTYPES["f16"],
    "U16": DTYPES["ui16"],
    "I16": DTYPES["si16"],
    "F8_E4M3": DTYPES["f8e4m3"],
    "F8_E5M2": DTYPES["f8e5m2"],
    "I8": DTYPES["si8"],
    "U8": DTYPES["ui8"],
    "BOOL": DTYPES["i1"],
}
_NAMES = {element: name for name, element in _DTYPES.items()}
_ORDER = {element: place for place, element in enumerate(_NAMES)}


def seems(file: RegularFile) -> bool:
    """Whether the file starts as a safetensors file does: a length, and an object behind it."""
    start = file.read(0, min(_LENGTH + 1, file.size))
    return len(start) > _LENGTH and start[_LENGTH:] in b"{ \t\r\n"


def read(file: RegularFile) -> Contents:
    """The tensors of a safetensors file. Raises CheckpointError."""
    length = int.from_bytes(file.section("header length", 0, _LENGTH, _LENGTH), "little")
    raw = file.section("header", _LENGTH, length, MAX_HEADER_BYTES)
    header = parse_object(file.path, "header", raw, MAX_HEADER_BYTES)
    metadata = header.pop(METADATA, {})
    _check_metadata(file.path, metadata)
    start = _LENGTH + length
    entries = [_entry(file.path, name, fields, start) for name, fields in header.items()]
    index.check_layout(file.path, entries, start, file.size)
    return Contents("safetensors", [Part(file, entries)], metadata=metadata)


def save(
    path: Path,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file to `path`, whole or not at all.

    Every type but si4, ui4 and c128, of rank 0 to 32; data are sorted by width of element, then by
    name. Tensors are asked for one at a time (twice: for the header, then for the data). Raises
    CheckpointError; an older file is then untouched.
    """
    specs = packing.specs(path, "safetensors", _NAMES, tensors)
    entries = index.place(sorted(specs, key=lambda spec: _ORDER[spec[1].dtype]), 0)
    header: dict[str, Any] = {}
    if metadata is not None:
        header[METADATA] = dict(metadata)
        _check_metadata(path, header[METADATA])
    header |= {entry.name: _fields(entry) for entry in entries}
    raw = dump_object(path, "header", header, MAX_HEADER_BYTES)
    raw += b" " * (-len(raw) % _LENGTH)
    replace_file(path, _blocks(path, raw, entries, tensors))


def _fields(entry: Entry) -> dict[str, Any]:
    values = (_NAMES[entry.dtype], entry.shape, (entry.offset, entry.end))
    return dict(zip(_FIELDS, values, strict=True))


def _blocks(
    path: Path,
    header: bytes,
    entries: Sequence[Entry],
    tensors: Mapping[str, np.ndarray[Any, Any]],
) -> Iterator[bytes | memoryview]:
    yield struct.pack("<Q", len(header)) + header
    yield from packing.blocks(path, entries, tensors)


def _check_metadata(path: Path, metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(path, f'"{METADATA}" in header must be an object of strings')


def _entry(path: str, name: str, fields: object, start: int) -> Entry:
    raw = name.encode("utf-8")
    index.check_name_length(path, len(raw))
    index.decode_name(path, raw)
    if not isinstance(fields, dict) or sorted(fields) != sorted(_FIELDS):
        fact = f"header needs an object of {', '.join(_FIELDS)}; got {shown(fields)}"
        raise CheckpointError(path, fact, name)
    stated, shape, offsets = (fields[key] for key in _FIELDS)
    element = _DTYPES.get(stated) if isinstance(stated, str) else None
    if element is None:
        have = ", ".join(_DTYPES)
        raise CheckpointError(path, f"dtype {shown(stated)} is unknown; have {have}", name)
    begin, end = _sizes(path, name, "data_offsets", offsets, 2)
    index.check_rank(path, name, len(shape) if isinstance(shape, list) else 0)
    dims = _sizes(path, name, "shape", shape)
    index.check_extent(path, name, element, dims, end - begin)
    return Entry(name, element, dims, start + begin, end - begin)


def _sizes(
    path: str, name: str, what: str, found: object, count: int | None = None
) -> tuple[int, ...]:
    """The list `found` of sizes, `count` of them if that is fixed."""
    if (
        not isinstance(found, list)
        or not all(type(size) is int and size >= 0 for size in found)
        or count not in (None, len(found))
    ):
        wanted = "whole numbers" if count is None else f"{count} whole numbers"
        fact = f"{what} must be a list of {wanted}; got {shown(found)}"
        raise CheckpointError(path, fact, name)
    return tuple(found)
