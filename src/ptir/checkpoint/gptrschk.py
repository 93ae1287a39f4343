"""`GPTRSCHK`: a model's config and tensors in one little-endian file, version 2 as in gpt.rs.

Version 3, ours, adds types, aligned data, and digests: behind the data one of each tensor, then a
seal, the digest of all that is not data. Knows the layout and trusts nothing in it; does not know
what a `kind` of model needs.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from blake3 import blake3

from . import index, packing, table
from .atomic import replace_file
from .contents import Contents, Part
from .cursor import Cursor
from .document import MAX_BYTES as MAX_CONFIG_BYTES
from .document import dump_object, parse_object
from .error import CheckpointError, Path, shown
from .file import RegularFile
from .index import Entry

MAGIC = b"GPTRSCHK"
ALIGNMENT = 64  # of the first tensor; in version 3 of each one
DIGEST = 32
_FIXED = len(MAGIC) + 4 + 4  # magic, version, config_len


@dataclass(frozen=True, slots=True)
class _Version:
    number: int
    form: table.Form
    alignment: int
    has_digests: bool

    def tail(self, count: int) -> int:
        """Bytes behind the data of `count` tensors."""
        return DIGEST * (count + 1) if self.has_digests else 0


_OLD = table.Form("version 2", table.OLD_TAGS, has_ids=True)
_NEW = table.Form("version 3", table.ALL_TAGS, has_ids=True, reserved_is_zero=True)
_VERSIONS = {2: _Version(2, _OLD, 1, False), 3: _Version(3, _NEW, ALIGNMENT, True)}


def read(file: RegularFile) -> Contents:
    """What a checkpoint holds, its magic being seen already. Raises CheckpointError."""
    version, at, header = _read_config(file)
    kind, config, runtime = _sections(file.path, header)
    start, entries = table.read(file, at, version.form)
    end = file.size - version.tail(len(entries))
    if version.has_digests:
        entries = _sealed(file, start, end, entries)
    index.check_layout(file.path, entries, start, end, version.alignment)
    parts = [Part(file, entries)]
    return Contents(f"GPTRSCHK {version.number}", parts, kind, config, runtime)


def save(
    path: Path,
    *,
    kind: str,
    config: Mapping[str, Any],
    runtime: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    version: int = 3,
) -> None:
    """Write a checkpoint to `path`, whole or not at all.

    Tensors have rank 0 to 32 and are asked for one at a time (twice: for the index, then for the
    data). Version 3 holds every type and a digest of each tensor; version 2, for gpt.rs, only f32,
    f16, bf16 and si32. Raises CheckpointError; an older file is then untouched.
    """
    layout = _version(path, version, "is written")
    sections = {"kind": kind, "config": dict(config)}
    if runtime is not None:
        sections["runtime"] = dict(runtime)
    document = dump_object(path, "config", sections)
    _sections(path, sections)
    specs = packing.specs(path, layout.form.name, layout.form.tags.values(), tensors)
    header, entries = _header(document, specs, layout)
    replace_file(path, _blocks(path, header, entries, tensors, layout))


def verify(file: RegularFile, entry: Entry) -> None:
    """Raise CheckpointError unless a tensor, and the zeros behind it, are what was written."""
    filling = file.read(entry.end, -entry.nbytes % ALIGNMENT)
    if file.digest(entry.offset, entry.nbytes) != entry.digest or any(filling):
        fact = "is damaged: its data are not those of its digest; fetch or save it again"
        raise CheckpointError(file.path, fact, entry.name)


def _version(path: Path, number: int, done: str) -> _Version:
    if number not in _VERSIONS:
        known = " or ".join(map(str, _VERSIONS))
        raise CheckpointError(path, f"is GPTRSCHK version {number}; version {known} {done}")
    return _VERSIONS[number]


def _read_config(file: RegularFile) -> tuple[_Version, int, dict[str, Any]]:
    """The version, where the section of the index starts, and the config JSON before it."""
    fixed = Cursor(file.path, "file", file.read(0, min(_FIXED, file.size)))
    fixed.take(len(MAGIC), "magic")
    version = _version(file.path, fixed.u32("version"), "is read")
    length = fixed.u32("config_len")
    raw = file.section("config", _FIXED, length, MAX_CONFIG_BYTES)
    return version, _FIXED + length, parse_object(file.path, "config", raw)


def _sealed(file: RegularFile, start: int, end: int, entries: Sequence[Entry]) -> list[Entry]:
    """The entries with their digests, which the seal shows to be the ones that were written."""
    if end < start:
        fact = f"ends inside its digests: {file.size - end} bytes wanted, {file.size - start} left"
        raise CheckpointError(file.path, fact)
    raw = file.read(end, file.size - end)
    digests, seal = raw[:-DIGEST], raw[-DIGEST:]
    if seal != _seal(file.read(0, start), digests):
        fact = "is damaged: its header and digests are not those that were sealed"
        raise CheckpointError(file.path, f"{fact}; fetch or save it again")
    return [
        replace(entry, digest=digests[DIGEST * i : DIGEST * (i + 1)])
        for i, entry in enumerate(entries)
    ]


def _seal(header: bytes, digests: bytes) -> bytes:
    return blake3(header).update(digests).digest()


def _sections(
    path: Path, header: Mapping[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """`kind`, `config`, `runtime`. A kind names a module, so nothing but an identifier passes."""
    kind, config, runtime = (header.get(key) for key in ("kind", "config", "runtime"))
    if not isinstance(kind, str) or not kind.isascii() or not kind.isidentifier():
        fact = f'config needs "kind", an identifier such as "gpt"; got {shown(kind)}'
        raise CheckpointError(path, fact)
    if not isinstance(config, dict):
        raise CheckpointError(path, f'config needs "config", an object; got {_json_type(config)}')
    if runtime is not None and not isinstance(runtime, dict):
        fact = f'"runtime" in config must be an object; got {_json_type(runtime)}'
        raise CheckpointError(path, fact)
    return kind, config, runtime


def _header(document: bytes, specs: packing.Specs, version: _Version) -> tuple[bytes, list[Entry]]:
    """Everything before the data, and where the data go."""
    length = len(table.pack(index.place(specs, 0), version.form))
    # JSON may end in spaces; here they bring the data to an aligned offset.
    document += b" " * (-(_FIXED + len(document) + length) % ALIGNMENT)
    entries = index.place(specs, _FIXED + len(document) + length, version.alignment)
    fixed = MAGIC + struct.pack("<II", version.number, len(document))
    return fixed + document + table.pack(entries, version.form), entries


def _blocks(
    path: Path,
    header: bytes,
    entries: Sequence[Entry],
    tensors: Mapping[str, np.ndarray[Any, Any]],
    version: _Version,
) -> Iterator[bytes | memoryview]:
    """The file from front to back; digests come last, so that each tensor is made only once."""
    yield header
    digests = b""
    for block in packing.blocks(path, entries, tensors):
        yield block
        if version.has_digests:
            digests += blake3(block).digest()
        filling = -len(block) % version.alignment
        if filling:
            yield bytes(filling)
    if version.has_digests:
        yield digests + _seal(header, digests)


def _json_type(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
