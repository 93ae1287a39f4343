"""Attention over a cache of keys and values, with all scores at once or block by block."""

import math

import numpy as np

from ptir import ops
from ptir.ir import Size, SpecError
from ptir.tensor import Tensor, arange, concat, full, lift, where, zeros

from . import check
from .benchmark import Array
from .define import Types, functional
from .loop import fold


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
    _check_mask(mask, (*q.shape[:3], k.shape[2]))
    check.count("attention", window=window)
    check.positive("attention", soft_cap=soft_cap, scale=scale)
    B, heads, T, D = q.shape
    groups, S = k.shape[1], k.shape[2]
    per_group = _ratio(heads, groups)
    scale = scale if scale is not None else 1 / math.sqrt(_static(D))

    grouped = check.wide(q).reshape(B, groups, per_group, T, D) * scale
    by_group = None if mask is None else _by_group(mask, groups, per_group).astype(grouped.dtype)
    scores = _scores(grouped, check.wide(k), soft_cap, by_group)
    seen = _visible(T, arange(S, "si32"), past, lengths, causal, window)
    if seen is not None:
        scores = where(seen, scores, -math.inf)
    mixed = _mix(_softmax_or_zero(scores), check.wide(v))
    return mixed.reshape(B, heads, T, v.shape[3]).astype(q.dtype)


@attention.implementation("blocked")
def _blocked(
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
    """Blocks of keys one after another: scores are never held for all keys at once.

    A running maximum and total rescale what was mixed so far (Milakov and Gimelshein 2018); blocks
    of √S keys (Rabe and Staats 2021). A number of keys that is not known is read key by key.
    """
    B, heads, T, D = q.shape
    groups, S, Dv = k.shape[1], k.shape[2], v.shape[3]
    per_group = _ratio(heads, groups)
    scale = scale if scale is not None else 1 / math.sqrt(_static(D))
    size = max(math.isqrt(S), 1) if isinstance(S, int) else 1
    grouped = check.wide(q).reshape(B, groups, per_group, T, D) * scale
    rows = (B, groups, per_group, T, 1)
    whole = None if mask is None else _by_group(mask, groups, per_group).astype(grouped.dtype)
    inputs = [_blocks(arange(S, "si32"), 0, size, S)]  # keys behind the last are numbered S
    inputs += [_blocks(check.wide(x), 2, size) for x in (k, v)]
    if whole is not None and whole.ndim and whole.shape[-1] != 1:
        inputs.append(_blocks(whole, whole.ndim - 1, size))

    def step(
        top: Tensor, total: Tensor, mixed: Tensor, key: Tensor, k: Tensor, v: Tensor, *part: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        scores = _scores(grouped, k, soft_cap, part[0] if part else whole)
        seen = _visible(T, key, past, lengths, causal, window)
        inside = key < S if isinstance(S, int) and S % size else None
        for condition in (seen, inside):
            scores = scores if condition is None else where(condition, scores, -math.inf)
        higher = top.maximum(scores.max(-1, keepdims=True))
        finite = where(higher == -math.inf, 0, higher)
        shrink, weights = ops.exp(top - finite), ops.exp(scores - finite)
        total = total * shrink + weights.sum(-1, keepdims=True)
        return higher, total, mixed * shrink + _mix(weights, v)

    start = full(rows, -math.inf, grouped.dtype), zeros(rows, grouped.dtype)
    _, total, mixed = fold(step, [*start, zeros((*rows[:-1], Dv), grouped.dtype)], inputs)
    return _divided(mixed, total).reshape(B, heads, T, Dv).astype(q.dtype)


def _blocks(x: Tensor, axis: int, size: int, filler: Size = 0) -> Tensor:
    """x with an axis cut into blocks of a size, blocks first; the last one is filled up."""
    length = x.shape[axis]
    if isinstance(length, int) and length % size:
        rest = (*x.shape[:axis], -length % size, *x.shape[axis + 1 :])
        x = concat([x, lift(filler, x).broadcast_to(rest)], axis)
    count = x.shape[axis] // size
    cut = x.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    return cut.transpose(axis, *(i for i in range(cut.ndim) if i != axis))


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


def _check_mask(mask: Tensor | None, scores: tuple[Size, ...]) -> None:
    if mask is None:
        return
    if not mask.dtype.is_float:
        message = f"mask is {mask.type}, wanted floats to add; use ptir.where(seen, 0.0, -math.inf)"
        raise SpecError("dtype", "attention", message)
    wanted = scores[max(len(scores) - mask.ndim, 0) :]
    fits = (size in (1, full) for size, full in zip(mask.shape, wanted, strict=False))
    if mask.ndim > len(scores) or not all(fits):
        sizes = ", ".join(map(str, scores))
        message = f"mask is {mask.type}, wanted what broadcasts to [B, Hq, T, S] = [{sizes}]"
        raise SpecError("shape", "attention", message)


def _ratio(heads: Size, groups: Size) -> int:
    if not isinstance(heads, int) or not isinstance(groups, int) or not groups or heads % groups:
        message = f"{heads} query heads do not divide among {groups} key heads"
        raise SpecError("shape", "attention", message)
    return heads // groups


def _static(depth: Size) -> int:
    if not isinstance(depth, int):
        raise SpecError("dim", "attention", f"the head size {depth} is symbolic; pass scale=")
    return depth


def _scores(q: Tensor, k: Tensor, soft_cap: float | None, mask: Tensor | None) -> Tensor:
    """q (B, groups, per_group, T, D) against k [B, groups, S, D]: (B, groups, per_group, T, S)."""
    scores: Tensor = ops.dot_general(
        q, k, batch_lhs=(0, 1), batch_rhs=(0, 1), contract_lhs=(4,), contract_rhs=(3,)
    )
    if soft_cap is not None:
        scores = ops.tanh(scores * (1 / soft_cap)) * soft_cap
    return scores if mask is None else scores + mask


def _mix(weights: Tensor, v: Tensor) -> Tensor:
    """Rows of v [B, groups, S, Dv] by weights (B, groups, per_group, T, S)."""
    mixed: Tensor = ops.dot_general(
        weights, v, batch_lhs=(0, 1), batch_rhs=(0, 1), contract_lhs=(4,), contract_rhs=(2,)
    )
    return mixed


def _visible(
    T: Size,  # noqa: N803 - sizes as in the docstring
    key: Tensor,
    past: Tensor | None,
    lengths: Tensor | None,
    causal: bool,
    window: int | None,
) -> Tensor | None:
    """Which query sees which of the keys at these positions [S], to be broadcast to
    (B, groups, per_group, T, S).
    """
    rows = (-1, 1, 1, 1, 1)  # one number for each sequence
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
    return _divided(e, e.sum(-1, keepdims=True))


def _divided(x: Tensor, total: Tensor) -> Tensor:
    """x / total; zeros of x stay zeros where the total is zero too."""
    return x / where(total == 0, lift(1, total), total)


attention.example(
    q="f32[2, 4, 3, 4]", k="f32[2, 2, 9, 4]", v="f32[2, 2, 9, 5]", past="si32[2]",
    lengths="si32[2]", mask="f32[4, 1, 9]",
)  # fmt: skip
attention.example(
    q="f32[1, 2, 5, 3]", k="f32[1, 2, 5, 3]", v="f32[1, 2, 5, 3]", window=2, soft_cap=2.0, scale=0.7
)
attention.example(
    q="f32[1, 3, 2, 4]", k="f32[1, 1, 7, 4]", v="f32[1, 1, 7, 4]", lengths="si64[1]", causal=False
)
attention.example(
    q="f32[2, 2, 4, 3]", k="f32[2, 1, 4, 3]", v="f32[2, 1, 4, 3]", past="si32[2]",
    lengths="si32[2]", mask="f32[2, 1, 4, 4]",
)  # fmt: skip


@attention.sampler
def _positions(types: Types, random: np.random.Generator) -> dict[str, Array]:
    """The last of the positions, all keys in use: what a full cache asks for."""
    (B, _, T, _), S = types["q"].static_shape, types["k"].static_shape[2]
    return {"past": np.full(B, max(S - T, 0)), "lengths": np.full(B, S)}
