"""Tensors in memory to packed bytes and back. Knows no format, only what one can hold."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ptir.ir.dtype import DType, dtype, i1
from ptir.ir.elements import pack_nibbles, unpack_nibbles
from ptir.ir.error import SpecError
from ptir.params import ParamSpec

from . import index
from .error import CheckpointError, Path
from .file import RegularFile
from .index import Entry

Array = np.ndarray[Any, Any]
Specs = Sequence[tuple[str, ParamSpec]]


def read(file: RegularFile, entry: Entry) -> Array:
    """The tensor of `entry`, read-only: a view where its bytes are its elements, else a copy.

    Raises CheckpointError for bytes that are no value of the type: an i1 other than 0 and 1, an
    unused last nibble other than 0.
    """
    if entry.dtype.bits == 4:
        return _unpacked(file, entry)
    array = file.array(entry.offset, entry.shape, entry.dtype.numpy)
    if entry.dtype is i1 and array.view(np.uint8).max(initial=0) > 1:
        raise CheckpointError(file.path, "has a byte that is neither 0 nor 1", entry.name)
    return array


def _unpacked(file: RegularFile, entry: Entry) -> Array:
    raw = file.array(entry.offset, (entry.nbytes,), np.dtype(np.uint8))
    try:
        flat = unpack_nibbles(raw, math.prod(entry.shape), entry.dtype)
    except SpecError as error:
        raise CheckpointError(file.path, error.message, entry.name) from error
    flat.flags.writeable = False
    return flat.reshape(entry.shape)


def specs(path: Path, form: str, held: Collection[DType], tensors: Mapping[str, Array]) -> Specs:
    """What is to be written, sorted by name and held to the readers' own rules.

    Raises CheckpointError for a name that no reader takes or a type that `form` cannot hold.
    """
    index.check_count(path, len(tensors))
    found = []
    for name in sorted(tensors):
        index.check_name_length(path, len(name))
        index.decode_name(path, name.encode("utf-8", "surrogatepass"))
        spec = _spec(path, name, tensors[name])
        index.check_rank(path, name, len(spec.shape))
        if spec.dtype not in held:
            names = ", ".join(map(str, held))
            fact = f"{form} cannot hold {spec.dtype}; have {names}"
            raise CheckpointError(path, fact, name)
        found.append((name, spec))
    return found


def blocks(
    path: Path, entries: Sequence[Entry], tensors: Mapping[str, Array]
) -> Iterator[memoryview]:
    """The packed bytes of each tensor, in the order given, one tensor in memory at a time."""
    for entry in entries:
        array = tensors[entry.name]
        if _spec(path, entry.name, array) != entry.spec:
            raise CheckpointError(path, "changed its type while it was saved", entry.name)
        yield _packed(array, entry.dtype).data


def _packed(array: Array, element: DType) -> Array:
    native = np.ascontiguousarray(array, element.numpy).reshape(-1)
    return pack_nibbles(native) if element.bits == 4 else native.view(np.uint8)


def _spec(path: Path, name: str, array: Array) -> ParamSpec:
    try:
        return ParamSpec(dtype(array.dtype), array.shape)
    except SpecError as error:
        raise CheckpointError(path, error.message, name) from error
