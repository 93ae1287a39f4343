"""Models from other files to a GPTRSCHK file, with the tokenizer beside it.

The file is written under another name, read back and compared with its source before it takes its
place.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptir.checkpoint import Checkpoint, CheckpointError, save
from ptir.checkpoint.atomic import replace_file
from ptir.ir import DTYPES, DType, PtirError
from ptir.models import ModelError, Stored
from ptir.params import base_param_id
from ptir.text import gpt2, settings, tokenizer

from . import layout
from .load import LoadedModel, load_model

# What generation reads of a folder.
BESIDE = (
    *(tokenizer.FILE, gpt2.VOCAB, gpt2.MERGES),
    *(settings.CONFIG, settings.SPECIAL, settings.GENERATION, settings.ADDED, settings.TEMPLATE),
)
TOKENS = 16  # that both files are asked about
# Of the largest logit: the same numbers in another order, or rounded to fewer bits.
TOLERANCES = {"f32": 1e-4, "f16": 0.02, "bf16": 0.1}
OTHER = 0.1  # for types that weights are not converted to

Array = np.ndarray[Any, Any]


class ExportError(PtirError):
    """A model that was not exported: what was written is not what it was made of, or would
    overwrite a file.
    """


@dataclass(frozen=True)
class Exported:
    """A file that was written: the kind of its model, its bytes and tensors, the files copied
    beside it, and the largest difference of logits, relative to the largest logit.
    """

    path: str
    kind: str
    nbytes: int
    tensors: int
    beside: list[str]
    difference: float


def export(
    source: str | Path,
    out: str | Path,
    *,
    kind: str | None = None,
    dtype: str | None = None,
    force: bool = False,
    on_tensor: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the model at `source`, all that `load_model` takes, as the GPTRSCHK 3 file `out`.

    `kind` refuses a model of another kind, `dtype` (f32, bf16 or f16) converts the weights and is
    then what the model computes in, `force` replaces files that are there. `on_tensor` is told how
    many tensors are written, of how many. Tensors are read and written one by one. Raises
    `ExportError`, `ModelError` or what `load_model` raises; files that were there are then
    untouched.
    """
    if dtype is not None and dtype not in TOLERANCES:
        raise ExportError(f"dtype is {dtype!r}, wanted {', '.join(TOLERANCES)}")
    out, place = Path(out), layout.find(source)
    copies = _copies(place.folder, out)
    _check_free(out, force)
    for copy, data in copies.items():
        _check_same(copy, data, force)
    checkpoint = Checkpoint(place.checkpoint, within=place.within)
    with load_model(place.checkpoint) as model:
        if kind not in (None, model.kind):
            raise ModelError(f"{model.path}: is a model of kind {model.kind!r}, not {kind!r}")
        element, runtime = None, checkpoint.runtime
        if dtype is not None:
            element = DTYPES[dtype]
            runtime = {k: v for k, v in (runtime or {}).items() if k != "dtype"} or None
        weights = _Weights(checkpoint, model.stored, element, on_tensor)
        difference = _write(model, weights, runtime, out)
    for copy, data in copies.items():
        replace_file(copy, [data])
    names = [copy.name for copy in copies]
    return Exported(str(out), model.kind, out.stat().st_size, len(weights), names, difference)


def _check_free(path: Path, force: bool) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise CheckpointError(path, "exists and is not a regular file; save to another path")
    if not force:
        raise ExportError(f"{path} is there already; pass force (--force) to replace it")


def _copies(folder: Path, out: Path) -> dict[Path, bytes]:
    """The files that go beside `out`, none if they lie there."""
    if folder.resolve() == out.parent.resolve():
        return {}
    return {
        out.parent / name: (folder / name).read_bytes()
        for name in BESIDE
        if (folder / name).is_file()
    }


def _check_same(copy: Path, data: bytes, force: bool) -> None:
    if os.path.lexists(copy) and not force and copy.read_bytes() != data:
        message = "is there already, of another model; pass force (--force) to replace it"
        raise ExportError(f"{copy} {message}, or another folder")


class _Weights(Mapping[str, Array]):
    """The tensors to be written, each read and converted when it is asked for."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        stored: Mapping[str, Stored],
        element: DType | None,
        on_tensor: Callable[[int, int], None] | None,
    ) -> None:
        self._checkpoint = checkpoint
        self._stored = stored
        self._element = element
        self._on_tensor = on_tensor
        self._typed: set[str] = set()  # asked for once already, for the index
        self._written = 0

    def __getitem__(self, name: str) -> Array:
        place, turned = self._stored[name]
        array = self._checkpoint.load(base_param_id(place))
        array = array.T if turned else array
        if name not in self._typed:
            self._typed.add(name)
        elif self._on_tensor is not None:
            self._written += 1
            self._on_tensor(self._written, len(self))
        with np.errstate(over="ignore"):  # infinities are found by their logits
            return array if self._element is None else array.astype(self._element.numpy, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def _write(
    model: LoadedModel, weights: _Weights, runtime: Mapping[str, Any] | None, out: Path
) -> float:
    """Write and compare; what is not as it should be does not stay. The difference of logits."""
    beside = out.with_name(f".ptir-{secrets.token_hex(8)}{layout.SUFFIX}")
    try:
        save(beside, kind=model.kind, config=model.config, runtime=runtime, tensors=weights)
        difference = _compare(model, beside)
        os.replace(beside, out)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    return difference


def _compare(model: LoadedModel, path: Path) -> float:
    """How far the logits of the written model are from those of its source, after its digests.
    Raises `ExportError` if that is too far.
    """
    Checkpoint(path, verify=True)
    with load_model(path) as written:
        want, got = _logits(model), _logits(written)
        stored = {p.dtype.name for p in (*model.parameters(), *written.parameters())}
        used = {model.dtype.name, written.dtype.name}  # what both are computed in
    most = max(TOLERANCES.get(name, OTHER) for name in used | (stored - TOLERANCES.keys()))
    difference = float(np.abs(got - want).max()) / float(np.abs(want).max() or 1)
    if not difference <= most:  # nor a NaN
        message = f"logits are off by {difference:.2g} of the largest, at most {most:.2g} is kept"
        raise ExportError(f"{model.path}: {message}; choose a wider dtype")
    return difference


def _logits(model: LoadedModel) -> Array:
    lm = model.as_causal_lm()
    if lm is None:
        raise ModelError(f"{model.path}: a {model.kind} model has no logits to compare")
    count = min(TOKENS, lm.context_length)
    return lm.logits(np.linspace(0, lm.vocab_size - 1, count).astype(int).tolist())
