"""GPT-2: a pre-norm decoder with learned positions.

Radford and others 2019, "Language Models are Unsupervised Multitask Learners".
Parameter names and layouts are those that gpt.rs writes; linear weights are [in, out].
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from ptir import functional, nn
from ptir.checkpoint.error import shown
from ptir.nn import KVCache, Module
from ptir.tensor import Tensor, arange, as_tensor

from . import base
from .base import HuggingFace, ModelError, Stored, Weights

Count = Annotated[int, Meta(ge=1, le=1 << 24)]


class Config(base.Config, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`activation` is `gelu` (erf) or `gelu_tanh`, what the published GPT-2 was trained with."""

    vocab_size: Count = 50257
    context_length: Count = 1024
    embed_dim: Count = 768
    num_layers: Annotated[int, Meta(ge=0, le=4096)] = 12
    num_heads: Count = 12
    mlp_ratio: Count = 4
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # of the training; not applied
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    layer_norm_eps: Annotated[float, Meta(gt=0)] = 1e-5

    def check(self) -> None:
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is no multiple of {self.num_heads} heads")


@dataclass(eq=False)
class Block(Module):
    """Attention, then a feed-forward network, each on a normalised copy and added back."""

    attention: nn.CausalSelfAttention
    feed_forward: nn.FeedForward
    ln_1: nn.LayerNorm
    ln_2: nn.LayerNorm

    def __call__(
        self, x: Tensor, cache: KVCache | None, past: Tensor | None, layer: int
    ) -> tuple[Tensor, KVCache | None]:
        mixed, cache = self.attention(self.ln_1(x), cache, past, layer)
        x = x + mixed
        return x + self.feed_forward(self.ln_2(x)), cache


class Model(base.Model, base.CausalLM):
    """Token and position embeddings, blocks, a last layer norm and a head of its own."""

    config: Config

    def __init__(self, config: Config, weights: Weights) -> None:
        E, V = config.embed_dim, config.vocab_size
        self.config = config
        self.context_length = config.context_length
        self.vocab_size = V
        self.tok_embeddings = nn.Embedding(weights("tok_embeddings.weight", V, E))
        self.pos_embeddings = weights("pos_embeddings", config.context_length, E)
        self.blocks = [_block(config, weights, f"blocks.{i}") for i in range(config.num_layers)]
        self.final_ln = _layer_norm(config, weights, "final_ln")
        self.lm_head = weights("lm_head", E, V)

    def as_causal_lm(self) -> base.CausalLM:
        return self

    def forward(self, given: base.ModelInput) -> base.ModelOutput:
        """Logits f32 [B, T, vocab] of every position."""
        if not isinstance(given, base.Tokens):
            raise base.ModelError(f"a gpt takes Tokens, not {type(given).__name__}")
        ids = base.token_batch(given, self.vocab_size, self.context_length)
        hidden, _ = self.hidden(as_tensor(ids))
        return base.ModelOutput(self.logits(hidden))

    def cache(self, batch: int, capacity: int) -> KVCache:
        c = self.config
        depth, dtype = c.embed_dim // c.num_heads, self.tok_embeddings.weight.dtype
        return KVCache.empty(c.num_layers, batch, c.num_heads, capacity, depth, dtype)

    def hidden(
        self, ids: Tensor, cache: KVCache | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, KVCache | None]:
        positions = arange(ids.shape[1], "si32")
        if past is not None:
            positions = past.astype("si32").expand_dims(1) + positions  # (B, T)
        x = self.tok_embeddings(ids) + functional.embedding(positions, self.pos_embeddings)
        for layer, block in enumerate(self.blocks):
            x, cache = block(x, cache, past, layer)
        return self.final_ln(x), cache

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.lm_head).astype("f32")


def _block(config: Config, weights: Weights, at: str) -> Block:
    E, F = config.embed_dim, config.embed_dim * config.mlp_ratio
    attention = nn.CausalSelfAttention(
        weights(f"{at}.attention.w_qkv", E, 3 * E),
        weights(f"{at}.attention.b_qkv", 3 * E),
        weights(f"{at}.attention.w_out", E, E),
        weights(f"{at}.attention.b_out", E),
        num_heads=config.num_heads,
        num_kv_heads=config.num_heads,
    )
    feed_forward = nn.FeedForward(
        weights(f"{at}.feed_forward.w_in", E, F),
        weights(f"{at}.feed_forward.b_in", F),
        weights(f"{at}.feed_forward.w_out", F, E),
        weights(f"{at}.feed_forward.b_out", E),
        activation=config.activation,
    )
    return Block(
        attention,
        feed_forward,
        _layer_norm(config, weights, f"{at}.ln_1"),
        _layer_norm(config, weights, f"{at}.ln_2"),
    )


def _layer_norm(config: Config, weights: Weights, at: str) -> nn.LayerNorm:
    E = config.embed_dim
    return nn.LayerNorm(weights(f"{at}.gamma", E), weights(f"{at}.beta", E), config.layer_norm_eps)


# --- as Hugging Face keeps it ---

_ACTIVATIONS: dict[str, Literal["gelu", "gelu_tanh"]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_OPTIONS = {  # of config.json, with the only value that is computed
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
    "quantization_config": None,
}
_OUTER = {
    "tok_embeddings.weight": "wte.weight",
    "pos_embeddings": "wpe.weight",
    "final_ln.gamma": "ln_f.weight",
    "final_ln.beta": "ln_f.bias",
}
_BLOCK = {
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
_HEAD = "lm_head.weight"


class _Theirs(base.Config, frozen=True, forbid_unknown_fields=False, kw_only=True):
    """What matters here of config.json, with what is meant where a field is not there."""

    vocab_size: Count = 50257
    n_positions: Count = 1024
    n_embd: Count = 768
    n_layer: Annotated[int, Meta(ge=0, le=4096)] = 12
    n_head: Count = 12
    n_inner: Count | None = None
    resid_pdrop: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    layer_norm_epsilon: Annotated[float, Meta(gt=0)] = 1e-5
    activation_function: str = "gelu_new"
    tie_word_embeddings: bool = True

    def check(self) -> None:
        if self.activation_function not in _ACTIVATIONS:
            came = shown(self.activation_function)
            raise ValueError(f"activation_function {came} is none of {', '.join(_ACTIVATIONS)}")
        if self.n_inner is not None and self.n_inner % self.n_embd:
            raise ValueError(f"n_inner {self.n_inner} is no multiple of n_embd {self.n_embd}")
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is no multiple of n_head {self.n_head}")


def _config(fields: Mapping[str, Any]) -> Config:
    for name, computed in _OPTIONS.items():
        if fields.get(name, computed) is not computed:
            came = shown(fields[name])
            raise ModelError(f"config of a gpt: {name} is {came}; only {computed} is implemented")
    theirs = _Theirs.read(fields)
    return Config(
        vocab_size=theirs.vocab_size,
        context_length=theirs.n_positions,
        embed_dim=theirs.n_embd,
        num_layers=theirs.n_layer,
        num_heads=theirs.n_head,
        mlp_ratio=(theirs.n_inner or 4 * theirs.n_embd) // theirs.n_embd,
        dropout=theirs.resid_pdrop,
        activation=_ACTIVATIONS[theirs.activation_function],
        layer_norm_eps=theirs.layer_norm_epsilon,
    )


def _stored(fields: Mapping[str, Any], have: Collection[str]) -> dict[str, Stored]:
    """The linear weights are [in, out] as ours are; only a head, tied or not, is [out, in]."""
    config = _Theirs.read(fields)
    scope = "transformer." if any(name.startswith("transformer.") for name in have) else ""
    found = {ours: Stored(scope + theirs) for ours, theirs in _OUTER.items()}
    for i in range(config.n_layer):
        for ours, theirs in _BLOCK.items():
            found[f"blocks.{i}.{ours}"] = Stored(f"{scope}h.{i}.{theirs}")
    is_tied = config.tie_word_embeddings or _HEAD not in have
    head = found["tok_embeddings.weight"].name if is_tied else _HEAD
    return found | {"lm_head": Stored(head, turned=True)}


hugging_face = HuggingFace(
    "gpt2",
    _config,
    _stored,
    # Masks; and a head that is written though it is tied.
    ignored=r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)|lm_head\.weight",
)
