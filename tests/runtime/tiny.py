"""Models small enough to compute by hand or to load in a millisecond."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ptir import LoadedModel, Tensor, arange, as_tensor, functional
from ptir.checkpoint import save
from ptir.models import CausalLM
from ptir.nn import KVCache
from ptir.runtime.steps import Steps
from ptir.runtime.text_model import TextModel
from ptir.text import Tokenizer

CONFIG: dict[str, Any] = {
    "vocab_size": 17,
    "context_length": 32,
    "embed_dim": 8,
    "num_layers": 2,
    "num_heads": 2,
}


def weights(config: dict[str, Any] = CONFIG) -> dict[str, np.ndarray[Any, Any]]:
    """Random weights of a gpt, by name."""
    V, T, E = config["vocab_size"], config["context_length"], config["embed_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "tok_embeddings.weight": (V, E),
        "pos_embeddings": (T, E),
        "final_ln.gamma": (E,),
        "final_ln.beta": (E,),
        "lm_head": (E, V),
    }
    for i in range(config["num_layers"]):
        shapes |= {
            f"blocks.{i}.attention.w_qkv": (E, 3 * E),
            f"blocks.{i}.attention.b_qkv": (3 * E,),
            f"blocks.{i}.attention.w_out": (E, E),
            f"blocks.{i}.attention.b_out": (E,),
            f"blocks.{i}.feed_forward.w_in": (E, 4 * E),
            f"blocks.{i}.feed_forward.b_in": (4 * E,),
            f"blocks.{i}.feed_forward.w_out": (4 * E, E),
            f"blocks.{i}.feed_forward.b_out": (E,),
            f"blocks.{i}.ln_1.gamma": (E,),
            f"blocks.{i}.ln_1.beta": (E,),
            f"blocks.{i}.ln_2.gamma": (E,),
            f"blocks.{i}.ln_2.beta": (E,),
        }
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}


def write(path: Path, **changes: Any) -> Path:
    """A checkpoint of the tiny gpt, or of one with another config."""
    config = CONFIG | changes
    save(path, kind="gpt", config=config, tensors=weights(config))
    return path


def text_model(model: LoadedModel) -> TextModel:
    """The capability of a model that has it."""
    found = model.as_causal_lm()
    assert found is not None
    return found


class Scripted(CausalLM):
    """Says one row of logits [positions, vocab] behind each position, whatever the tokens are."""

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self.context_length, self.vocab_size = rows.shape
        self._rows = as_tensor(rows.astype("f4"))

    def cache(self, batch: int, capacity: int) -> KVCache:
        return KVCache.empty(1, batch, 1, capacity, 1)

    def hidden(
        self, ids: Tensor, cache: KVCache | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, KVCache | None]:
        positions = arange(ids.shape[1], "si32").expand_dims(0)
        if past is not None:
            positions = past.expand_dims(1) + positions
        return functional.embedding(positions, self._rows), cache

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def scripted(rows: np.ndarray[Any, Any], tokenizer: Tokenizer | None, backend: str) -> TextModel:
    return TextModel(Steps(Scripted(rows), backend, lambda: None), tokenizer)


def saying(ids: Sequence[int], tokenizer: Tokenizer, backend: str, prompt: int = 1) -> TextModel:
    """A model that continues a prompt of `prompt` tokens with `ids`, as the likeliest."""
    rows = np.zeros((prompt + len(ids), tokenizer.vocab_size))
    rows[np.arange(len(ids)) + prompt - 1, ids] = 9
    return scripted(rows, tokenizer, backend)
