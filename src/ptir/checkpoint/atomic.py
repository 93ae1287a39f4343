"""Replace a file whole or not at all. Knows nothing of what is written."""

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress

from .error import CheckpointError, Path

# Some file systems cannot sync a directory; the rename is then as durable as they make it.
_NO_DIRECTORY_SYNC = (errno.EINVAL, errno.ENOTSUP)


def replace_file(path: Path, blocks: Iterable[bytes | memoryview]) -> None:
    """Write `blocks` to a new file beside `path`, sync it, and put it in the place of `path`.

    Whatever fails, and wherever (the blocks, the disk, Ctrl-C), `path` keeps its old content and
    the new file is removed. Raises CheckpointError for what the system refuses.
    """
    target = os.path.abspath(path)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".ptir-{secrets.token_hex(8)}.tmp")
    try:
        _check_replaceable(path)
        try:
            _write_synced(temporary, blocks)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise CheckpointError(path, f"cannot be written: {error.strerror or error}") from error


def _check_replaceable(path: Path) -> None:
    """A rename would silently turn a link, a folder or a device into a plain file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except ValueError as error:
        raise CheckpointError(path, f"is not a path: {error}") from error
    if not stat.S_ISREG(mode):
        raise CheckpointError(path, "exists and is not a regular file; save to another path")


def _write_synced(path: str, blocks: Iterable[bytes | memoryview]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o666)
    try:
        for block in blocks:
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(fd)
