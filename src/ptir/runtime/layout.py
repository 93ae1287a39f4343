"""What lies at a path: a GPTRSCHK file, a folder with one, or a folder as Hugging Face lays it out.

Knows names of files, nothing of what is in them.
"""

from pathlib import Path
from typing import NamedTuple

from ptir.checkpoint import CheckpointError, shards

from . import hub

SUFFIX = ".gptrs"
_SHOWN = 8  # of the files in a folder


class Layout(NamedTuple):
    """What to open, the folder that a tokenizer may lie in, and where links in it may lead."""

    checkpoint: Path
    folder: Path
    within: Path | None = None


def find(place: str | Path) -> Layout:
    """The layout at a path, or of `org/name` on the Hugging Face hub if nothing is there.

    Raises `CheckpointError` or `HubError`.
    """
    path = Path(place)
    if not path.exists() and isinstance(place, str) and (wanted := hub.repository(place)):
        path = hub.fetch(wanted)
    if not path.is_dir():
        return Layout(path, path.parent)
    found = sorted(path.glob(f"*{SUFFIX}"))
    if len(found) == 1:
        return Layout(found[0], path)
    if not found and shards.seems(path) and (path / shards.CONFIG).exists():
        return Layout(path, path, within=hub.links_within(path))
    raise CheckpointError(path, _missing(path))


def _missing(folder: Path) -> str:
    files = sorted(p.name for p in folder.iterdir() if p.is_file())
    found = [n for n in files if n.endswith(SUFFIX)] or files
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    hugging_face = f"{shards.CONFIG} with {shards.SINGLE} or {shards.INDEX}"
    wanted = f"wanted one *{SUFFIX} file in the folder, or {hugging_face}"
    pickled = any(n.endswith((".bin", ".pt", ".pth")) for n in files)
    way_out = "; pickled weights are not read, save them as safetensors" if pickled else ""
    return f"{wanted}; found {shown or 'none'}{way_out}"
