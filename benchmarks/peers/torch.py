"""Torch as it comes, through the transformers library: no compilation, a growing cache."""

from inspect import signature
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, GPT2LMHeadModel

from benchmarks.weights import Array

# The library renames the argument and the result.
CACHE = "cache" if "cache" in signature(GPT2LMHeadModel.forward).parameters else "past_key_values"


FORM = "transformers"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def available(dtype: str) -> str | None:
    return None


def load(path: Path, dtype: str, threads: int) -> "Model":
    return Model(pretrained(path, dtype, threads))


def pretrained(path: Path, dtype: str, threads: int) -> GPT2LMHeadModel:
    torch.set_num_threads(threads)
    return GPT2LMHeadModel.from_pretrained(path, dtype=DTYPES[dtype]).eval()


class Model:
    def __init__(self, model: GPT2LMHeadModel) -> None:
        self.model = model
        self.cache: Any = None

    def prefill(self, ids: Array, room: int) -> Array:
        self.cache = DynamicCache(config=self.model.config)
        return self._advance(torch.from_numpy(ids).long())

    def decode(self, ids: Array) -> Array:
        return self._advance(torch.from_numpy(ids).long()[:, None])

    @torch.inference_mode()
    def _advance(self, ids: torch.Tensor) -> Array:
        caches = {CACHE: self.cache}
        return (
            self.model(ids, use_cache=True, logits_to_keep=1, **caches)
            .logits[:, -1]
            .float()
            .numpy()
        )
