"""Causal self-attention and its cache of keys and values."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from ptir import functional
from ptir.ir import DTypeLike, Size, SpecError
from ptir.tensor import Tensor, arange, concat, zeros

from .module import Module


class KVCache(NamedTuple):
    """Keys and values of all layers: one tensor [layers, 2, batch, kv_heads, capacity, head_dim].

    One tensor, so that a step takes and gives back one state, however many layers there are. How
    much of a sequence's row is filled is not the cache's to know: callers pass `past`. A step on
    fewer sequences than there are rows works on the first of them.
    """

    data: Tensor

    @staticmethod
    def empty(
        layers: int,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: DTypeLike = "f32",
    ) -> "KVCache":
        """A cache of zeros."""
        return KVCache(zeros((layers, 2, batch, kv_heads, capacity, head_dim), dtype))

    @property
    def batch(self) -> Size:
        return self.data.shape[2]

    @property
    def capacity(self) -> Size:
        return self.data.shape[4]

    def updated(self, layer: int, k: Tensor, v: Tensor, past: Tensor) -> "KVCache":
        """With k and v [B, kv_heads, T, head_dim] behind `past[b]` positions of a layer, in the
        first B rows.
        """
        return KVCache(functional.update_cache(self.data, k, v, past, layer=layer))

    def of(self, layer: int, batch: Size) -> tuple[Tensor, Tensor]:
        """The keys and the values of a layer, each [batch, kv_heads, capacity, head_dim], of the
        first `batch` rows.
        """
        return self.data[layer, 0, :batch], self.data[layer, 1, :batch]

    def grown(self, capacity: Size, batch: Size | None = None) -> "KVCache":
        """The same contents in a cache of more positions, and of more rows."""
        return KVCache(_grown(_grown(self.data, 4, capacity), 2, batch or self.batch))


def _grown(data: Tensor, axis: int, size: Size) -> Tensor:
    """With zeros behind, up to a size of the axis."""
    room = size - data.shape[axis]
    if room == 0:
        return data
    if not isinstance(room, int) or room < 0:
        what = {2: "batch", 4: "capacity"}[axis]
        raise SpecError("shape", "KVCache", f"{what} {data.shape[axis]} does not grow to {size}")
    more = (*data.shape[:axis], room, *data.shape[axis + 1 :])
    return concat([data, zeros(more, data.dtype)], axis=axis)


@dataclass(eq=False)
class CausalSelfAttention(Module):
    """Grouped-query attention of a sequence on itself, with packed projections.

    w_qkv [E, (num_heads + 2 · num_kv_heads) · head_dim] in the order q | k | v; w_out
    [num_heads · head_dim, E]. With tables cos and sin [context, r/2], q and k are rotated.
    """

    BUFFERS: ClassVar[frozenset[str]] = frozenset({"cos", "sin"})

    w_qkv: Tensor
    b_qkv: Tensor | None
    w_out: Tensor
    b_out: Tensor | None
    num_heads: int
    num_kv_heads: int
    window: int | None = None
    soft_cap: float | None = None
    cos: Tensor | None = None
    sin: Tensor | None = None

    def __post_init__(self) -> None:
        packed, heads = self.w_qkv.shape[1], self.num_heads + 2 * self.num_kv_heads
        if not isinstance(packed, int) or packed % heads:
            message = f"w_qkv {self.w_qkv.type} does not divide into {heads} heads"
            raise SpecError("shape", "CausalSelfAttention", message)
        self.head_dim = packed // heads

    def __call__(
        self, x: Tensor, cache: KVCache | None = None, past: Tensor | None = None, layer: int = 0
    ) -> tuple[Tensor, KVCache | None]:
        """x [B, T, E] behind `past[b]` positions that a layer of the cache holds: the result
        [B, T, E] and the new cache. Without a cache the sequence stands alone.
        """
        if (cache is None) != (past is None):
            raise SpecError("operand", "CausalSelfAttention", "pass cache and past, or neither")
        q, k, v = self._heads(functional.linear(x, self.w_qkv, self.b_qkv))
        if self.cos is not None and self.sin is not None:
            cos, sin = self._rows(self.cos, x, past), self._rows(self.sin, x, past)
            q, k = functional.rotary(q, cos, sin), functional.rotary(k, cos, sin)
        if cache is not None and past is not None:
            cache = cache.updated(layer, k, v, past)
            k, v = cache.of(layer, x.shape[0])
        mixed = functional.attention(
            q, k, v, past, window=self.window, soft_cap=self.soft_cap
        )  # (B, H, T, D)
        B, _, T, _ = mixed.shape
        joined = mixed.transpose(0, 2, 1, 3).reshape(B, T, self.num_heads * self.head_dim)
        return functional.linear(joined, self.w_out, self.b_out), cache

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        B, T, _ = qkv.shape
        split = qkv.reshape(B, T, self.num_heads + 2 * self.num_kv_heads, self.head_dim)
        by_head = split.transpose(0, 2, 1, 3)  # (B, heads, T, D)
        k, v = self.num_heads, self.num_heads + self.num_kv_heads
        return by_head[:, :k], by_head[:, k:v], by_head[:, v:]

    def _rows(self, table: Tensor, x: Tensor, past: Tensor | None) -> Tensor:
        """The rows of a rotary table for the positions of x: [T, r/2] or [B, T, r/2]."""
        positions = arange(x.shape[1], "si32")
        if past is not None:
            positions = past.astype("si32").expand_dims(1) + positions
        return functional.embedding(positions, table)
