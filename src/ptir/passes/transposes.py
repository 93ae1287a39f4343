"""Transposes move toward the results until they meet their inverse or a contraction takes them in.

A pair around a channels-first stretch of a channels-last program vanishes by this.
"""

from collections.abc import Iterable

from ptir import ops
from ptir.ir import Literal, Node, Program, Rest, Size, Variable, Wildcard, make, rewrite, rule

from .canonicalize import RULES as CHAINS
from .facts import (
    BINARY,
    UNARY,
    Shape,
    inverse,
    is_uniform,
    respread,
    shape,
    tensor,
    without_ones,
)
from .within import within

Perm = tuple[int, ...]

x, y, z = Wildcard("x"), Wildcard("y"), Wildcard("z")
perm = Variable("perm")


def move_transposes(program: Program) -> Program:
    return rewrite(program, within((*RULES, *CHAINS)))


def is_cheap(node: Node) -> bool:
    """Whether a transpose of `node` costs nothing: a number, or one axis that is repeated."""
    if is_uniform(node):
        return True
    spread = node.op is ops.broadcast_to
    return spread and len(without_ones(shape(node.operands[0]))) <= 1


def reordered(node: Node, perm: Perm) -> Node:
    """`transpose(node, perm)` of a cheap node."""
    target = tuple(shape(node)[axis] for axis in perm)
    if is_uniform(node):
        return respread(node, target)
    (source,) = node.operands
    padded = (1,) * (len(perm) - len(shape(source))) + shape(source)
    moved = tuple(padded[axis] for axis in perm)  # at most one size is not 1: the order is kept
    return ops.broadcast_to(ops.reshape(source, shape=moved), shape=target)


cheap = Wildcard("y", where=is_cheap)
moved_x, moved_y, moved_z = (ops.transpose(w, perm=perm) for w in (x, y, z))


@rule(*(op(moved_x) for op in UNARY))
def transpose_after_unary(root: Node, x: Node, perm: Perm) -> Node:
    return ops.transpose(make(root.op, (x,), root.attrs), perm=perm)


@rule(*(op(moved_x, moved_y) for op in BINARY))
def transpose_after_binary(root: Node, x: Node, y: Node, perm: Perm) -> Node:
    return ops.transpose(make(root.op, _untransposed(root, perm), root.attrs), perm=perm)


@rule(
    *(op(moved_x, cheap) for op in BINARY),
    *(op(cheap, moved_x) for op in BINARY if not op.commutative),
)
def transpose_after_cheap_binary(root: Node, x: Node, y: Node, perm: Perm) -> Node:
    return ops.transpose(make(root.op, _untransposed(root, perm), root.attrs), perm=perm)


@rule(
    ops.select(ops.transpose(Wildcard("p"), perm=perm), moved_x, moved_y),
    ops.select(ops.transpose(Wildcard("p"), perm=perm), moved_x, cheap),
    ops.select(ops.transpose(Wildcard("p"), perm=perm), cheap, moved_x),
    ops.select(Wildcard("p", where=is_cheap), moved_x, moved_y),
    ops.select(Wildcard("p", where=is_cheap), moved_x, cheap),
    ops.select(Wildcard("p", where=is_cheap), cheap, moved_x),
    ops.clamp(moved_x, moved_y, moved_z),
    ops.clamp(moved_x, cheap, Wildcard("z", where=is_cheap)),
)
def transpose_after_choice(root: Node, perm: Perm, **found: Node) -> Node:
    return ops.transpose(make(root.op, _untransposed(root, perm), root.attrs), perm=perm)


def _untransposed(root: Node, perm: Perm) -> tuple[Node, ...]:
    """The operands before `perm`: without their transpose, or put into that order."""
    return tuple(
        n.operands[0]
        if n.op is ops.transpose and n.attrs["perm"] == perm
        else reordered(n, inverse(perm))
        for n in root.operands
    )


@rule(ops.concat(moved_x, Rest("rest"), axis=Variable("axis")))
def transpose_after_concat(x: Node, rest: tuple[Node, ...], axis: int, perm: Perm) -> Node | None:
    if not all(n.op is ops.transpose and n.attrs["perm"] == perm for n in rest):
        return None
    return ops.transpose(ops.concat(x, *(n.operands[0] for n in rest), axis=perm[axis]), perm=perm)


@rule(
    ops.slice_(
        moved_x,
        starts=Variable("starts"),
        limits=Variable("limits"),
        strides=Variable("strides"),
    )
)
def transpose_after_slice(
    x: Node, perm: Perm, starts: Shape, limits: Shape, strides: tuple[int, ...]
) -> Node:
    back = inverse(perm)
    cut = ops.slice_(
        x,
        starts=_picked(starts, back),
        limits=_picked(limits, back),
        strides=_picked(strides, back),
    )
    return ops.transpose(cut, perm=perm)


@rule(
    ops.pad(
        moved_x,
        low=Variable("low"),
        high=Variable("high"),
        interior=Variable("interior"),
        value=Variable("value"),
    )
)
def transpose_after_pad(
    x: Node, perm: Perm, low: Perm, high: Perm, interior: Perm, value: Literal
) -> Node:
    back = inverse(perm)
    padded = ops.pad(
        x,
        low=_picked(low, back),
        high=_picked(high, back),
        interior=_picked(interior, back),
        value=value,
    )
    return ops.transpose(padded, perm=perm)


@rule(ops.reverse(moved_x, axes=Variable("axes")))
def transpose_after_reverse(x: Node, perm: Perm, axes: Perm) -> Node:
    return ops.transpose(ops.reverse(x, axes=_picked(perm, axes)), perm=perm)


@rule(ops.reduce(moved_x, axes=Variable("axes"), keepdims=Variable("keepdims")))
def transpose_after_reduce(root: Node, x: Node, perm: Perm, axes: Perm, keepdims: bool) -> Node:
    reduced = make(root.op, (x,), {**root.attrs, "axes": _picked(perm, axes)})
    kept = perm if keepdims else tuple(a for n, a in enumerate(perm) if n not in axes)
    return ops.transpose(reduced, perm=tuple(sorted(kept).index(a) for a in kept))


def _picked(values: tuple[int, ...] | Shape, axes: Iterable[int]) -> tuple[Size, ...]:
    return tuple(values[axis] for axis in axes)


# --- contractions ---


@rule(ops.dot_general(moved_x, y))
def transpose_into_lhs(root: Node, x: Node, y: Node, perm: Perm) -> Node | None:
    return _absorbed(root, (x, y), "lhs", perm)


@rule(ops.dot_general(x, moved_y))
def transpose_into_rhs(root: Node, x: Node, y: Node, perm: Perm) -> Node | None:
    return _absorbed(root, (x, y), "rhs", perm)


def _absorbed(root: Node, operands: tuple[Node, Node], side: str, perm: Perm) -> Node | None:
    """The contraction of the operand before its transpose, if the axes that stay keep their order
    (those of size 1 need not).
    """
    batch, contract = root.attrs[f"batch_{side}"], root.attrs[f"contract_{side}"]
    have = shape(operands[side == "rhs"])
    free = [perm[a] for a in range(len(perm)) if a not in batch and a not in contract]
    wide = [axis for axis in free if have[axis] != 1]
    if wide != sorted(wide):
        return None
    moved = {f"batch_{side}": _picked(perm, batch), f"contract_{side}": _picked(perm, contract)}
    dot = make(root.op, operands, {**root.attrs, **moved})
    return dot if dot.type == root.type else ops.reshape(dot, shape=shape(root))


@rule(ops.transpose(ops.dot_general(x, y), perm=perm))
def transpose_of_dot(root: Node, x: Node, y: Node, perm: Perm) -> Node | None:
    """The batch axes in another order, or the operands exchanged, give the result in that order."""
    attrs = root.operands[0].attrs
    batch = len(attrs["batch_lhs"])
    left = tensor(x).rank - len(attrs["contract_lhs"])  # batch and lhs free axes come first
    rank = len(perm)
    if sorted(perm[:batch]) != list(range(batch)):
        return None
    kept, swapped = (*range(batch, rank),), (*range(left, rank), *range(batch, left))
    if perm[batch:] not in (kept, swapped):
        return None
    pairs = {side: _picked(attrs[f"batch_{side}"], perm[:batch]) for side in ("lhs", "rhs")}
    if perm[batch:] == kept:
        batches = {f"batch_{side}": axes for side, axes in pairs.items()}
        return ops.dot_general(x, y, **{**attrs, **batches})
    return ops.dot_general(
        y,
        x,
        batch_lhs=pairs["rhs"],
        batch_rhs=pairs["lhs"],
        contract_lhs=attrs["contract_rhs"],
        contract_rhs=attrs["contract_lhs"],
        accum_dtype=attrs["accum_dtype"],
        out_dtype=attrs["out_dtype"],
    )


RULES = (
    transpose_after_unary,
    transpose_after_binary,
    transpose_after_cheap_binary,
    transpose_after_choice,
    transpose_after_concat,
    transpose_after_slice,
    transpose_after_pad,
    transpose_after_reverse,
    transpose_after_reduce,
    transpose_into_lhs,
    transpose_into_rhs,
    transpose_of_dot,
)
