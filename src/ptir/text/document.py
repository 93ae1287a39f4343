"""Text and JSON from the files beside a tokenizer, which are not trusted. Knows no tokenizer."""

import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from .error import TokenizerError

MAX_FILE_BYTES = 1 << 28  # vocabularies
MAX_SETTINGS_BYTES = 1 << 24


class _RuleError(ValueError):
    """A rule of this file that JSON itself does not have."""


def read_text(path: str | os.PathLike[str], most: int = MAX_FILE_BYTES) -> str:
    """The UTF-8 text of a regular file of up to `most` bytes. Raises TokenizerError."""
    shown = repr(os.fspath(path))
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise TokenizerError(f"tokenizer {shown}: is not a regular file")
            if status.st_size > most:
                fact = f"has {status.st_size} bytes; at most {most} are read"
                raise TokenizerError(f"tokenizer {shown}: {fact}")
            return file.read(most).decode("utf-8")
    except OSError as error:
        raise TokenizerError(f"tokenizer {shown}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TokenizerError(f"tokenizer {shown}: cannot be read: {error}") from error


def read_object(path: Path, most: int = MAX_SETTINGS_BYTES) -> dict[str, Any]:
    """The JSON object in a file. Raises TokenizerError, for duplicate keys and NaN too."""
    try:
        value = json.loads(
            read_text(path, most), object_pairs_hook=_unique, parse_constant=_constant
        )
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)[:300]
        raise TokenizerError(f"tokenizer {str(path)!r}: is not valid JSON: {why}") from error
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise TokenizerError(f"tokenizer {str(path)!r}: is a JSON {kind}; an object is wanted")
    return value


def read_optional(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty if there is no such file. Raises TokenizerError."""
    return read_object(path) if os.path.lexists(path) else {}


def _constant(text: str) -> float:
    raise _RuleError(f"{text} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _RuleError(f"the key {twice[:80]!r} appears twice")
    return found
