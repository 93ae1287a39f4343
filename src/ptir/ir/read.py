"""A program out of a file: text (`.ptir`) or JSON (`.json`), by its suffix."""

from pathlib import Path

from .error import PtirError, SpecError
from .jsonform import from_json
from .parse import parse_program
from .program import Program

MAX_BYTES = 1 << 26


def read_program(path: Path) -> Program:
    """The program in a file, checked. Raises `PtirError` that names the file, or `OSError`."""
    if path.stat().st_size > MAX_BYTES:
        raise PtirError(f"{path} is larger than {MAX_BYTES} bytes; no program is")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return from_json(text) if path.suffix == ".json" else parse_program(text)
    except SpecError as error:
        raise PtirError(f"{path}: {error}") from None
