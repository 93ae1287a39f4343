"""`GPTRSCHK` version 2: a model's config and tensors in one little-endian file, as in gpt.rs.

Knows the layout and trusts nothing in it; does not know what a `kind` of model needs.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np

from ptir import config as knobs
from ptir.ir.dtype import bf16, dtype, f16, f32, si32
from ptir.ir.error import SpecError, nearest
from ptir.params import BaseParamId, ParamSource, ParamSpec, base_param_id

from . import index
from .atomic import replace_file
from .cursor import Cursor
from .document import MAX_BYTES as MAX_CONFIG_BYTES
from .document import dump_object, parse_object
from .error import CheckpointError, Path, printable
from .file import RegularFile
from .index import Entry

MAGIC = b"GPTRSCHK"
VERSION = 2
_FIXED = len(MAGIC) + 4 + 4  # magic, version, config_len
_SMALLEST_ENTRY = 4 + 1 + 16 + 4 + 4 + 1 + 8 + 8
_LARGEST_ENTRY = _SMALLEST_ENTRY + index.MAX_NAME_BYTES + 8 * index.MAX_RANK
_MAX_INDEX_BYTES = 4 + index.MAX_TENSORS * _LARGEST_ENTRY
_DTYPES = {0: f32, 1: f16, 2: bf16, 3: si32}
_TAGS = {element: tag for tag, element in _DTYPES.items()}
_ALIGNMENT = 64


@final
class Checkpoint(ParamSource):
    """An open checkpoint. All of its header is checked here; tensors are read on first use.

    `kind` names the architecture, `config` is its JSON object, `runtime` the optional runtime
    section. Tensors are read-only views of the mapped file (copies under PTIR_MMAP=0); the mapping
    lives as long as they do. Raises CheckpointError.
    """

    def __init__(self, path: Path) -> None:
        self._file = RegularFile(path, mapped=knobs.current().mmap)
        self.path = self._file.path
        at, header = _read_config(self._file)
        self.kind, self.config, self.runtime = _sections(self.path, header)
        start, entries = _read_index(self._file, at)
        index.check_layout(self.path, entries, start, self._file.size)
        self._entries = {entry.name: entry for entry in sorted(entries, key=lambda e: e.name)}
        self._by_id = {base_param_id(name): entry for name, entry in self._entries.items()}

    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def spec(self, name: str) -> ParamSpec:
        if name not in self._entries:
            near = nearest(name, self._entries) if len(self._entries) < 1000 else ""
            raise CheckpointError(self.path, f"has no tensor '{printable(name)}'{near}")
        return self._entries[name].spec

    def load(self, base_id: BaseParamId) -> np.ndarray[Any, Any]:
        entry = self._by_id.get(base_id)
        if entry is None:
            raise CheckpointError(self.path, f"has no tensor with the id {base_id:#034x}")
        return self._file.array(entry.offset, entry.shape, entry.dtype.numpy)

    def check_size(self) -> None:
        """Raise CheckpointError if the file changed size since it was opened.

        Call it before a program reads mapped tensors: beyond a cut they kill the process.
        """
        self._file.check_size()


def save(
    path: Path,
    *,
    kind: str,
    config: Mapping[str, Any],
    runtime: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray[Any, Any]],
) -> None:
    """Write a version 2 checkpoint to `path`, whole or not at all.

    Tensors are f32, f16, bf16 or si32, of rank 0 to 32, and are asked for one at a time (twice: for
    the index, then for the data). Raises CheckpointError; an older file is then untouched.
    """
    sections = {"kind": kind, "config": dict(config)}
    if runtime is not None:
        sections["runtime"] = dict(runtime)
    document = dump_object(path, "config", sections)
    _sections(path, sections)
    specs = [(name, _writable(path, name, tensors[name])) for name in sorted(tensors)]
    header, entries = _header(path, document, specs)
    replace_file(path, _blocks(path, header, entries, tensors))


def _read_config(file: RegularFile) -> tuple[int, dict[str, Any]]:
    """Where the index section starts, and the config JSON before it."""
    start = file.read(0, min(_FIXED, file.size))
    if not start.startswith(MAGIC):
        found = f"it starts with {start[: len(MAGIC)]!r}" if start else "it is empty"
        raise CheckpointError(file.path, f"is not a GPTRSCHK checkpoint: {found}")
    fixed = Cursor(file.path, "file", start)
    fixed.take(len(MAGIC), "magic")
    version = fixed.u32("version")
    if version != VERSION:
        raise CheckpointError(file.path, f"is GPTRSCHK version {version}; version 2 is read")
    length = fixed.u32("config_len")
    raw = _section(file, "config", _FIXED, length, MAX_CONFIG_BYTES)
    return _FIXED + length, parse_object(file.path, "config", raw)


def _read_index(file: RegularFile, at: int) -> tuple[int, list[Entry]]:
    """Where the data starts, and the entries of the index at `at`, each checked by itself."""
    raw = _section(file, "index_len", at, 4, 4)
    length = int.from_bytes(raw, "little")
    cursor = Cursor(file.path, "index", _section(file, "index", at + 4, length, _MAX_INDEX_BYTES))
    count = cursor.u32("count")
    index.check_count(file.path, count)
    if count * _SMALLEST_ENTRY > cursor.left:
        raise CheckpointError(file.path, f"index of {length} bytes cannot hold {count} tensors")
    entries = [_entry(file.path, cursor) for _ in range(count)]
    cursor.finish()
    return at + 4 + length, entries


def _section(file: RegularFile, what: str, at: int, length: int, limit: int) -> bytes:
    if length > limit:
        raise CheckpointError(file.path, f"{what} has {length} bytes; at most {limit} are read")
    if at + length > file.size:
        fact = f"{what} needs bytes {at} to {at + length} but the file has {file.size}"
        raise CheckpointError(file.path, fact)
    return file.read(at, length)


def _entry(path: str, cursor: Cursor) -> Entry:
    length = cursor.u32("name_len")
    index.check_name_length(path, length)
    name = index.decode_name(path, cursor.take(length, "a name"))
    base_id = cursor.u128("base_id")
    if base_id not in (0, base_param_id(name)):  # 0: the writer left it to the reader
        fact = f"base id {base_id:#034x} is not the id of its name, {base_param_id(name):#034x}"
        raise CheckpointError(path, fact, name)
    rank = cursor.u32("rank")
    index.check_rank(path, name, rank)
    shape = cursor.u64s(rank, "dims")
    tag = cursor.u32("dtype")
    if tag not in _DTYPES:
        raise CheckpointError(path, f"dtype tag {tag} is unknown; have {_known_tags()}", name)
    cursor.u8("reserved")  # other writers keep a flag here
    offset, nbytes = cursor.u64("offset"), cursor.u64("byte_len")
    index.check_extent(path, name, _DTYPES[tag], shape, nbytes)
    return Entry(name, _DTYPES[tag], shape, offset, nbytes)


def _sections(
    path: Path, header: Mapping[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    """`kind`, `config`, `runtime`. A kind names a module, so nothing but an identifier passes."""
    kind, config, runtime = (header.get(key) for key in ("kind", "config", "runtime"))
    if not isinstance(kind, str) or not kind.isascii() or not kind.isidentifier():
        shown = printable(repr(kind))
        raise CheckpointError(
            path, f'config needs "kind", an identifier such as "gpt"; got {shown}'
        )
    if not isinstance(config, dict):
        raise CheckpointError(path, f'config needs "config", an object; got {_json_type(config)}')
    if runtime is not None and not isinstance(runtime, dict):
        fact = f'"runtime" in config must be an object; got {_json_type(runtime)}'
        raise CheckpointError(path, fact)
    return kind, config, runtime


def _writable(path: Path, name: str, array: np.ndarray[Any, Any]) -> ParamSpec:
    try:
        element = dtype(array.dtype)
    except SpecError as error:
        raise CheckpointError(path, error.message, name) from error
    if element not in _TAGS:
        raise CheckpointError(path, f"version 2 cannot hold {element}; have {_known_tags()}", name)
    return ParamSpec(element, array.shape)


def _header(
    path: Path, document: bytes, specs: Sequence[tuple[str, ParamSpec]]
) -> tuple[bytes, list[Entry]]:
    """Everything before the data, held to the reader's own rules."""
    index.check_count(path, len(specs))
    for name, spec in specs:
        index.check_name_length(path, len(name))
        index.decode_name(path, name.encode("utf-8", "surrogatepass"))
        index.check_rank(path, name, len(spec.shape))
    length = len(_packed_index(index.place(specs, 0)))
    # JSON may end in spaces; here they bring the data to an aligned offset.
    document += b" " * (-(_FIXED + len(document) + 4 + length) % _ALIGNMENT)
    start = _FIXED + len(document) + 4 + length
    entries = index.place(specs, start)
    packed = _packed_index(entries)
    parts = (
        MAGIC,
        struct.pack("<II", VERSION, len(document)),
        document,
        struct.pack("<I", length),
        packed,
    )
    return b"".join(parts), entries


def _packed_index(entries: Iterable[Entry]) -> bytes:
    packed = [_packed_entry(entry) for entry in entries]
    return b"".join((struct.pack("<I", len(packed)), *packed))


def _packed_entry(entry: Entry) -> bytes:
    name, rank = entry.name.encode("ascii"), len(entry.shape)
    return struct.pack(
        f"<I{len(name)}s16sI{rank}QIBQQ",
        *(len(name), name, entry.base_id.to_bytes(16, "little")),
        *(rank, *entry.shape, _TAGS[entry.dtype]),
        *(0, entry.offset, entry.nbytes),
    )


def _blocks(
    path: Path, header: bytes, entries: Sequence[Entry], tensors: Mapping[str, np.ndarray[Any, Any]]
) -> Iterator[bytes | memoryview]:
    """The file from front to back, one tensor in memory at a time."""
    yield header
    for entry in entries:
        array = tensors[entry.name]
        if _writable(path, entry.name, array) != entry.spec:
            raise CheckpointError(path, "changed its type while it was saved", entry.name)
        native = np.ascontiguousarray(array, entry.dtype.numpy)
        yield native.reshape(-1).view(np.uint8).data


def _known_tags() -> str:
    return ", ".join(f"{element} ({tag})" for tag, element in _DTYPES.items())


def _json_type(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
