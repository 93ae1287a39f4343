"""`load_model`: from a checkpoint on disk to a model at work."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, final

from ptir import engine, models
from ptir.checkpoint import Checkpoint
from ptir.checkpoint.error import printable
from ptir.functional import FunctionalRegistry
from ptir.ir import DTYPES, DType, SpecError
from ptir.models import Model, ModelInput, ModelOutput, Stored
from ptir.text import Tokenizer

from . import layout
from .build import Built, build, computed
from .steps import Steps
from .text_model import TextModel

DEMO = Path(__file__).parent.parent / "demo"


@dataclass(frozen=True)
class ParameterInfo:
    """A parameter's name, element type, shape, number of elements and bytes."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    size: int
    nbytes: int


class Opened(NamedTuple):
    """What a loaded model holds until it is closed."""

    checkpoint: Checkpoint
    model: Model


@final
class LoadedModel:
    """A model on a backend: its kind, config and parameters, and what it can do.

    `stored` says by the name of a parameter under which name the file keeps it, perhaps turned.
    `functionals` are the implementations that it asks for; they are in force around its calls.
    Close it (or use it in a `with` block) to let go of its weights.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        built: Built,
        backend: str,
        tokenizer: Tokenizer | None,
        functionals: FunctionalRegistry,
    ) -> None:
        self.kind: str = built.kind
        self.config: Mapping[str, Any] = built.config
        self.path: str = checkpoint.path
        self.backend = backend
        self.tokenizer = tokenizer
        self.functionals = functionals
        self.stored: Mapping[str, Stored] = built.stored
        self._opened: Opened | None = Opened(checkpoint, built.model)
        self._text_model: TextModel | None = None

    def forward(self, given: ModelInput) -> ModelOutput:
        """The model's output for an input: `Tokens([[1, 2]])` or `Image(pixels)`.

        Raises `ModelError` or `SpecError` for an input that the model does not take.
        """
        checkpoint, model = self._open()
        checkpoint.check_size()
        with self.functionals.installed():
            return model.forward(given)

    def as_causal_lm(self) -> TextModel | None:
        """Generation and logits, if the model is a causal language model."""
        checkpoint, model = self._open()
        capability = model.as_causal_lm()
        if capability is None:
            return None
        if self._text_model is None:
            steps = Steps(capability, self.backend, checkpoint.check_size, self.functionals)
            self._text_model = TextModel(steps, self.tokenizer)
        return self._text_model

    def parameters(self) -> list[ParameterInfo]:
        """What is known of each parameter without reading it, sorted by name, as it is stored. One
        that is used under two names (a tied head) has the first.
        """
        checkpoint, model = self._open()
        found, seen = [], set[str]()
        for name, tensor, _ in model.named_parameters():
            place = self.stored[name].name
            if place in seen:
                continue
            seen.add(place)
            shape, dtype = tensor.type.static_shape, checkpoint.spec(place).dtype
            size = math.prod(shape)
            found.append(ParameterInfo(name, dtype, shape, size, dtype.nbytes(size)))
        return sorted(found, key=lambda p: p.name)

    @property
    def dtype(self) -> DType:
        """The element type that most bytes of its parameters are used in; f32 without any."""
        used = {self.stored[n].name: t for n, t, _ in self.model.named_parameters()}
        nbytes = Counter[DType]()
        for tensor in used.values():
            nbytes[tensor.dtype] += tensor.type.nbytes
        return nbytes.most_common(1)[0][0] if nbytes else DTYPES["f32"]

    @property
    def model(self) -> Model:
        """The module itself, with its parameters."""
        return self._open().model

    def close(self) -> None:
        """Let go of the file, the weights and everything compiled; end every request. May be
        called again.
        """
        self._opened = None
        at_work, self._text_model = self._text_model, None
        if at_work is not None:
            at_work.close()

    def _open(self) -> Opened:
        if self._opened is None:
            raise models.ModelError(f"the model of {self.path} is closed; load it again")
        return self._opened

    def __enter__(self) -> "LoadedModel":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LoadedModel {self.kind} from {self.path} on {self.backend}>"


def load_model(
    path: str | Path | None = None,
    *,
    backend: str | None = None,
    tokenizer: str | Path | None = None,
    dtype: str | DType | None = None,
    overrides: Mapping[str, str] = MappingProxyType({}),
) -> LoadedModel:
    """Open a checkpoint; without a path, the demo model in the package.

    `path` is a GPTRSCHK file, a folder with one (`*.gptrs`), or a folder of Hugging Face with
    `config.json` and safetensors. If nothing is there, a text such as `org/name` or
    `org/name@revision` is a model on the Hugging Face hub, which is fetched into its cache. The
    tokenizer is that of the folder (see `Tokenizer.load`) unless `tokenizer` names another file or
    folder. Weights are read when they are first used. `dtype` (f32, bf16 or f16) is what the model
    computes in: weights stored in another one of these are converted once. Without it the
    checkpoint may say so (`runtime.dtype`), else they are used as they are stored.
    `overrides` choose implementations of functionals by name, as `ptir.override` does, over those
    that the checkpoint asks for (`runtime.functional_overrides`). Raises `CheckpointError`,
    `HubError`, `ModelError`, `TokenizerError` or `BackendError`, and `SpecError` for overrides.
    """
    chosen = FunctionalRegistry.from_settings(overrides)
    asked = None if dtype is None else computed(dtype)
    name = engine.backend_of(backend).name
    place = layout.find(DEMO if path is None else path)
    checkpoint = Checkpoint(place.checkpoint, within=place.within)
    try:
        built = build(checkpoint, name, asked or _dtype(checkpoint))
        stated = _functionals(checkpoint)
    except models.ModelError as error:
        raise models.ModelError(f"{checkpoint.path}: {error}") from None
    beside = Path(tokenizer) if tokenizer is not None else place.folder
    known = tokenizer is not None or Tokenizer.lies_in(beside)
    text = Tokenizer.load(beside) if known else None
    functionals = FunctionalRegistry({**stated.policies, **chosen.policies})
    return LoadedModel(checkpoint, built, name, text, functionals)


def _dtype(checkpoint: Checkpoint) -> DType | None:
    """What a checkpoint asks to be computed in."""
    stated = (checkpoint.runtime or {}).get("dtype")
    try:
        return None if stated is None else computed(stated)
    except models.ModelError as error:
        raise models.ModelError(f"runtime.dtype: {printable(str(error), 300)}") from None


def _functionals(checkpoint: Checkpoint) -> FunctionalRegistry:
    """The implementations that a checkpoint asks for."""
    settings = (checkpoint.runtime or {}).get("functional_overrides", {})
    try:
        if not isinstance(settings, dict):
            raise models.ModelError(f"it is {settings!r}, wanted an object of policies by name")
        return FunctionalRegistry.from_settings(settings)
    except (SpecError, models.ModelError) as error:
        why = printable(str(error), 300)  # it quotes the file
        raise models.ModelError(f"runtime.functional_overrides: {why}") from None
