"""Our own form, a checkpoint of kind `gpt`, and the weights in it: all others are made from it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks.weights import OURS, Array, Shape, place
from ptir.checkpoint import Checkpoint, save
from ptir.params import base_param_id

DTYPES = {"f32": np.dtype(np.float32), "bf16": np.dtype(ml_dtypes.bfloat16)}


class Weights(Mapping[str, Array]):
    """The arrays of a checkpoint by our names, mapped from its file. All have one dtype."""

    def __init__(self, path: Path) -> None:
        self._checkpoint = Checkpoint(path)
        c = self._checkpoint.config
        sizes = ("vocab_size", "context_length", "embed_dim", "num_layers", "num_heads")
        self.shape = Shape(*(c[name] for name in sizes))
        self.dtype = next(d for d, numpy in DTYPES.items() if numpy == self["lm_head"].dtype)

    def __getitem__(self, name: str) -> Array:
        return self._checkpoint.load(base_param_id(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoint.names())

    def __len__(self) -> int:
        return len(self._checkpoint.names())


def draw(folder: Path, shape: Shape, dtype: str) -> None:
    """Write the checkpoint unless it is there; every element type rounds the same numbers."""
    path = place(folder, OURS, dtype)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {n: a.astype(DTYPES[dtype]) for n, a in _random(shape).items()}
        save(path, kind="gpt", config=_config(shape), tensors=tensors)


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocab,
        "context_length": shape.context,
        "embed_dim": shape.embed,
        "num_layers": shape.layers,
        "num_heads": shape.heads,
        "activation": "gelu_tanh",
    }


def _random(shape: Shape) -> dict[str, Array]:
    """Spread as when training starts, but for wider embeddings: logits must tell tokens apart."""
    random = np.random.Generator(np.random.Philox(2))

    def normal(*sizes: int, by: float = 0.02, around: float = 0.0) -> Array:
        return random.standard_normal(sizes, np.float32) * np.float32(by) + np.float32(around)

    E = shape.embed
    found = {
        "tok_embeddings.weight": normal(shape.vocab, E, by=0.05),
        "pos_embeddings": normal(shape.context, E, by=0.05),
        "final_ln.gamma": normal(E, around=1),
        "final_ln.beta": normal(E),
    }
    found["lm_head"] = np.ascontiguousarray(found["tok_embeddings.weight"].T)
    matrices = {
        "attention.w_qkv": (E, 3 * E),
        "attention.w_out": (E, E),
        "feed_forward.w_in": (E, 4 * E),
        "feed_forward.w_out": (4 * E, E),
    }
    for i in range(shape.layers):
        for name, sizes in matrices.items():
            found[f"blocks.{i}.{name}"] = normal(*sizes, by=0.05)
            found[f"blocks.{i}.{name.replace('w_', 'b_')}"] = normal(sizes[1])
        for norm in ("ln_1", "ln_2"):
            found[f"blocks.{i}.{norm}.gamma"] = normal(E, around=1)
            found[f"blocks.{i}.{norm}.beta"] = normal(E)
    return found
