"""Functionals as somebody would write them with bare ops who has not read ours.

Operands stand in other orders where ops commute, constants are filled arrays, broadcasts are
written early, comparisons point the other way, attention of as many key as query heads has no axis
of groups. Arguments with a default are where a near miss gets something wrong.
"""

import math
from collections.abc import Sequence

import numpy as np

from ptir import ops
from ptir.ir import Node, Size, TensorType, constant

Shape = tuple[Size, ...]


def shape(x: Node) -> Shape:
    assert isinstance(x.type, TensorType)
    return x.type.shape


def number(value: float, like: Node) -> Node:
    """A constant that fills the shape of `like`, element by element."""
    assert isinstance(like.type, TensorType)
    return constant(np.full(like.type.static_shape, value), like.type.dtype)


def over(x: Node, like: Node, axes: Sequence[int]) -> Node:
    """`x` with its axes as these of `like`, repeated along the others."""
    to = shape(like)
    column = [to[axis] if axis in axes else 1 for axis in range(len(to))]
    return ops.broadcast_to(ops.reshape(x, shape=column), shape=to)


def last(x: Node, like: Node) -> Node:
    return ops.broadcast_to(x, shape=shape(like))


def along(x: Node, kind: str, axis: int, like: Node) -> Node:
    """A reduction without its axis, put back where it came from."""
    rest = [a for a in range(len(shape(like))) if a != axis % len(shape(like))]
    return over(ops.reduce(x, kind=kind, axes=axis), like, rest)


def softmax(x: Node, axis: int = -1, sum_axis: int | None = None) -> Node:
    e = ops.exp(ops.sub(x, along(x, "max", axis, x)))
    return ops.div(e, along(e, "sum", axis if sum_axis is None else sum_axis, x))


def log_softmax(x: Node) -> Node:
    centred = ops.sub(x, along(x, "max", -1, x))
    total = ops.reduce(ops.exp(centred), kind="sum", axes=-1, keepdims=True)
    return ops.sub(centred, last(ops.log(total), x))


def mean(x: Node, count: float | None = None) -> Node:
    total = ops.reduce(x, kind="sum", axes=-1)
    return ops.div(total, number(count or shape(x)[-1], total))  # type: ignore[arg-type]


def layer_norm(
    x: Node,
    gamma: Node,
    beta: Node | None = None,
    eps: float = 1e-5,
    swapped: bool = False,
    outside: bool = False,
    count: float | None = None,
) -> Node:
    rest = range(len(shape(x)) - 1)
    parts = x, over(mean(x), x, rest)
    centred = ops.sub(*(parts[::-1] if swapped else parts))
    variance = mean(ops.mul(centred, centred), count)
    small = number(eps, variance)
    scale = ops.add(ops.rsqrt(variance), small) if outside else ops.rsqrt(ops.add(small, variance))
    scaled = ops.mul(last(gamma, x), ops.mul(over(scale, x, rest), centred))
    return scaled if beta is None else ops.add(last(beta, x), scaled)


def rms_norm(x: Node, gamma: Node, eps: float = 1e-6, plain: bool = False) -> Node:
    square = mean(x if plain else ops.mul(x, x))
    scale = over(ops.rsqrt(ops.add(number(eps, square), square)), x, range(len(shape(x)) - 1))
    return ops.mul(last(gamma, x), ops.mul(scale, x))


def gelu(x: Node, half: float = 0.5, root: float = math.sqrt(0.5)) -> Node:
    gate = ops.add(ops.erf(ops.mul(number(root, x), x)), number(1, x))
    return ops.mul(gate, ops.mul(x, number(half, x)))


def gelu_tanh(x: Node, approximate: str = "tanh", cubic: float = 0.044715) -> Node:
    assert approximate == "tanh"
    cube = ops.mul(x, ops.mul(x, x))
    inner = ops.add(ops.mul(cube, number(cubic, x)), x)
    gate = ops.tanh(ops.mul(inner, number(math.sqrt(2 / math.pi), x)))
    return ops.mul(ops.add(gate, number(1, x)), ops.mul(x, number(0.5, x)))


def silu(x: Node) -> Node:
    return ops.mul(ops.logistic(x), x)


def swiglu(gate: Node, up: Node) -> Node:
    return ops.mul(up, silu(gate))


def linear(x: Node, weight: Node, bias: Node) -> Node:
    axis = len(shape(x)) - 1
    product = ops.dot_general(x, weight, contract_lhs=[axis], contract_rhs=[0])
    return ops.add(last(bias, product), product)


def rotary(x: Node, cos: Node, sin: Node, minus: bool = True, crossed: bool = True) -> Node:
    depth, half = shape(x)[-1], shape(cos)[-1]

    def channels(start: Size, stop: Size) -> Node:
        starts = (0, 0, 0, start)
        return ops.slice_(x, starts=starts, limits=(*shape(x)[:-1], stop))

    first, second = channels(0, half), channels(half, half + half)
    axes = (2, 3) if len(shape(cos)) == 2 else (0, 2, 3)
    c, s = over(cos, first, axes), over(sin, first, axes)
    turned = (ops.sub if minus else ops.add)(ops.mul(c, first), ops.mul(s, second))
    other = (first, second) if crossed else (second, first)
    parts = [turned, ops.add(ops.mul(s, other[0]), ops.mul(c, other[1]))]
    if half + half != depth:
        parts.append(channels(half + half, depth))
    return ops.concat(*parts, axis=-1)


def guarded(scores: Node, zero: float = 0) -> Node:
    """Softmax over the last axis in which a row of −inf alone becomes zeros."""
    rows = range(len(shape(scores)) - 1)
    top = ops.reduce(scores, kind="max", axes=-1)
    none = ops.compare(number(-math.inf, top), top, op="eq")
    e = ops.exp(ops.sub(scores, over(ops.select(none, number(zero, top), top), scores, rows)))
    total = ops.reduce(e, kind="sum", axes=-1)
    empty = ops.compare(number(0, total), total, op="eq")
    return ops.div(e, over(ops.select(empty, number(1, total), total), scores, rows))


def attention(
    q: Node,
    k: Node,
    v: Node,
    past: Node | None = None,
    lengths: Node | None = None,
    mask: Node | None = None,
    *,
    causal: bool = True,
    window: int | None = None,
    soft_cap: float | None = None,
    scale: float | None = None,
    strict: bool = False,
    scaled: bool = True,
    zero: float = 0,
) -> Node:
    """Attention of as many key heads as query heads: everything has the axes [B, H, T, S]."""
    depth = shape(q)[-1]
    assert isinstance(depth, int)
    factor = number(scale or 1 / math.sqrt(depth), q)
    turned = ops.transpose(k, perm=(0, 1, 3, 2))  # (B, H, D, S)
    dims = {"batch_lhs": [0, 1], "batch_rhs": [0, 1], "contract_lhs": [3], "contract_rhs": [2]}
    scores = ops.dot_general(ops.mul(factor, q) if scaled else q, turned, **dims)
    if soft_cap is not None:
        capped = ops.tanh(ops.mul(number(1 / soft_cap, scores), scores))
        scores = ops.mul(number(soft_cap, scores), capped)
    if mask is not None:
        scores = ops.add(last(mask, scores), scores)
    key, query = (ops.iota(shape=shape(scores), dtype="si32", axis=axis) for axis in (3, 2))
    if past is not None:
        query = ops.add(query, over(past, scores, (0,)))
    seen = []
    if causal:
        seen.append(ops.compare(query, key, op="gt" if strict else "ge"))
    if window is not None:
        seen.append(ops.compare(ops.sub(query, number(window, query)), key, op="lt"))
    if lengths is not None:
        seen.append(ops.compare(over(lengths, scores, (0,)), key, op="gt"))
    if seen:
        all_ = seen[0]
        for one in seen[1:]:
            all_ = ops.and_(one, all_)
        scores = ops.select(all_, scores, number(-math.inf, scores))
    return ops.dot_general(guarded(scores, zero), v, **dims)
