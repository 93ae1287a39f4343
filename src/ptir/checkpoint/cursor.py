"""Little-endian fields out of a byte string whose lengths are not trusted."""

import struct
from typing import final

from .error import CheckpointError, Path

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


@final
class Cursor:
    """Reads fields in order; where the bytes end, a CheckpointError names `what` and the field."""

    def __init__(self, path: Path, what: str, data: bytes) -> None:
        self._path = path
        self._what = what
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._at

    def take(self, count: int, field: str) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            fact = f"{self._what} ends inside {field}: {count} bytes wanted, {self.left} left"
            raise CheckpointError(self._path, fact)
        start = self._at
        self._at += count
        return self._data[start : self._at]

    def u8(self, field: str) -> int:
        return self.take(1, field)[0]

    def u32(self, field: str) -> int:
        return int(_U32.unpack(self.take(4, field))[0])

    def u64(self, field: str) -> int:
        return int(_U64.unpack(self.take(8, field))[0])

    def u128(self, field: str) -> int:
        return int.from_bytes(self.take(16, field), "little")

    def u64s(self, count: int, field: str) -> tuple[int, ...]:
        """`count` u64 values."""
        return struct.unpack(f"<{count}Q", self.take(8 * count, field))

    def finish(self) -> None:
        """Raise CheckpointError if bytes are left."""
        if self.left:
            fact = f"{self._what} has {self.left} bytes after its last field"
            raise CheckpointError(self._path, fact)
