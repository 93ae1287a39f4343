"""Derived values on disk: one file each, which later processes map instead of computing it.

Knows not how a value is computed. Whatever the disk refuses, the value stays in memory.
"""

import fcntl
import logging
import os
import resource
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from blake3 import blake3

from ptir import config, ops
from ptir.backends import Backend
from ptir.checkpoint import Checkpoint, CheckpointError, save
from ptir.ir import Program, PtirError, TensorType
from ptir.params import ParamSpec, base_param_id
from ptir.passes.derive import derived_id
from ptir.version import VERSION

from .source import Array, Parameter

KIND = "derived"
MIN_BYTES = 1 << 20  # of a value that is worth a file
FREE = 2 << 30  # bytes that the disk keeps for others
STALE = 86_400  # seconds after which a temporary file has no writer
PATIENCE = 30.0  # seconds to wait while another process writes

_TENSOR = "value"
_OWN = "ptir."  # the package's kernels have versions, see `ops.custom_call`
_FORMAT = "GPTRSCHK 3"
_NAME = "[0-9a-f]" * 32 + ".gptrs"
_DOMAIN = b"ptir:kept:v1\0"

LOG = logging.getLogger("ptir.engine")


def _mappings() -> int:
    """How many values may be mapped. Before Python 3.13 each holds a file descriptor; half of those
    that a process may have are for others.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_bound = sys.version_info < (3, 13) and soft != resource.RLIM_INFINITY
    return soft // 2 if is_bound else sys.maxsize


MAPPED = _mappings()


def folder() -> Path:
    """Where derived values are kept."""
    return config.cache_folder() / "derived"


def files() -> list[Path]:
    """The files of derived values, and what dead writers have left."""
    place = folder()
    if place.is_symlink():
        return []
    return [*(path for path in sorted(place.glob(_NAME)) if path.is_file()), *_stale(place)]


def _stale(place: Path) -> list[Path]:
    """Temporary files that nobody writes any more."""
    found = []
    for path in sorted(place.glob(".ptir-*.tmp")):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > STALE:
                found.append(path)
    return found


@dataclass(frozen=True, eq=False)
class Value:
    """A derived value that may be kept: what it is made of, and how."""

    program: Program
    owners: Sequence[Parameter]
    backend: Backend

    @property
    def type(self) -> TensorType:
        type = self.program.results[0].type
        assert isinstance(type, TensorType)
        return type

    @property
    def spec(self) -> ParamSpec:
        return ParamSpec(self.type.dtype, self.type.static_shape)

    @property
    def is_worth_it(self) -> bool:
        """Whether it is large, and the same in any process: known code makes it of known data."""
        known = all(owner.content is not None for owner in self.owners)
        return known and self.spec.nbytes >= MIN_BYTES and not _calls_others(self.program)

    @property
    def file(self) -> str:
        return f"{self.facts['id']}.gptrs"

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What the file says of itself."""
        return {
            "id": self._id(),
            "derivation": derived_id(self.program, ()),
            "parameters": [owner.name for owner in self.owners],
            "backend": self.backend.name,
            "version": self.backend.version,
            "options": repr(self.backend.options()),
        }

    def _id(self) -> str:
        """128 bits, in hex, that no other value has."""
        backend = self.backend
        contents = [(owner.content or b"").hex() for owner in self.owners]
        facts = (VERSION, backend.name, backend.version, repr(backend.options()), contents)
        text = derived_id(self.program, ()) + repr(facts)
        return blake3(_DOMAIN + text.encode()).hexdigest(length=16)


def _calls_others(program: Program) -> bool:
    """Whether it calls a kernel that is not the package's own: its name does not tell its code."""
    nodes = (node for each in program.nested for node in each.nodes)
    targets = (node.attrs["target"] for node in nodes if node.op is ops.custom_call)
    return any(not target.startswith(_OWN) for target in targets)


class Kept:
    """The values on disk as this process uses them. Safe to share between threads."""

    def __init__(self) -> None:
        self._used: set[Path] = set()
        self._refused: set[Path] = set()  # folders that nothing is written to any more
        self._mapped: WeakValueDictionary[int, Array] = WeakValueDictionary()
        self._numbers = count()
        self._lock = Lock()

    def load(self, value: Value) -> Array | None:
        """The value as a read-only view of its file, or None if it is to be computed."""
        place = self._place()
        if place is None:
            return None
        try:
            found = self._read(place / value.file, value)
        except CheckpointError as error:
            LOG.warning("a derived value is computed anew: %s", error)
            return None
        if found is not None:
            LOG.debug("a derived value was read: %s, %d bytes", place / value.file, found.nbytes)
        return found

    def keep(self, value: Value, array: Array) -> Array | None:
        """Write a value: it as a view of its file, or None if it is not kept."""
        place = self._place()
        if place is None or place in self._refused:
            return None
        try:
            _make(place)
            with _alone(place) as alone:
                if alone and (self._is_there(place, value) or self._write(place, value, array)):
                    return self._read(place / value.file, value)
        except (OSError, CheckpointError) as error:
            self._refuse(place, error)
        return None

    def _place(self) -> Path | None:
        """The folder, if values are kept, and if it is ours or not there yet."""
        if not config.current().derived_cache:
            return None
        place = folder()
        try:
            _check(place)
        except (OSError, CheckpointError) as error:
            self._refuse(place, error)
            return None
        return place

    def _refuse(self, place: Path, error: Exception) -> None:
        with self._lock:
            is_new = place not in self._refused
            self._refused.add(place)
        if is_new:
            LOG.warning("derived values are not kept: %s", error)

    def _is_there(self, place: Path, value: Value) -> bool:
        """Whether another process wrote the value since it was looked for."""
        try:
            return self._read(place / value.file, value) is not None
        except CheckpointError:
            return False

    def _read(self, path: Path, value: Value) -> Array | None:
        """The value in a file, None if there is no file. Raises CheckpointError for another one."""
        found = _open(path, value)
        if found is None:
            return None
        with suppress(OSError):
            os.utime(path)  # the file that was not used for longest goes first
        with self._lock:
            self._used.add(path)
            may_stay = len(self._mapped) < MAPPED
            if may_stay:
                self._mapped[next(self._numbers)] = found
        return found if may_stay else found.copy()

    def _write(self, place: Path, value: Value, array: Array) -> bool:
        """Write the file of a value, if there is room for it."""
        path = place / value.file
        if not (self._make_room(place, value) and _is_sound(value)):
            return False
        save(path, kind=KIND, config=value.facts, tensors={_TENSOR: array})
        LOG.info("a derived value was written: %s, %d bytes", path, array.nbytes)
        return True

    def _make_room(self, place: Path, value: Value) -> bool:
        """Delete what was not used for longest; nothing if there would be no room even then."""
        for path in _stale(place):
            path.unlink(missing_ok=True)
        kept = [(when, size, p) for when, size, p in _listed(place) if p.name != value.file]
        over = sum(size for _, size, _ in kept) + value.spec.nbytes
        over -= config.current().derived_cache << 30
        free = shutil.disk_usage(place).free - value.spec.nbytes - FREE
        gone = []
        for _, size, path in kept:
            if over > 0 and path not in self._used:
                gone.append(path)
                over, free = over - size, free + size
        if over > 0 or free < 0:
            LOG.info("a derived value is not kept, %s has no room: %s", place, value.file)
            return False
        for path in gone:
            path.unlink(missing_ok=True)
            LOG.info("a derived value was evicted: %s", path)
        return True


KEPT = Kept()


def _is_sound(value: Value) -> bool:
    """Whether the value was made of what its parameters' contents tell."""
    try:
        for owner in value.owners:
            owner.check_content()
    except PtirError as error:
        LOG.warning("a derived value is not kept: %s", error)
        return False
    return True


def _open(path: Path, value: Value) -> Array | None:
    if not os.path.lexists(path):
        return None
    found = Checkpoint(path)
    named = found.format, found.kind, found.config.get("id")
    if named != (_FORMAT, KIND, value.facts["id"]):
        raise CheckpointError(path, "holds something else than its name says")
    if found.names() != (_TENSOR,) or found.spec(_TENSOR) != value.spec:
        raise CheckpointError(path, f"holds another tensor than {value.type}")
    return found.load(base_param_id(_TENSOR))


def _check(place: Path) -> None:
    """Raise CheckpointError for a folder that is not ours."""
    try:
        status = place.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise CheckpointError(place, "is a symbolic link")
    if not stat.S_ISDIR(status.st_mode):
        raise CheckpointError(place, "is not a folder")
    if status.st_uid != os.geteuid():
        raise CheckpointError(place, "belongs to another user")


def _make(place: Path) -> None:
    """Make the folder, and look at it again: somebody may have made another one meanwhile."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    _check(place)


@contextmanager
def _alone(place: Path) -> Iterator[bool]:
    """Keep other writers out; False if one of them does not come to an end."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(place / ".lock", flags, 0o600)
    try:
        yield _is_locked(fd)
    finally:
        os.close(fd)


def _is_locked(fd: int) -> bool:
    """Lock a file as soon as others let go of it; False if they do not for long."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


def _listed(place: Path) -> list[tuple[float, int, Path]]:
    """When each file was used last, its bytes and its path, the one used longest ago first."""
    found = []
    for path in place.glob(_NAME):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime, status.st_size, path))
    return sorted(found)
