"""What is said when a file of tensors cannot be used: which file, which tensor, which fact."""

import os
import reprlib

from ptir.ir.error import PtirError

Path = str | os.PathLike[str]


class CheckpointError(PtirError):
    """A checkpoint that cannot be read or written: nothing was loaded, no file was changed.

    `path` is the file, `tensor` the tensor at fault (None: the file as a whole), `fact` what is
    wrong.
    """

    def __init__(self, path: Path, fact: str, tensor: str | None = None) -> None:
        where = "" if tensor is None else f"tensor '{printable(tensor)}': "
        super().__init__(f"{printable(os.fspath(path), 4096)}: {where}{fact}")
        self.path = os.fspath(path)
        self.fact = fact
        self.tensor = tensor

    def __reduce__(self) -> tuple[type["CheckpointError"], tuple[str, str, str | None]]:
        return CheckpointError, (self.path, self.fact, self.tensor)


def printable(text: str, limit: int = 80) -> str:
    """`text` on one safe line: cut to `limit` characters, controls and surrogates escaped."""
    short = text if len(text) <= limit else text[:limit] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)


def shown(value: object) -> str:
    """A value out of a file on one safe line, cut before it is spelled: it may be huge."""
    return printable(reprlib.repr(value))
