"""What the tensor index of any format must satisfy before a tensor is touched."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ptir.ir.dtype import DType
from ptir.ir.error import SpecError
from ptir.params import BaseParamId, ParamSpec, base_param_id, check_name

from .error import CheckpointError, Path

MAX_TENSORS = 1 << 16
MAX_NAME_BYTES = 512
MAX_RANK = 32
_MAX_TENSOR_BYTES = (1 << 63) - 1  # NumPy's own limit; a product beyond it has overflowed


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of an index; its packed row-major bytes are at `offset` from the file's start.

    `digest` is their BLAKE3 digest, where the format has one.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    digest: bytes | None = None

    @property
    def base_id(self) -> BaseParamId:
        return base_param_id(self.name)

    @property
    def end(self) -> int:
        return self.offset + self.nbytes

    @property
    def spec(self) -> ParamSpec:
        return ParamSpec(self.dtype, self.shape)


def check_count(path: Path, count: int) -> None:
    """Raise CheckpointError for more tensors than any reader takes."""
    if count > MAX_TENSORS:
        raise CheckpointError(path, f"has {count} tensors; at most {MAX_TENSORS} are read")


def check_name_length(path: Path, length: int) -> None:
    """Raise CheckpointError for a name longer than any reader takes."""
    if length > MAX_NAME_BYTES:
        fact = f"has a tensor name of {length} bytes; at most {MAX_NAME_BYTES} are read"
        raise CheckpointError(path, fact)


def check_rank(path: Path, name: str, rank: int) -> None:
    """Raise CheckpointError for a rank that no array can have."""
    if rank > MAX_RANK:
        raise CheckpointError(path, f"has rank {rank}; at most {MAX_RANK} is read", name)


def decode_name(path: Path, raw: bytes) -> str:
    """The tensor name in `raw`. Raises CheckpointError unless it is a valid parameter name."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = raw.decode("utf-8", "backslashreplace")
        raise CheckpointError(path, "name is not valid UTF-8", shown) from error
    try:
        check_name(name)
    except SpecError as error:
        raise CheckpointError(path, error.message, name) from error
    return name


def check_extent(path: Path, name: str, dtype: DType, shape: Sequence[int], nbytes: int) -> None:
    """Raise CheckpointError unless `shape` elements of `dtype` take exactly `nbytes` bytes."""
    # A zero dim must not hide dims whose product overflows: NumPy refuses such a shape as well.
    if dtype.nbytes(math.prod(d for d in shape if d)) > _MAX_TENSOR_BYTES:
        raise CheckpointError(path, f"shape {list(shape)} overflows 63 bits", name)
    wanted = dtype.nbytes(math.prod(shape))
    if nbytes != wanted:
        fact = f"has {nbytes} bytes but {dtype}{list(shape)} takes {wanted}"
        raise CheckpointError(path, fact, name)


def check_layout(
    path: Path, entries: Sequence[Entry], start: int, end: int, alignment: int = 1
) -> None:
    """Raise CheckpointError unless the tensors fill the bytes from `start` to `end` of the file.

    Each one begins at a multiple of `alignment`, right behind another that is filled up to it. No
    tensor lies outside, none overlaps another, no byte is unaccounted for, no name comes twice. The
    order on disk is free; a tensor without elements may stand at the border of any other.
    """
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise CheckpointError(path, "appears twice in the index", entry.name)
        seen.add(entry.name)
        if entry.offset < start or entry.end > end:
            fact = f"bytes {entry.offset} to {entry.end} are outside the data, {start} to {end}"
            raise CheckpointError(path, fact, entry.name)
    reached = start
    for entry in sorted(entries, key=lambda e: (e.offset, e.nbytes)):
        if entry.offset < reached:
            raise CheckpointError(path, "overlaps the tensor before it", entry.name)
        if entry.offset > reached:
            fact = f"{entry.offset - reached} unused bytes before it, at {reached}"
            raise CheckpointError(path, fact, entry.name)
        reached = aligned(entry.end, alignment)
    if reached != end:
        raise CheckpointError(path, f"has {end - reached} bytes after its last tensor")


def aligned(offset: int, alignment: int) -> int:
    """The first multiple of `alignment` that is not before `offset`."""
    return -(-offset // alignment) * alignment


def place(specs: Sequence[tuple[str, ParamSpec]], start: int, alignment: int = 1) -> list[Entry]:
    """Entries for tensors in the order given, the first one at `start`, each one aligned."""
    sizes = [spec.nbytes for _, spec in specs]
    offsets = itertools.accumulate((aligned(size, alignment) for size in sizes), initial=start)
    return [
        Entry(name, spec.dtype, spec.shape, offset, size)
        for (name, spec), offset, size in zip(specs, offsets, sizes, strict=False)
    ]
