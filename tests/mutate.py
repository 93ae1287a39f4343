"""Hostile variants of a small file, the same for every run: for any reader of any format.

Binary structure is known by its integer fields, JSON by its tokens.
"""

import random
import re
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_FORMATS = {1: "<B", 4: "<I", 8: "<Q"}
_BYTES = b'\0\1\x7f\x80\xff"{}[]0-.\n\\'
_POWERS = (0, 7, 8, 15, 16, 19, 23, 25, 31, 32, 62, 63, 64)
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
    """`count` variants: bits and bytes, integers of the structure, spans moved, doubled and cut.

    Without fields, bits, bytes and spans.
    """
    kinds = _MUTATIONS if fields else _BLIND
    rng = random.Random(seed)
    for _ in range(count):
        mutant = sample
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            mutant = rng.choice(kinds)(rng, mutant, fields) if mutant else b"\0"
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


_BLIND = (_flip_bit, _set_byte, _delete, _double, _move, _insert, _cut)
_MUTATIONS = (
    *_BLIND, _set_field, _set_field, _nudge_field, _nudge_field, _copy_field,
)  # fmt: skip


# JSON.

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[a-z]+|[][{}:,]|\s+|.', re.DOTALL)
_NUMBERS = (
    *(str(value).encode() for value in BOUNDARIES),
    *(b"-0", b"-1", b"01", b"1.0", b"0.0", b"1e2", b"1e999", b"9" * 25, b"9" * 5000, b"-"),
)
_STRINGS = (
    *(b'""', b'"."', b'".."', b'"a..b"', b'"../../x"', b'"/etc/passwd"', b'"\xc3\xa9"', b'"\xff"'),
    *(
        b'"\\u0000"',
        b'"\\n"',
        b'"\n"',
        b'"\\u001b[31m"',
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\x"',
        b'"',
    ),
    *(b'"\\u00e9"', b'"\\ud83d\\ude00"', b'"\xed\xa0\x80"', b'"' + b"n" * 600 + b'"'),
)
_OTHERS = (
    *(b"null", b"true", b"NaN", b"Infinity", b"{}", b"[]", b"{", b"}", b"[", b"]", b",", b":"),
    *(b" ", b"\n", b"\0", b"\xef\xbb\xbf", b"[" * 40, b"[" * 200, b"[" * 200 + b"]" * 200),
)


def documents(
    sample: bytes, *, seed: int, count: int, words: tuple[bytes, ...] = ()
) -> Iterator[bytes]:
    """`count` variants of JSON: tokens replaced, copied, doubled, swapped and left out.

    `words` are strings, quotes and all, that mean something in this document.
    """
    rng = random.Random(seed)
    tokens = [token.group() for token in _TOKEN.finditer(sample)]
    for _ in range(count):
        mutant = list(tokens)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            _change(rng, mutant, _STRINGS + words)
        yield b"".join(mutant)


def _change(rng: random.Random, tokens: list[bytes], strings: tuple[bytes, ...]) -> None:
    if not tokens:
        return
    at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    match rng.randrange(8):
        case 0:
            del tokens[at]
        case 1:
            tokens.insert(other, tokens[at])
        case 2:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        case 3:
            tokens[at] = rng.choice(rng.choice((strings, _NUMBERS, _OTHERS)))
        case 4:
            tokens[at] = tokens[other]
        case _:
            tokens[at] = _like(rng, tokens[at], tokens, strings)


def _like(
    rng: random.Random, token: bytes, tokens: list[bytes], strings: tuple[bytes, ...]
) -> bytes:
    """Another token of the same kind, so that what comes is still JSON."""
    if token[:1] == b'"':
        return rng.choice(strings if rng.random() < 0.5 else [t for t in tokens if t[:1] == b'"'])
    if token.isdigit() and len(token) < 20:
        near = (str(max(int(token) + d, 0)).encode() for d in (-8, -4, -1, 1, 4, 8))
        return rng.choice((*near, *(_NUMBERS if rng.random() < 0.5 else ())))
    return rng.choice((token, b" " + token, token + b"\n"))


def cheaply(read: Callable[[Path], T], path: Path, what: str) -> T:
    """What `read` gives of a file that is to cost less than 10 ms and 256 KiB."""
    tracemalloc.start()
    began = time.process_time()
    found = read(path)
    spent = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert spent < 0.01, what
    assert peak < 1 << 18, what
    return found
