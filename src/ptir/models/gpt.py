"""GPT-2: a pre-norm decoder with learned positions.

Radford and others 2019, "Language Models are Unsupervised Multitask Learners".
Parameter names and layouts are those that gpt.rs writes; linear weights are [in, out].
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from ptir import functional, nn
from ptir.nn import KVCache, Module
from ptir.tensor import Tensor, arange, as_tensor

from . import base
from .base import Weights

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
