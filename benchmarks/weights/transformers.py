"""The weights as a folder that the transformers library loads."""

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.weights.gptrs import Weights

TOP = {
    "transformer.wte.weight": "tok_embeddings.weight",
    "transformer.wpe.weight": "pos_embeddings",
    "transformer.ln_f.weight": "final_ln.gamma",
    "transformer.ln_f.bias": "final_ln.beta",
}
BLOCK = {
    "ln_1.weight": "ln_1.gamma",
    "ln_1.bias": "ln_1.beta",
    "attn.c_attn.weight": "attention.w_qkv",
    "attn.c_attn.bias": "attention.b_qkv",
    "attn.c_proj.weight": "attention.w_out",
    "attn.c_proj.bias": "attention.b_out",
    "ln_2.weight": "ln_2.gamma",
    "ln_2.bias": "ln_2.beta",
    "mlp.c_fc.weight": "feed_forward.w_in",
    "mlp.c_fc.bias": "feed_forward.b_in",
    "mlp.c_proj.weight": "feed_forward.w_out",
    "mlp.c_proj.bias": "feed_forward.b_out",
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def write(weights: Weights, path: Path) -> None:
    model = GPT2LMHeadModel(_config(weights)).to(DTYPES[weights.dtype])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weights[_ours(name)].astype("float32")))
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


def _ours(name: str) -> str:
    if name in TOP:
        return TOP[name]
    _, _, block, part = name.split(".", 3)
    return f"blocks.{block}.{BLOCK[part]}"
