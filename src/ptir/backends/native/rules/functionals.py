"""Functionals with a kernel of their own: norms, softmax, attention and its cache, rotary."""

from typing import Any

from ptir.backends.native.fuse import NARROW
from ptir.backends.native.lower import Lowering, Value, lowers
from ptir.backends.native.size import ceil_div, product
from ptir.backends.native.view import View
from ptir.ir import Node, TensorType, dtype

# Flags of the attention kernel, with its other constants.
CAUSAL, PAST, LENGTHS, MASK, SOFT_CAP, WINDOW, WORKSPACE = (1 << bit for bit in range(7))
CHUNK = 256  # keys that one thread reads in one go
FEW = 8  # queries for which a sequence is split among threads

GAMMA, BETA = 1, 2


def _narrow_floats(node: Node) -> bool:
    types = [x.type for x in (*node.operands, node)]
    return all(
        isinstance(t, TensorType) and (t.dtype.name in NARROW or not t.dtype.is_float)
        for t in types
    )


@lowers("composite layer_norm", when=_narrow_floats)
def _layer_norm(low: Lowering, node: Node) -> Value:
    x, gamma, *beta = map(low.read, node.operands)
    made = low.result(node)
    flags = GAMMA | (BETA if beta else 0)
    low.call("layer_norm", flags, float(_attribute(node, "eps")), x, made, gamma, *beta)
    return made


@lowers("composite rms_norm", when=_narrow_floats)
def _rms_norm(low: Lowering, node: Node) -> Value:
    x, gamma = map(low.read, node.operands)
    made = low.result(node)
    low.call("rms_norm", GAMMA, float(_attribute(node, "eps")), x, made, gamma)
    return made


@lowers("composite softmax", "composite log_softmax", when=_narrow_floats)
def _softmax(low: Lowering, node: Node) -> Value:
    x, made = low.read(node.operands[0]), low.result(node)
    axis = _attribute(node, "axis") % x.rank
    order = [i for i in range(x.rank) if i != axis] + [axis]
    logarithm = int(node.attrs["name"] == "log_softmax")
    low.call("softmax", logarithm, x.transpose(order), made.transpose(order))
    return made


def _attends(node: Node) -> bool:
    ids = [x.type for x in node.operands if not _float(x)]
    sizes = [t for t in ids if isinstance(t, TensorType) and t.dtype.is_integer]
    return _narrow_floats(node) and len(sizes) == len(ids)


def _float(node: Node) -> bool:
    return isinstance(node.type, TensorType) and node.type.dtype.is_float


@lowers("composite attention", when=_attends)
def _attention(low: Lowering, node: Node) -> Value:
    given = node.attrs["attributes"].get("given", ())
    q, k, v, *optional = map(low.read, node.operands)
    more = dict(zip(given, optional, strict=True))
    B, heads, T, D = q.shape
    S = k.shape[2]
    if "mask" in more:
        more["mask"] = more["mask"].broadcast_to((B, heads, T, S))
    scale, cap = _attribute(node, "scale"), _attribute(node, "soft_cap")
    window = _attribute(node, "window")
    flags = CAUSAL if _attribute(node, "causal") else 0
    for name, flag in (("past", PAST), ("lengths", LENGTHS), ("mask", MASK)):
        flags |= flag if name in more else 0
    flags |= SOFT_CAP if cap is not None else 0
    flags |= WINDOW if window is not None else 0
    assert isinstance(node.type, TensorType)
    made = low.new(node.type, order=(0, 2, 1, 3))  # so that joining the heads moves nothing
    extra = [more[name] for name in ("past", "lengths", "mask") if name in more]
    if isinstance(T, int) and T <= FEW:
        flags |= WORKSPACE
        partial = (B, heads, T, ceil_div(S, CHUNK), v.shape[3] + 2)
        extra.append(low.room(dtype("f32"), (product(partial),)))
    if scale is None:
        assert isinstance(D, int)
        scale = D**-0.5
    low.call(
        "attention", flags, float(scale), float(cap or 0), window or 0, q, k, v, made, *extra
    )  # fmt: skip
    return made


def _stores(node: Node) -> bool:
    cache, k, v, _ = (x.type for x in node.operands)
    assert isinstance(cache, TensorType)
    return all(isinstance(new, TensorType) and new.dtype is cache.dtype for new in (k, v))


@lowers("composite update_cache", when=_stores)
def _update_cache(low: Lowering, node: Node) -> Value:
    k, v, past = map(low.read, node.operands[1:])
    cache = low.updated(node)
    at = cache.item(_attribute(node, "layer"))
    low.call("update_cache", at.item(0), k, past)
    low.call("update_cache", at.item(1), v, past)
    return cache


@lowers("composite rotary", when=_narrow_floats)
def _rotary(low: Lowering, node: Node) -> Value:
    x, cos, sin = map(low.read, node.operands)
    made = low.result(node)
    tables = [t.broadcast_to((x.shape[0], *t.shape[-2:])) for t in (cos, sin)]
    low.call("rotary", x, *tables, made)
    return made


def _indexes(node: Node) -> bool:
    indices = node.operands[0].type
    return isinstance(indices, TensorType) and indices.dtype.is_integer


@lowers("composite embedding", when=_indexes)
def _embedding(low: Lowering, node: Node) -> Value:
    indices, weight = map(low.read, node.operands)
    return take(low, node, weight, indices, 0)


def take(low: Lowering, node: Node, x: View, indices: View, axis: int) -> View:
    """Slices of x along an axis, by indices."""
    outer, inner = product(x.shape[:axis]), product(x.shape[axis + 1 :])
    table = low.reshape(x, (outer, x.shape[axis], inner))
    made = low.result(node)
    flat = low.reshape(indices, (product(indices.shape),))
    out = made.reshape((outer, product(indices.shape), inner))
    assert out is not None
    low.call("take", table, flat, out)
    return made


def _attribute(node: Node, name: str) -> Any:
    return node.attrs["attributes"][name]
