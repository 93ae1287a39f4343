"""JSON objects in files that are not trusted. Knows the bounds, not what the objects mean."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from .error import CheckpointError, Path, printable

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_DIGITS = 20  # holds every u64; int() of a longer text takes quadratic time
MAX_FLOAT_TEXT = 128

# One pass, no backtracking: a string (closed or not), or a bracket outside strings.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class _RuleError(ValueError):
    """A rule of this file that JSON itself does not have."""


def parse_object(path: Path, what: str, raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; `what` names it in messages.

    Raises CheckpointError for what is not one UTF-8 JSON object, for more than MAX_BYTES or
    MAX_DEPTH, for NaN, infinities and overlong numbers, for duplicate keys, and for text that is
    not valid Unicode.
    """
    if len(raw) > MAX_BYTES:
        raise CheckpointError(path, f"{what} has {len(raw)} bytes; at most {MAX_BYTES} are read")
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
        # An escape may spell half a surrogate pair, which no later print or file could encode.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        fact = f"{what} is not valid JSON: {printable(str(error), 200)}"
        raise CheckpointError(path, fact) from error
    if not isinstance(value, dict):
        raise CheckpointError(path, f"{what} is a JSON {type(value).__name__}; an object is wanted")
    return value


def dump_object(path: Path, what: str, value: Mapping[str, Any]) -> bytes:
    """`value` as JSON. Raises CheckpointError for what `parse_object` would refuse."""
    try:
        raw = json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(path, f"{what} cannot be written as JSON: {error}") from error
    parse_object(path, what, raw)
    return raw


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for token in _STRUCTURE.finditer(raw):
        head = raw[token.start()]
        if head in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif head in b"]}":
            depth -= 1
    return deepest


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise _RuleError(f"an integer of {len(text)} digits; at most {MAX_DIGITS} are read")
    return int(text)


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
