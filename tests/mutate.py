"""Hostile variants of a small binary file, the same for every run: for any reader of any format."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_FORMATS = {1: "<B", 4: "<I", 8: "<Q"}
_BYTES = b'\0\1\x7f\x80\xff"{}[]0-.\n\\'
_POWERS = (0, 7, 8, 15, 16, 31, 32, 62, 63, 64)
BOUNDARIES = sorted({(1 << p) + d for p in _POWERS for d in (-1, 0, 1)} | {3, 45, 46, 47})


@dataclass(frozen=True)
class Field:
    """An integer field of a file: its name and where it is."""

    name: str
    offset: int
    width: int


class Assembler:
    """A file put together field by field, which remembers where its integers are."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.fields: list[Field] = []

    def raw(self, data: bytes) -> None:
        self.data += data

    def integer(self, name: str, width: int, value: int) -> None:
        self.fields.append(Field(name, len(self.data), width))
        self.data += value.to_bytes(width, "little")

    def u32(self, name: str, value: int) -> None:
        self.integer(name, 4, value)

    def u64(self, name: str, value: int) -> None:
        self.integer(name, 8, value)


def with_field(sample: bytes, field: Field, value: int) -> bytes:
    """`sample` with another value, cut to its width, in `field`."""
    raw = (value % (1 << (8 * field.width))).to_bytes(field.width, "little")
    return sample[: field.offset] + raw + sample[field.offset + field.width :]


def boundary_cases(sample: bytes, fields: list[Field]) -> Iterator[tuple[str, bytes]]:
    """Each field with each boundary value, one at a time."""
    for field in fields:
        for value in BOUNDARIES:
            yield f"{field.name}={value:#x}", with_field(sample, field, value)


def mutants(sample: bytes, fields: list[Field], *, seed: int, count: int) -> Iterator[bytes]:
    """`count` variants: bits and bytes, integers of the structure, spans moved, doubled and cut."""
    rng = random.Random(seed)
    for _ in range(count):
        mutant = sample
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            mutant = rng.choice(_MUTATIONS)(rng, mutant, fields) if mutant else b"\0"
        yield mutant


def _flip_bit(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _set_byte(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([rng.choice(_BYTES)]) + data[at + 1 :]


def _set_field(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    return with_field(data, rng.choice(fields), rng.choice(BOUNDARIES))


def _nudge_field(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    field = rng.choice(fields)
    if field.offset + field.width > len(data) or field.width not in _FORMATS:
        return data
    (value,) = struct.unpack_from(_FORMATS[field.width], data, field.offset)
    return with_field(data, field, max(value + rng.choice((-8, -4, -1, 1, 4, 8)), 0))


def _copy_field(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    source, target = rng.choice(fields), rng.choice(fields)
    raw = data[source.offset : source.offset + source.width]
    return with_field(data, target, int.from_bytes(raw, "little"))


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 30, 60)))


def _delete(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _double(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:]


def _move(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    start, end = _span(rng, data)
    rest = data[:start] + data[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + data[start:end] + rest[at:]


def _insert(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 8, 64))) + data[at:]


def _cut(rng: random.Random, data: bytes, fields: list[Field]) -> bytes:
    return data[: rng.randrange(len(data))]


_MUTATIONS = (
    _flip_bit, _set_byte, _set_field, _set_field, _nudge_field, _nudge_field, _copy_field,
    _delete, _double, _move, _insert, _cut,
)  # fmt: skip
