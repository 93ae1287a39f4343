"""What was said, and the file that keeps it. Knows no model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ptir.checkpoint.atomic import replace_file
from ptir.ir import PtirError

Role = Literal["system", "user", "assistant"]
MAX_BYTES = 1 << 24  # far beyond every context; a device may have no end


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`ended` says why an answer ended other than by itself: `cancelled` is Ctrl-C."""

    role: Role
    content: str
    ended: Literal["length", "context", "cancelled", "error"] | None = None


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: perhaps a system prompt, then what the user and the model said, in turns."""

    version: Literal[1]
    messages: list[Message]


def save(path: Path, messages: Sequence[Message], *, overwrite: bool) -> None:
    """Write the file whole or not at all. Raises PtirError."""
    if os.path.lexists(path) and not overwrite:
        raise PtirError(f"{path}: exists; /save! FILE writes over it")
    raw = msgspec.json.encode(Saved(1, list(messages)))
    replace_file(path, [msgspec.json.format(raw, indent=2), b"\n"])


def load(path: Path) -> list[Message]:
    """Read such a file. Raises PtirError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise PtirError(f"{path}: cannot be read: {why}") from error
    if len(raw) > MAX_BYTES:
        raise PtirError(f"{path}: more than {MAX_BYTES} bytes are no conversation")
    try:
        messages = msgspec.json.decode(raw, type=Saved).messages
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PtirError(f"{path}: is not a saved conversation: {str(error)[:200]}") from error
    _check_turns(path, messages)
    return messages


def _check_turns(path: Path, messages: Sequence[Message]) -> None:
    begins = messages[:1] and messages[0].role == "system"
    said = messages[1:] if begins else messages
    for place, message in enumerate(said):
        wanted = ("user", "assistant")[place % 2]
        if message.role != wanted:
            number = place + len(messages) - len(said)
            fact = f"messages[{number}] is of {message.role!r}, wanted {wanted!r}"
            raise PtirError(f"{path}: {fact}: user and assistant take turns")
    if len(said) % 2:
        raise PtirError(f"{path}: the last message is the user's, wanted one of 'assistant' behind")
