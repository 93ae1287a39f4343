"""`GPTRSTEN` version 2: an archive of tensors in one little-endian file, as in gpt.rs.

magic, u32 version, u32 index_len, index, data. Knows no model.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import index, packing, table
from .atomic import replace_file
from .contents import Contents, Part
from .cursor import Cursor
from .error import CheckpointError, Path
from .file import RegularFile
from .index import Entry

MAGIC = b"GPTRSTEN"
VERSION = 2
_FIXED = len(MAGIC) + 4
_FORM = table.Form("a tensor archive", table.OLD_TAGS, has_ids=False)


def read(file: RegularFile) -> Contents:
    """The tensors of an archive whose magic has been seen. Raises CheckpointError."""
    fixed = Cursor(file.path, "file", file.read(0, min(_FIXED, file.size)))
    fixed.take(len(MAGIC), "magic")
    version = fixed.u32("version")
    if version != VERSION:
        raise CheckpointError(file.path, f"is GPTRSTEN version {version}; version 2 is read")
    start, entries = table.read(file, _FIXED, _FORM)
    index.check_layout(file.path, entries, start, file.size)
    return Contents("GPTRSTEN 2", [Part(file, entries)])


def save(path: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write an archive to `path`, whole or not at all; data are sorted by name.

    Tensors are f32, f16, bf16 or si32, of rank 0 to 32, and are asked for one at a time (twice: for
    the index, then for the data). Raises CheckpointError; an older file is then untouched.
    """
    specs = packing.specs(path, _FORM.name, _FORM.tags.values(), tensors)
    start = _FIXED + len(table.pack(index.place(specs, 0), _FORM))
    replace_file(path, _blocks(path, index.place(specs, start), tensors))


def _blocks(
    path: Path, entries: list[Entry], tensors: Mapping[str, np.ndarray[Any, Any]]
) -> Iterator[bytes | memoryview]:
    yield MAGIC + struct.pack("<I", VERSION) + table.pack(entries, _FORM)
    yield from packing.blocks(path, entries, tensors)
