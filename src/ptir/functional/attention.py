"""Attention over a cache of keys and values, and the cache's update."""

import math

from ptir import ops
from ptir.ir import Size, SpecError
from ptir.tensor import Tensor, arange, as_tensor, where

from . import check
from .define import functional


@functional
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    past: Tensor | None = None,
    lengths: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    causal: bool = True,
    window: int | None = None,
    soft_cap: float | None = None,
    scale: float | None = None,
) -> Tensor:
    """`softmax(cap(q kᵀ · scale) + mask) v`, each query head reading the key head of its group.

    q [B, Hq, T, D]; k [B, Hkv, S, D]; v [B, Hkv, S, Dv] with Hq a multiple of Hkv; result
    [B, Hq, T, Dv]. Query t of sequence b stands at position `past[b] + t` (past [B], 0 if not
    given) and sees key j if all of these hold: `j ≤ position` (causal), `j > position − window`,
    `j < lengths[b]` (lengths [B]). mask is added to the scores and broadcasts to [B, Hq, T, S];
    `cap(s) = soft_cap · tanh(s / soft_cap)`; scale is 1/√D if not given. A query that sees no key
    gives zeros. Vaswani et al. 2017; grouped queries: Ainslie et al. 2023.
    """
    _check(q, k, v, past, lengths, causal)
    check.positive("attention", window=window, soft_cap=soft_cap, scale=scale)
    B, heads, T, D = q.shape
    groups, S = k.shape[1], k.shape[2]
    per_group = _ratio(heads, groups)
    scale = scale if scale is not None else 1 / math.sqrt(_static(D))

    grouped = check.wide(q).reshape(B, groups, per_group, T, D) * scale
    scores = ops.dot_general(  # (B, groups, per_group, T, S)
        grouped,
        check.wide(k),
        batch_lhs=(0, 1),
        batch_rhs=(0, 1),
        contract_lhs=(4,),
        contract_rhs=(3,),
    )
    if soft_cap is not None:
        scores = ops.tanh(scores * (1 / soft_cap)) * soft_cap
    if mask is not None:
        scores = scores + _by_group(mask, groups, per_group).astype(scores.dtype)
    seen = _visible(T, S, past, lengths, causal, window)
    if seen is not None:
        scores = where(seen, scores, -math.inf)
    weights = _softmax_or_zero(scores)
    mixed = ops.dot_general(  # (B, groups, per_group, T, Dv)
        weights,
        check.wide(v),
        batch_lhs=(0, 1),
        batch_rhs=(0, 1),
        contract_lhs=(4,),
        contract_rhs=(2,),
    )
    return mixed.reshape(B, heads, T, v.shape[3]).astype(q.dtype)


@functional
def update_cache(cache: Tensor, new: Tensor, past: Tensor) -> Tensor:
    """cache [B, H, C, D] with new [B, H, T, D] written at positions `past[b] …`.

    past [B] holds integers. A position outside the capacity C is an error, never a wild write.
    """
    check.floating("update_cache", cache=cache, new=new)
    check.rank("update_cache", 4, cache=cache, new=new)
    check.integers("update_cache", past=past)
    for axis in (0, 1, 3):
        whose = f"axis {axis} of cache"
        check.size("update_cache", "new", new, axis, cache.shape[axis], whose)
    check.rank("update_cache", 1, past=past)
    check.size("update_cache", "past", past, 0, cache.shape[0], "the batch")
    positions = past.expand_dims(1) + arange(new.shape[2], past.dtype)  # (B, T)
    rows = positions[:, None, :, None].broadcast_to(new.shape)
    return ops.scatter(cache, rows, new, axis=2, kind="replace")


def _check(
    q: Tensor, k: Tensor, v: Tensor, past: Tensor | None, lengths: Tensor | None, causal: bool
) -> None:
    check.floating("attention", q=q, k=k, v=v)
    check.rank("attention", 4, q=q, k=k, v=v)
    check.integers("attention", past=past, lengths=lengths)
    check.rank("attention", 1, past=past, lengths=lengths)
    check.size("attention", "k", k, 0, q.shape[0], "the batch of q")
    check.size("attention", "v", v, 0, q.shape[0], "the batch of q")
    check.size("attention", "k", k, 3, q.shape[3], "the head size of q")
    check.size("attention", "v", v, 1, k.shape[1], "the heads of k")
    check.size("attention", "v", v, 2, k.shape[2], "the positions of k")
    for name, t in (("past", past), ("lengths", lengths)):
        if t is not None:
            check.size("attention", name, t, 0, q.shape[0], "the batch of q")
    if causal and past is None and q.shape[2] != k.shape[2]:
        raise SpecError(
            "shape",
            "attention",
            f"{q.shape[2]} queries over {k.shape[2]} keys; pass past= to say where they stand",
        )


def _ratio(heads: Size, groups: Size) -> int:
    if not isinstance(heads, int) or not isinstance(groups, int) or not groups or heads % groups:
        message = f"{heads} query heads do not divide among {groups} key heads"
        raise SpecError("shape", "attention", message)
    return heads // groups


def _static(depth: Size) -> int:
    if not isinstance(depth, int):
        raise SpecError("dim", "attention", f"the head size {depth} is symbolic; pass scale=")
    return depth


def _visible(
    T: Size,  # noqa: N803 - sizes as in the docstring
    S: Size,  # noqa: N803 - as above
    past: Tensor | None,
    lengths: Tensor | None,
    causal: bool,
    window: int | None,
) -> Tensor | None:
    """Which query sees which key, to be broadcast to (B, groups, per_group, T, S)."""
    rows = (-1, 1, 1, 1, 1)  # one number for each sequence
    key = arange(S, "si32")  # (S)
    position = arange(T, "si32").expand_dims(1)  # (T, 1)
    if past is not None:
        position = past.astype("si32").reshape(rows) + position
    conditions = []
    if causal:
        conditions.append(key <= position)
    if window is not None:
        conditions.append(key > position - window)
    if lengths is not None:
        conditions.append(key < lengths.astype("si32").reshape(rows))
    seen = None
    for condition in conditions:
        seen = condition if seen is None else seen & condition
    return seen


def _by_group(mask: Tensor, groups: Size, per_group: int) -> Tensor:
    """A mask that broadcasts to [B, Hq, T, S] as one that broadcasts to (B, groups, per_group, T,
    S).
    """
    if mask.ndim < 3 or mask.shape[-3] == 1:
        return mask.expand_dims(-3) if mask.ndim >= 3 else mask
    return mask.reshape(*mask.shape[:-3], groups, per_group, *mask.shape[-2:])


def _softmax_or_zero(scores: Tensor) -> Tensor:
    """Softmax over the last axis in which a row of −inf alone becomes zeros."""
    top = scores.max(-1, keepdims=True)
    finite = where(top == -math.inf, 0, top)
    e = ops.exp(scores - finite)
    total = e.sum(-1, keepdims=True)
    return e / where(total == 0, as_tensor(1, total), total)
