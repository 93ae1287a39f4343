"""The packed index that `GPTRSCHK` and `GPTRSTEN` share, little-endian, without padding.

u32 count, then per tensor: u32 name_len, name, [u128 base_id,] u32 rank, rank x u64 dims, u32 dtype
tag, u8 reserved, u64 absolute offset, u64 byte_len. Knows nothing of what stands around it.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ptir.ir.dtype import DTYPES, DType
from ptir.params import base_param_id

from . import index
from .cursor import Cursor
from .error import CheckpointError
from .file import RegularFile
from .index import Entry

# What gpt.rs has, and what we add. A tag never changes its meaning; a new type takes a new tag.
_OLD: Final = ("f32", "f16", "bf16", "si32")
_NEW: Final = (
    *("i1", "si4", "ui4", "si8", "ui8", "si16", "ui16", "ui32", "si64", "ui64"),
    *("f8e4m3", "f8e5m2", "f64", "c64", "c128"),
)
OLD_TAGS: Final = {tag: DTYPES[name] for tag, name in enumerate(_OLD)}
ALL_TAGS: Final = {tag: DTYPES[name] for tag, name in enumerate(_OLD + _NEW)}


@dataclass(frozen=True, slots=True)
class Form:
    """What differs from one format to the next. `name` is how messages call it."""

    name: str
    tags: Mapping[int, DType]
    has_ids: bool
    reserved_is_zero: bool = False  # gpt.rs writers keep a flag there

    @property
    def max_bytes(self) -> int:
        """No index of tensors within bounds is longer."""
        fixed = 4 + 16 * self.has_ids + 4 + 4 + 1 + 8 + 8
        largest = fixed + index.MAX_NAME_BYTES + 8 * index.MAX_RANK
        return 4 + index.MAX_TENSORS * largest


def read(file: RegularFile, at: int, form: Form) -> tuple[int, list[Entry]]:
    """Where the section of the index at `at` ends, and its entries, each checked by itself.

    The section is a u32 index_len and the index. Raises CheckpointError.
    """
    length = int.from_bytes(file.section("index_len", at, 4, 4), "little")
    raw = file.section("index", at + 4, length, form.max_bytes)
    cursor = Cursor(file.path, "index", raw)
    count = cursor.u32("count")
    index.check_count(file.path, count)
    entries = [_entry(file.path, cursor, form) for _ in range(count)]
    cursor.finish()
    return at + 4 + length, entries


def _entry(path: str, cursor: Cursor, form: Form) -> Entry:
    length = cursor.u32("name_len")
    index.check_name_length(path, length)
    name = index.decode_name(path, cursor.take(length, "a name"))
    if form.has_ids:
        _check_id(path, name, cursor.u128("base_id"))
    rank = cursor.u32("rank")
    index.check_rank(path, name, rank)
    shape = cursor.u64s(rank, "dims")
    tag = cursor.u32("dtype")
    if tag not in form.tags:
        raise CheckpointError(path, f"dtype tag {tag} is unknown; have {known(form)}", name)
    if cursor.u8("reserved") and form.reserved_is_zero:
        raise CheckpointError(path, "has a reserved byte that is not 0", name)
    offset, nbytes = cursor.u64("offset"), cursor.u64("byte_len")
    index.check_extent(path, name, form.tags[tag], shape, nbytes)
    return Entry(name, form.tags[tag], shape, offset, nbytes)


def _check_id(path: str, name: str, base_id: int) -> None:
    if base_id not in (0, base_param_id(name)):  # 0: the writer left it to the reader
        fact = f"base id {base_id:#034x} is not the id of its name, {base_param_id(name):#034x}"
        raise CheckpointError(path, fact, name)


def pack(entries: Iterable[Entry], form: Form) -> bytes:
    """The section of the index, its length first."""
    tags = {element: tag for tag, element in form.tags.items()}
    packed = [_packed_entry(entry, tags[entry.dtype], form) for entry in entries]
    raw = b"".join((struct.pack("<I", len(packed)), *packed))
    return struct.pack("<I", len(raw)) + raw


def _packed_entry(entry: Entry, tag: int, form: Form) -> bytes:
    name, rank = entry.name.encode("ascii"), len(entry.shape)
    base_id = entry.base_id.to_bytes(16, "little") if form.has_ids else b""
    return struct.pack(
        f"<I{len(name)}s{len(base_id)}sI{rank}QIBQQ",
        *(len(name), name, base_id),
        *(rank, *entry.shape, tag, 0),
        *(entry.offset, entry.nbytes),
    )


def known(form: Form) -> str:
    """The types that a file of this form can hold, with their tags."""
    return ", ".join(f"{element} ({tag})" for tag, element in form.tags.items())
