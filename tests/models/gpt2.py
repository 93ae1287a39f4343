"""A GPT-2 of the transformers library with random weights, and its weights under our names."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from ptir.checkpoint import save

Arrays = dict[str, np.ndarray[Any, Any]]


def foreign(
    *, vocab: int, context: int, embed: int, layers: int, heads: int, activation: str, seed: int
) -> GPT2LMHeadModel:
    """The oracle, in eval mode. `activation` is our name of it."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocab,
        n_positions=context,
        n_embd=embed,
        n_layer=layers,
        n_head=heads,
        activation_function={"gelu": "gelu", "gelu_tanh": "gelu_new"}[activation],
        initializer_range=0.3,  # wide enough that every layer matters
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("bias", "ln_1.weight", "ln_2.weight", "ln_f.weight")):
                weight.add_(torch.randn_like(weight) * 0.1)  # they start as zeros and ones
    return model


def write(model: GPT2LMHeadModel, path: Path, weights: Arrays | None = None) -> None:
    """The same model as a checkpoint of kind `gpt`; `weights` may hold its arrays narrower."""
    c = model.config
    config = {
        "vocab_size": c.vocab_size,
        "context_length": c.n_positions,
        "embed_dim": c.n_embd,
        "num_layers": c.n_layer,
        "num_heads": c.n_head,
        "mlp_ratio": 4,
        "dropout": 0.0,
        "activation": "gelu" if c.activation_function == "gelu" else "gelu_tanh",
    }
    save(path, kind="gpt", config=config, tensors=weights or arrays(model))


def arrays(model: GPT2LMHeadModel) -> Arrays:
    """Weights by our names. Both keep linear weights as [in, out]; only the head is transposed."""
    state = {name: t.detach().numpy() for name, t in model.state_dict().items()}
    found = {
        "tok_embeddings.weight": state["transformer.wte.weight"],
        "pos_embeddings": state["transformer.wpe.weight"],
        "final_ln.gamma": state["transformer.ln_f.weight"],
        "final_ln.beta": state["transformer.ln_f.bias"],
        "lm_head": np.ascontiguousarray(state["lm_head.weight"].T),
    }
    parts = {
        "attention.w_qkv": "attn.c_attn.weight",
        "attention.b_qkv": "attn.c_attn.bias",
        "attention.w_out": "attn.c_proj.weight",
        "attention.b_out": "attn.c_proj.bias",
        "feed_forward.w_in": "mlp.c_fc.weight",
        "feed_forward.b_in": "mlp.c_fc.bias",
        "feed_forward.w_out": "mlp.c_proj.weight",
        "feed_forward.b_out": "mlp.c_proj.bias",
        "ln_1.gamma": "ln_1.weight",
        "ln_1.beta": "ln_1.bias",
        "ln_2.gamma": "ln_2.weight",
        "ln_2.beta": "ln_2.bias",
    }
    for i in range(model.config.n_layer):
        for ours, theirs in parts.items():
            found[f"blocks.{i}.{ours}"] = state[f"transformer.h.{i}.{theirs}"]
    return found
