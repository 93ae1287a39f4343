"""The bytes of one file, by position. Knows no format."""

import math
import mmap
import os
import stat
import sys
import time
import weakref
from typing import Any, final

import numpy as np
from blake3 import blake3

from .error import CheckpointError, Path, printable

_DIGEST_BLOCK = 4 << 20
_TICK = 100_000_000  # ns; two changes of a file that are further apart have different times


@final
class RegularFile:
    """A regular file opened for reading; its arrays are views of one private mapping, or copies.

    `mapped=False` copies, which survives a file that another process truncates. A link, FIFO,
    device or folder is refused before it is opened; a link that leads to a file inside the folder
    `within` is followed. `identity` tells its content from that of any other file, in any process,
    as well as the system knows (see `check_unchanged`). Raises CheckpointError. Every method may be
    called from any thread.
    """

    def __init__(self, path: Path, *, mapped: bool, within: Path | None = None) -> None:
        self.path = os.fspath(path)
        try:
            self._fd = _open_regular(path if within is None else _followed(path, within))
            weakref.finalize(self, os.close, self._fd)
            status, now = os.fstat(self._fd), time.time_ns()
            self.size, self.identity = status.st_size, _identity(status)
            self._settled = now - status.st_ctime_ns > _TICK
            self._map = None
            if mapped and self.size:  # an empty range cannot be mapped
                self._map = _mapping(self._fd, self.size)
        except (OSError, ValueError) as error:
            raise CheckpointError(path, f"cannot be read: {_reason(error)}") from error

    def check_size(self) -> None:
        """Raise CheckpointError if the file changed size.

        Touching a mapping beyond the end of its file kills the process.
        """
        now = os.fstat(self._fd).st_size
        if now != self.size:
            fact = f"had {self.size} bytes when it was opened and has {now} now; load it again"
            raise CheckpointError(self.path, fact)

    def check_unchanged(self) -> None:
        """Raise CheckpointError if `identity` may be that of other content too.

        So it is where the file changed since it was opened, or so shortly before that a change
        after that could have left the same times.
        """
        if _identity(os.fstat(self._fd)) != self.identity:
            raise CheckpointError(self.path, "changed since it was opened; load it again")
        if not self._settled:
            raise CheckpointError(self.path, "changed at the moment when it was opened")

    def read(self, offset: int, count: int) -> bytes:
        """A copy of `count` bytes at `offset`; the caller has checked that they are inside."""
        return self._copy(offset, count).tobytes()

    def section(self, what: str, at: int, length: int, limit: int) -> bytes:
        """A copy of `length` bytes at `at`, if they are inside and no more than `limit`.

        `what` names them in messages. Raises CheckpointError.
        """
        if length > limit:
            fact = f"{what} has {length} bytes; at most {limit} are read"
            raise CheckpointError(self.path, fact)
        if at + length > self.size:
            fact = f"{what} needs bytes {at} to {at + length} but the file has {self.size}"
            raise CheckpointError(self.path, fact)
        return self.read(at, length)

    def digest(self, offset: int, count: int) -> bytes:
        """The BLAKE3 digest of `count` bytes at `offset`, read and never mapped."""
        self.check_size()
        found = blake3()
        for at in range(offset, offset + count, _DIGEST_BLOCK):
            found.update(self._copy(at, min(_DIGEST_BLOCK, offset + count - at)).data)
        return found.digest()

    def array(
        self, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> np.ndarray[Any, Any]:
        """A read-only array at `offset`; the caller has checked that its bytes are inside."""
        self.check_size()
        if self._map is not None:
            return np.ndarray(shape, dtype, buffer=self._map, offset=offset)
        copied = self._copy(offset, math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
        copied.flags.writeable = False
        return copied

    def _copy(self, offset: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        copied = np.empty(count, np.uint8)
        rest = copied.data
        while rest:
            try:
                done = os.preadv(self._fd, [rest], offset + count - len(rest))
            except OSError as error:
                raise CheckpointError(self.path, f"cannot be read: {_reason(error)}") from error
            if not done:
                fact = f"ends before byte {offset + count}: it was cut while it was read"
                raise CheckpointError(self.path, fact)
            rest = rest[done:]
        return copied


def _mapping(fd: int, size: int) -> mmap.mmap:
    """A private mapping; before Python 3.13 it holds a file descriptor of its own."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, access=mmap.ACCESS_READ, trackfd=False)
    return mmap.mmap(fd, size, access=mmap.ACCESS_READ)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


def _open_regular(path: Path) -> int:
    """Looked at before (opening a device may act on it) and after (it may have been swapped)."""
    _check_regular(path, os.lstat(path).st_mode)
    # Should a FIFO be swapped in, O_NONBLOCK opens it at once instead of waiting for a writer.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_regular(path, os.fstat(fd).st_mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _followed(path: Path, within: Path) -> str:
    """Where `path` leads, links and all. Raises CheckpointError if that is not in `within`."""
    real, root = os.path.realpath(path), os.path.realpath(within)
    if os.path.commonpath((real, root)) != root:
        raise CheckpointError(
            path, f"leads out of {printable(root, 4096)}, to {printable(real, 4096)}"
        )
    return real


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise CheckpointError(path, "is a symbolic link; pass the file that it points to")
    if stat.S_ISDIR(mode):
        raise CheckpointError(path, "is a folder; pass a file")
    if not stat.S_ISREG(mode):
        raise CheckpointError(path, "is not a regular file")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
