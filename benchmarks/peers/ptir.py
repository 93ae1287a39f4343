"""ptir itself: one sequence in a session, a batch through a step of its own; none is sampled."""

from pathlib import Path

import numpy as np

import ptir
from benchmarks.weights import Array
from ptir.models import CausalLM
from ptir.nn import KVCache
from ptir.runtime import LoadedModel
from ptir.tensor import Tensor

FORM = "gptrs"


def available(dtype: str) -> str | None:
    return None


def load(path: Path, dtype: str, threads: int) -> "Model":
    """`threads` are in the environment of the process."""
    return Model(ptir.load_model(path))


class Model:
    def __init__(self, loaded: LoadedModel) -> None:
        self.text = loaded.as_causal_lm()
        self.batch = Batch(loaded.model.as_causal_lm(), loaded.backend)
        self.one = None

    def prefill(self, ids: Array, room: int) -> Array:
        if len(ids) > 1:
            self.one = None
            return self.batch.prefill(ids, room)
        self.one = self.text.session(room)
        return self.one.feed(ids[0].tolist())[None]

    def decode(self, ids: Array) -> Array:
        if self.one is None:
            return self.batch.advance(ids[:, None])
        return self.one.feed(ids.tolist())[None]


class Batch:
    """Sequences of one length side by side."""

    def __init__(self, model: CausalLM, backend: str) -> None:
        def advance(ids: Tensor, cache: KVCache, past: Tensor) -> tuple[Tensor, KVCache]:
            hidden, new = model.hidden(ids, cache, past)
            return model.logits(hidden[:, -1]), cache if new is None else new

        self.model = model
        sizes = {"ids": {1: "T"}, "cache": {4: "C"}}
        self.step = ptir.compile(advance, state=["cache"], symbolic=sizes, backend=backend)
        self.past = 0

    def prefill(self, ids: Array, room: int) -> Array:
        self.cache, self.past = self.model.cache(len(ids), room), 0
        return self.advance(ids)

    def advance(self, ids: Array) -> Array:
        past = np.full(len(ids), self.past, np.int32)
        taken = ptir.as_tensor(ids.astype(np.int32)), self.cache, ptir.as_tensor(past)
        logits, self.cache = self.step(*taken)
        self.past += ids.shape[1]
        return logits.numpy()
