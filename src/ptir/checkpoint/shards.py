"""A folder of safetensors files, as Hugging Face lays it out: one file, or shards and their index.

Knows names and paths; what a config says is for others to read.
"""

import os
from typing import Any

from . import safetensors
from .contents import Contents
from .document import parse_object
from .error import CheckpointError, Path, shown
from .file import RegularFile

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
CONFIG = "config.json"
MAX_INDEX_BYTES = 10 << 20
MAX_CONFIG_BYTES = 1 << 20
MAX_SHARDS = 1024
_SUFFIX = ".safetensors"


def seems(folder: Path) -> bool:
    """Whether the folder holds weights in this layout."""
    return any(os.path.lexists(os.path.join(folder, name)) for name in (INDEX, SINGLE))


def read(folder: Path, *, mapped: bool, within: Path | None) -> Contents:
    """The tensors of all shards, and the object in `config.json` if there is one.

    Nothing outside the folder is opened, nor a link, FIFO or device in it (`within` as in
    `RegularFile`). Raises CheckpointError.
    """
    place = _Folder(folder, mapped, within)
    found = [name for name in (INDEX, SINGLE) if place.has(name)]
    if len(found) != 1:
        state = "both" if found else "neither"
        fact = f"is a folder with {state} of {INDEX} and {SINGLE}; wanted one of them"
        raise CheckpointError(folder, fact)
    config = place.document(CONFIG, MAX_CONFIG_BYTES) if place.has(CONFIG) else {}
    if found == [SINGLE]:
        whole = safetensors.read(place.file(SINGLE))
        return Contents("safetensors folder", whole.parts, config=config, metadata=whole.metadata)
    shards = _shards(folder, place.document(INDEX, MAX_INDEX_BYTES))
    parts = []
    for shard, names in shards.items():
        (part,) = safetensors.read(place.file(shard)).parts
        _check_names(part.file.path, names, {entry.name for entry in part.entries})
        parts.append(part)
    return Contents("safetensors shards", parts, config=config)


class _Folder:
    """Files by their plain names."""

    def __init__(self, path: Path, mapped: bool, within: Path | None) -> None:
        self._path = path
        self._mapped = mapped
        self._within = within

    def has(self, name: str) -> bool:
        return os.path.lexists(os.path.join(self._path, name))

    def file(self, name: str, mapped: bool = True) -> RegularFile:
        path = os.path.join(os.fspath(self._path), name)
        return RegularFile(path, mapped=mapped and self._mapped, within=self._within)

    def document(self, name: str, limit: int) -> dict[str, Any]:
        file = self.file(name, mapped=False)
        raw = file.section("file", 0, file.size, limit)
        return parse_object(file.path, "file", raw, limit)


def _shards(folder: Path, index: dict[str, Any]) -> dict[str, set[str]]:
    """The tensor names that the index expects in each shard; every shard a plain file name."""
    weights = index.get("weight_map")
    if not isinstance(weights, dict):
        raise CheckpointError(folder, f'{INDEX} needs "weight_map", an object of file names')
    shards: dict[str, set[str]] = {}
    for name, shard in weights.items():
        if not _is_plain(shard):
            fact = f"{INDEX} puts it into {shown(shard)}; wanted a plain *{_SUFFIX} name"
            raise CheckpointError(folder, fact, name)
        shards.setdefault(shard, set()).add(name)
    if len(shards) > MAX_SHARDS:
        fact = f"{INDEX} names {len(shards)} files; at most {MAX_SHARDS} are read"
        raise CheckpointError(folder, fact)
    return shards


def _is_plain(name: object) -> bool:
    """Whether it can only be a file in the folder itself, and be printed."""
    return (
        isinstance(name, str)
        and name.isascii()
        and name.isprintable()
        and not set(name) & set("/\\:")
        and not name.startswith(".")
        and name.endswith(_SUFFIX)
        and len(name) <= 255
    )


def _check_names(path: str, expected: set[str], found: set[str]) -> None:
    """A shard holds what the index says and nothing else, so no name comes twice in a folder."""
    for name in sorted(expected - found)[:1]:
        raise CheckpointError(path, f"is not here, where {INDEX} puts it", name)
    for name in sorted(found - expected)[:1]:
        raise CheckpointError(path, f"is here, but {INDEX} does not say so", name)
