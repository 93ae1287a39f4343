"""Torch compiled: caches of one size, weights frozen into the program, one program for each shape.

What is compiled is the transformers library's model; the first call of a shape takes a minute.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel, StaticCache

from benchmarks.peers import torch as eager
from benchmarks.weights import Array

FORM, available = eager.FORM, eager.available


def load(path: Path, dtype: str, threads: int) -> "Model":
    torch._inductor.config.freezing = True
    torch._dynamo.config.recompile_limit = 64  # each batch size and length is a shape
    return Model(eager.pretrained(path, dtype, threads))


class Model:
    def __init__(self, model: GPT2LMHeadModel) -> None:
        self.model = model.requires_grad_(False)
        self.step = torch.compile(model, dynamic=False)
        self.caches: dict[tuple[int, int], StaticCache] = {}
        self.cache: Any = None
        self.past = 0

    def prefill(self, ids: Array, room: int) -> Array:
        size = len(ids), room
        if size not in self.caches:
            self.caches[size] = self._empty(*size)
        self.cache, self.past = self.caches[size], 0
        self.cache.reset()
        return self._advance(torch.from_numpy(ids).long())

    def decode(self, ids: Array) -> Array:
        return self._advance(torch.from_numpy(ids).long()[:, None])

    def _empty(self, sequences: int, room: int) -> StaticCache:
        c = self.model.config
        cache = StaticCache(config=c, max_cache_len=room)
        sizes = sequences, c.n_head, c.n_embd // c.n_head
        cache.early_initialization(*sizes, dtype=self.model.dtype, device=self.model.device)
        return cache

    @torch.no_grad()
    def _advance(self, ids: torch.Tensor) -> Array:
        positions = torch.arange(self.past, self.past + ids.shape[1])[None]
        self.past += ids.shape[1]
        given = {eager.CACHE: self.cache, "position_ids": positions}
        return (
            self.step(ids, use_cache=True, logits_to_keep=1, **given).logits[:, -1].float().numpy()
        )
