"""The model of an open checkpoint, its parameters read where they lie when they are first used."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ptir import engine, models, ops
from ptir.checkpoint import Checkpoint
from ptir.ir import DType, dtype, leaf, tensor_type
from ptir.models import Architecture, HuggingFace, Model, ModelError, Stored, Weights
from ptir.params import base_param_id, new_namespace, param_key
from ptir.tensor import Tensor

# What models compute in; parameters of other types are what they are.
COMPUTED = ("f32", "bf16", "f16")


def computed(name: Any) -> DType:
    """The element type of this name, one of `COMPUTED`, or that type. Raises `ModelError`."""
    if isinstance(name, DType):
        name = name.name
    if name not in COMPUTED:
        raise ModelError(f"dtype is {name!r}, wanted {', '.join(COMPUTED)}")
    return dtype(name)


@dataclass(frozen=True)
class Built:
    """A model, its kind and config, and where the checkpoint keeps each of its parameters."""

    kind: str
    config: Mapping[str, Any]
    model: Model
    stored: Mapping[str, Stored]


def build(checkpoint: Checkpoint, backend: str, element: DType | None = None) -> Built:
    """The model of a checkpoint, whose parameters are all of the file's tensors and no others.

    Those in one of `COMPUTED` are converted to `element`, if it is given, once for all calls.
    Raises `ModelError` or `CheckpointError`.
    """
    if checkpoint.kind is not None:
        architecture = models.find(checkpoint.kind)
        config = architecture.config.read(checkpoint.config)
        stored = {name: Stored(name) for name in checkpoint.names()}
        find = _parameters(checkpoint, backend, stored, element)
        return _built(checkpoint, find, architecture, config, stored)
    architecture, form = _hugging_face(checkpoint)
    config, names = form.config(checkpoint.config), checkpoint.names()
    stored = dict(form.stored(checkpoint.config, names))
    taken = {where.name for where in stored.values()}
    # What is left over is refused under its own name.
    ignored = re.compile(form.ignored)
    stored |= {n: Stored(n) for n in names if n not in taken and not ignored.fullmatch(n)}
    find = _parameters(checkpoint, backend, stored, element)
    return _built(checkpoint, find, architecture, config, stored)


def _hugging_face(checkpoint: Checkpoint) -> tuple[Architecture, HuggingFace]:
    name = checkpoint.config.get("model_type")
    if not isinstance(name, str):
        message = f"{checkpoint.format} does not say what kind of model it holds"
        raise ModelError(f"{message}; pass the folder of a config.json with a model_type")
    architecture = models.of_model_type(name)
    assert architecture.hugging_face is not None
    return architecture, architecture.hugging_face


def _built(
    checkpoint: Checkpoint,
    find: Callable[[str], Tensor],
    architecture: Architecture,
    config: models.Config,
    stored: Mapping[str, Stored],
) -> Built:
    weights = Weights(list(stored), find)
    model = architecture.model(config, weights)
    weights.finish()
    fields = checkpoint.config if checkpoint.kind else msgspec.to_builtins(config)
    return Built(architecture.kind, fields, model, stored)


def _parameters(
    checkpoint: Checkpoint, backend: str, stored: Mapping[str, Stored], element: DType | None
) -> Callable[[str], Tensor]:
    """Lazy parameters by name, keyed in a namespace of their own. One that is stored once is one
    parameter, under the first of its names, wherever it is used.
    """
    namespace = new_namespace()
    first = {stored[name].name: name for name in reversed(list(stored))}

    @functools.cache
    def read(place: str) -> Tensor:
        spec, name = checkpoint.spec(place), first.get(place, place)
        source = engine.Parameter(
            tensor_type(spec.shape, spec.dtype),
            name,
            param_key(namespace, base_param_id(name)),
            lambda: checkpoint.load(base_param_id(place)),
            content=checkpoint.content(place),
            check=lambda: checkpoint.check_content(place),
        )
        node = leaf(source)
        if element is not None and spec.dtype.name in COMPUTED:
            node = ops.cast(node, dtype=element)
        return Tensor(node, backend)

    def find(name: str) -> Tensor:
        where = stored.get(name, Stored(name))
        tensor = read(where.name)
        if not where.turned or len(tensor.shape) != 2:
            return tensor
        return Tensor(ops.transpose(tensor.node, perm=(1, 0)), backend)

    return find
