"""Arrays in and out of files: `.npy`, and the archives that `checkpoint` reads and writes."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ptir.checkpoint import Checkpoint, CheckpointError, gptrsten, safetensors
from ptir.checkpoint.atomic import replace_file
from ptir.params import base_param_id

Array = np.ndarray[Any, Any]
SUFFIXES = (".npy", ".gptrsten", ".safetensors")


def read_array(path: Path, name: str | None = None) -> Array:
    """An array in a `.npy` file, or of an archive: the named one, or the only one.

    Raises CheckpointError.
    """
    if path.suffix == ".npy":
        return _read_npy(path)
    archive = Checkpoint(path)
    names = archive.names()
    if name is None and len(names) != 1:
        listed = ", ".join(names[:8]) or "none"
        raise CheckpointError(path, f"has {len(names)} tensors, say which one: {listed}")
    chosen = names[0] if name is None else name
    archive.spec(chosen)  # refuses a name that is not there
    return archive.load(base_param_id(chosen))


def write_array(path: Path, name: str, array: Array) -> None:
    """Write an array, as an archive with one tensor of this name if the suffix says so.

    Whole or not at all. Raises CheckpointError, for a suffix that is none of `SUFFIXES` too.
    """
    if path.suffix == ".npy":
        _write_npy(path, array)
    elif path.suffix == ".gptrsten":
        gptrsten.save(path, {name: array})
    elif path.suffix == ".safetensors":
        safetensors.save(path, {name: array})
    else:
        raise CheckpointError(path, f"is to be written; wanted one of {', '.join(SUFFIXES)}")


def _read_npy(path: Path) -> Array:
    try:  # mapped: a shape beyond the file's end is refused and not allocated
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise CheckpointError(path, f"is not a .npy file: {str(error)[:200]}") from None


def _write_npy(path: Path, array: Array) -> None:
    header = BytesIO()
    plain = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(plain))
    replace_file(path, [header.getvalue(), plain.reshape(-1).view(np.uint8).data])
