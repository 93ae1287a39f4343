"""One spelling for each movement of data: chains become one op, ops that change nothing go."""

import numpy as np

from ptir import ops
from ptir.ir import (
    CONSTANT,
    OPS,
    Call,
    DType,
    Literal,
    Node,
    Program,
    Rest,
    Variable,
    Wildcard,
    rewrite,
    rule,
)

from . import pieces
from .facts import element, filled, is_uniform, respread, shape, without_ones
from .within import within

x, u = Wildcard("x"), Wildcard("u", where=is_uniform)
perm, inner_perm, dtype = Variable("perm"), Variable("inner_perm"), Variable("dtype")


def canonicalize(program: Program) -> Program:
    return rewrite(program, within(RULES))


@rule(ops.reshape(x), ops.broadcast_to(x), ops.cast(x))
def same_type(root: Node, x: Node) -> Node | None:
    return x if root.type == x.type else None


@rule(ops.transpose(x, perm=perm))
def same_order(x: Node, perm: tuple[int, ...]) -> Node | None:
    return x if perm == tuple(range(len(perm))) else None


@rule(ops.stop_gradient(x))
def no_derivative(x: Node) -> Node:
    return x


@rule(ops.reshape(ops.reshape(x)))
def reshape_of_reshape(root: Node, x: Node) -> Node:
    return ops.reshape(x, shape=shape(root))


@rule(ops.transpose(ops.transpose(x, perm=inner_perm), perm=perm))
def transpose_of_transpose(x: Node, perm: tuple[int, ...], inner_perm: tuple[int, ...]) -> Node:
    return ops.transpose(x, perm=tuple(inner_perm[axis] for axis in perm))


@rule(ops.broadcast_to(ops.broadcast_to(x)))
def broadcast_of_broadcast(root: Node, x: Node) -> Node:
    return ops.broadcast_to(x, shape=shape(root))


@rule(ops.transpose(x, perm=perm))
def transpose_of_ones(root: Node, x: Node, perm: tuple[int, ...]) -> Node | None:
    """Only axes of size 1 change places."""
    kept = [axis for axis in perm if shape(x)[axis] != 1]
    return ops.reshape(x, shape=shape(root)) if kept == sorted(kept) else None


@rule(ops.broadcast_to(x))
def broadcast_of_nothing(root: Node, x: Node) -> Node | None:
    """Only axes of size 1 are new. Numbers stay broadcast: that is how a constant is filled."""
    if is_uniform(x) or without_ones(shape(root)) != without_ones(shape(x)):
        return None
    return ops.reshape(x, shape=shape(root))


@rule(ops.broadcast_to(ops.reshape(x)))
def broadcast_of_leading_ones(root: Node, x: Node) -> Node | None:
    """A broadcast puts axes in front by itself."""
    (reshaped,) = root.operands
    before, after = shape(x), shape(reshaped)
    new = len(after) - len(before)
    if new < 0 or after[new:] != before or without_ones(after[:new]):
        return None
    return ops.broadcast_to(x, shape=shape(root))


@rule(ops.cast(ops.cast(x), dtype=dtype))
def cast_of_lossless_cast(root: Node, x: Node, dtype: DType) -> Node | None:
    return ops.cast(x, dtype=dtype) if is_lossless(element(x), element(root.operands[0])) else None


def is_lossless(have: DType, want: DType) -> bool:
    """Whether every value of `have` is one of `want`; with float infinities, so are they."""
    if have is want or have.kind == "bool":
        return True
    if want.is_integer:
        return have.is_integer and have.range[0] >= want.range[0] and have.range[1] <= want.range[1]
    if want.kind == "bool":
        return False
    return _digits(have) <= _digits(want) and _exponents(have) <= _exponents(want)


# Of each float dtype: bits of precision (the hidden one counted) and of exponent.
_FORMAT = {
    "f8e4m3": (4, 4),
    "f8e5m2": (3, 5),
    "bf16": (8, 8),
    "f16": (11, 5),
    "f32": (24, 8),
    "f64": (53, 11),
    "c64": (24, 8),
    "c128": (53, 11),
}


def _digits(of: DType) -> int:
    return of.bits if of.is_integer else _FORMAT[of.name][0]


def _exponents(of: DType) -> int:
    return 7 if of.is_integer else _FORMAT[of.name][1]


@rule(*(op(u) for op in OPS.values() if op.rearranges and op.arity == (1, 1)))
def uniform_stays_uniform(root: Node, u: Node) -> Node | None:
    spread = respread(u, shape(root))
    return None if spread is root else spread


@rule(Call(CONSTANT, (), {"value": Variable("value", lambda value: value.type.rank > 0)}))
def uniform_constant(root: Node, value: Literal) -> Node | None:
    """A filled array is kept as the number that fills it."""
    return filled(np.asarray(value.uniform), root) if value.uniform is not None else None


@rule(ops.item(ops.tuple_(Rest("items")), index=Variable("index")))
def item_of_tuple(items: tuple[Node, ...], index: int) -> Node:
    return items[index]


@rule(ops.reverse(x, axes=Variable("axes")))
def reverse_of_ones(x: Node, axes: tuple[int, ...]) -> Node | None:
    """An axis of one element, or of none, is its own reverse."""
    kept = tuple(axis for axis in axes if shape(x)[axis] not in (0, 1))
    if kept == axes and axes:
        return None
    return ops.reverse(x, axes=kept) if kept else x


@rule(ops.reverse(ops.reverse(x, axes=Variable("inner")), axes=Variable("axes")))
def reverse_of_reverse(x: Node, axes: tuple[int, ...], inner: tuple[int, ...]) -> Node:
    return ops.reverse(x, axes=sorted(set(axes) ^ set(inner)))


@rule(ops.tile(x, repeats=Variable("repeats")))
def tile_once(x: Node, repeats: tuple[int, ...]) -> Node | None:
    return x if all(n == 1 for n in repeats) else None


@rule(ops.reshape(ops.transpose(x, perm=perm)))
def reshape_of_transpose(root: Node, x: Node, perm: tuple[int, ...]) -> Node | None:
    """A reshape that only puts in or drops axes of size 1 goes first: transposes then meet."""
    target = shape(root)
    moved = [axis for axis in perm if shape(x)[axis] != 1]
    if without_ones(target) != tuple(shape(x)[axis] for axis in moved) or moved == sorted(moved):
        return None
    places = iter(sorted(range(len(moved)), key=moved.__getitem__))
    order = [axis for axis, size in enumerate(target) if size != 1]
    ranked = [order[place] for place in places]
    slots = iter(ranked)
    first = [next(slots) if size != 1 else axis for axis, size in enumerate(target)]
    small = ops.reshape(x, shape=tuple(target[axis] for axis in first))
    return ops.transpose(small, perm=tuple(first.index(axis) for axis in range(len(first))))


RULES = (
    same_type,
    same_order,
    no_derivative,
    uniform_stays_uniform,
    uniform_constant,
    reshape_of_reshape,
    transpose_of_transpose,
    broadcast_of_broadcast,
    transpose_of_ones,
    broadcast_of_nothing,
    broadcast_of_leading_ones,
    reshape_of_transpose,
    cast_of_lossless_cast,
    item_of_tuple,
    reverse_of_ones,
    reverse_of_reverse,
    tile_once,
    *pieces.RULES,
)
