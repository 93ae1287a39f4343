"""The weights as a folder that the transformers library loads."""

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.weights.gptrs import Weights
from ptir.models.gpt import hugging_face

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def write(weights: Weights, path: Path) -> None:
    model = GPT2LMHeadModel(_config(weights)).to(DTYPES[weights.dtype])
    theirs = dict(model.named_parameters())  # the head is one with the embedding
    stored = hugging_face.stored(model.config.to_dict(), theirs)
    with torch.no_grad():
        for ours, place in stored.items():
            if not place.turned:
                theirs[place.name].copy_(torch.from_numpy(weights[ours].astype("float32")))
    model.save_pretrained(path)


def _config(weights: Weights) -> GPT2Config:
    s = weights.shape
    return GPT2Config(
        vocab_size=s.vocab,
        n_positions=s.context,
        n_embd=s.embed,
        n_layer=s.layers,
        n_head=s.heads,
        activation_function="gelu_pytorch_tanh",  # the fused one of gelu_new
        bos_token_id=0,
        eos_token_id=0,
    )
