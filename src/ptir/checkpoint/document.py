"""JSON objects in files that are not trusted. Knows the bounds, not what the objects mean."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .error import CheckpointError, Path, printable

MAX_BYTES = 1 << 20
MAX_PARTS = 5 << 17  # quotes, brackets and commas: time and memory follow their number
MAX_DEPTH = 32
MAX_DIGITS = 20  # holds every u64; int() of a longer text takes quadratic time
MAX_FLOAT_TEXT = 128

_BRACE = np.uint8(ord("{") - ord("["))  # the bit by which a brace differs from its bracket
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _RuleError(ValueError):
    """A rule of this file that JSON itself does not have."""


def parse_object(path: Path, what: str, raw: bytes, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object in `raw`; `what` names it in messages.

    Raises CheckpointError for what is not one UTF-8 JSON object, for more than `max_bytes`,
    MAX_PARTS or MAX_DEPTH, for NaN, infinities and overlong numbers, for duplicate keys, and for
    text that is not valid Unicode.
    """
    # Decoded, other text than ASCII may take four bytes a character.
    limit = max_bytes if raw.isascii() else max(max_bytes // 4, MAX_BYTES)
    if len(raw) > limit:
        raise CheckpointError(path, f"{what} has {len(raw)} bytes; at most {limit} are read")
    parts = sum(map(raw.count, (b'"', b"[", b"]", b"{", b"}", b",")))
    if parts > MAX_PARTS:
        raise CheckpointError(path, f"{what} has {parts} parts; at most {MAX_PARTS} are read")
    if _depth(raw) > MAX_DEPTH:
        raise CheckpointError(path, f"{what} is nested more than {MAX_DEPTH} deep")
    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
            object_pairs_hook=_unique,
        )
        if _SURROGATE.search(raw):  # perhaps half a pair, which no later print could encode
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        fact = f"{what} is not valid JSON: {printable(str(error), 200)}"
        raise CheckpointError(path, fact) from error
    if not isinstance(value, dict):
        raise CheckpointError(path, f"{what} is a JSON {type(value).__name__}; an object is wanted")
    return value


def dump_object(
    path: Path, what: str, value: Mapping[str, Any], max_bytes: int = MAX_BYTES
) -> bytes:
    """`value` as JSON. Raises CheckpointError for what `parse_object` would refuse."""
    try:
        raw = json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(path, f"{what} cannot be written as JSON: {error}") from error
    parse_object(path, what, raw, max_bytes)
    return raw


def _depth(raw: bytes) -> int:
    """How deep brackets outside strings are nested; of text that is no JSON, anything."""
    plain = np.frombuffer(raw.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    quotes = np.flatnonzero(plain == ord('"'))
    opening = np.flatnonzero(plain & ~_BRACE == ord("["))
    closing = np.flatnonzero(plain & ~_BRACE == ord("]"))
    brackets = np.concatenate((opening, closing))
    steps = np.where(np.arange(brackets.size) < opening.size, 1, -1)
    steps[np.searchsorted(quotes, brackets) % 2 == 1] = 0  # inside a string
    return int(np.cumsum(steps[np.argsort(brackets)]).max(initial=0))


def _integer(text: str) -> int | float:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise _RuleError(f"an integer of {len(text)} digits; at most {MAX_DIGITS} are read")
    return int(text) if text != "-0" else -0.0  # no integer has this value


def _float(text: str) -> float:
    value = float(text) if len(text) <= MAX_FLOAT_TEXT else math.inf
    if not math.isfinite(value):
        raise _RuleError(f"the number {printable(text, 24)} does not fit in 64 bits")
    return value


def _constant(text: str) -> float:
    raise _RuleError(f"{text} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RuleError(f"the key '{printable(key)}' appears twice")
        found[key] = value
    return found
