"""A checkpoint on disk in whichever format, told by its first bytes. Knows no layout."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import numpy as np
from blake3 import blake3

from ptir import config as knobs
from ptir.ir.error import nearest
from ptir.params import BaseParamId, ParamSource, ParamSpec, base_param_id

from . import gptrschk, gptrsten, packing, safetensors, shards
from .contents import Contents
from .error import CheckpointError, Path, printable
from .file import RegularFile
from .index import Entry

_CONTENT = b"ptir:content:v1\0"

LOG = logging.getLogger("ptir.checkpoint")
_READERS: dict[bytes, Callable[[RegularFile], Contents]] = {
    gptrschk.MAGIC: gptrschk.read,
    gptrsten.MAGIC: gptrsten.read,
}


@final
class Checkpoint(ParamSource):
    """An open checkpoint: GPTRSCHK, GPTRSTEN, safetensors, or a folder of safetensors files.

    All that describes its tensors is checked here; they are read on first use, as read-only views
    of the mapped files (copies under PTIR_MMAP=0, and for 4-bit types). A mapping lives as long as
    its views do.

    `kind` names the architecture (None where the format does not), `config` is its JSON object
    (for a folder `config.json`; empty where there is none), `runtime` the optional runtime section,
    `metadata` the strings of a safetensors header.

    `verify` compares the digests, as the method does; None asks PTIR_CHECK_DIGESTS. Links in a
    folder are refused unless they lead to a file inside `within`, a download cache for example.
    Raises CheckpointError.
    """

    def __init__(
        self, path: Path, *, verify: bool | None = None, within: Path | None = None
    ) -> None:
        self.path = os.fspath(path)
        contents = _read(path, mapped=knobs.current().mmap, within=within)
        self.format = contents.format
        self.kind, self.config, self.runtime = contents.kind, contents.config, contents.runtime
        self.metadata: Mapping[str, str] = contents.metadata
        self._files = [part.file for part in contents.parts]
        self._entries = dict(sorted(_named(contents)))
        LOG.info("%s: %s, %d tensors", self.path, self.format, len(self._entries))
        self._by_id = {base_param_id(name): name for name in self._entries}
        self._verified: set[str] = set()
        if knobs.current().check_digests if verify is None else verify:
            self.verify()

    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def spec(self, name: str) -> ParamSpec:
        return self._find(name)[1].spec

    def _find(self, name: str) -> tuple[RegularFile, Entry]:
        if name not in self._entries:
            near = nearest(name, self._entries) if len(self._entries) < 1000 else ""
            raise CheckpointError(self.path, f"has no tensor '{printable(name)}'{near}")
        return self._entries[name]

    def load(self, base_id: BaseParamId) -> np.ndarray[Any, Any]:
        name = self._by_id.get(base_id)
        if name is None:
            raise CheckpointError(self.path, f"has no tensor with the id {base_id:#034x}")
        return packing.read(*self._entries[name])

    def content(self, name: str) -> bytes:
        """32 bytes that tell the data of a tensor from any other, in any process. Reads none of it.

        They stand on its digest where the format has one, so that copies of a file have the same;
        elsewhere on the place in the file and on the file's identity: device, inode, size, times.
        """
        file, entry = self._find(name)
        where = entry.digest or (entry.offset, entry.nbytes, *file.identity)
        facts = (entry.dtype.name, entry.shape, where)
        return blake3(_CONTENT + repr(facts).encode()).digest()

    def check_content(self, name: str) -> None:
        """Raise CheckpointError unless `content` tells what `load` gives: before anything that is
        made of it is kept for other processes. A digest is compared once.
        """
        file, entry = self._find(name)
        if entry.digest is None:
            file.check_unchanged()
        elif name not in self._verified:
            gptrschk.verify(file, entry)
            self._verified.add(name)

    def check_size(self) -> None:
        """Raise CheckpointError if a file changed size since it was opened.

        Call it before a program reads mapped tensors: beyond a cut they kill the process.
        """
        for file in self._files:
            file.check_size()

    def verify(self) -> int:
        """Read each tensor that has a digest and compare; how many: all, or none without digests.

        Raises CheckpointError for the first tensor that is not what was written.
        """
        compared = [pair for pair in self._entries.values() if pair[1].digest is not None]
        for file, entry in compared:
            gptrschk.verify(file, entry)
            self._verified.add(entry.name)
        return len(compared)


def _named(contents: Contents) -> Iterator[tuple[str, tuple[RegularFile, Entry]]]:
    for part in contents.parts:
        for entry in part.entries:
            yield entry.name, (part.file, entry)


def _read(path: Path, *, mapped: bool, within: Path | None) -> Contents:
    if os.path.isdir(path):
        return shards.read(path, mapped=mapped, within=within)
    file = RegularFile(path, mapped=mapped, within=within)
    start = file.read(0, min(8, file.size))
    if start in _READERS:
        return _READERS[start](file)
    if safetensors.seems(file):
        return safetensors.read(file)
    found = f"it starts with {start!r}" if start else "it is empty"
    wanted = "a GPTRSCHK checkpoint, GPTRSTEN archive or safetensors file"
    raise CheckpointError(path, f"is not {wanted}: {found}")
