"""Broadcasts sink: what is computed on repeated values is computed before they are repeated."""

from ptir import ops
from ptir.ir import Node, Program, Variable, Wildcard, make, rewrite, rule

from .canonicalize import RULES as CHAINS
from .facts import BINARY, UNARY, Shape, is_uniform, may_refuse, respread, shape
from .within import within

x, y, z = Wildcard("x"), Wildcard("y"), Wildcard("z")
spread_x, spread_y, spread_z = (ops.broadcast_to(w) for w in (x, y, z))


def sink_broadcasts(program: Program) -> Program:
    return rewrite(program, within((*RULES, *CHAINS)))


@rule(*(op(spread_x) for op in UNARY))
def broadcast_after_unary(root: Node, x: Node) -> Node:
    return ops.broadcast_to(make(root.op, (x,), root.attrs), shape=shape(root))


@rule(*(op(spread_x, spread_y) for op in BINARY if op not in (ops.shift_left, ops.shift_right)))
def broadcast_after_binary(root: Node, x: Node, y: Node) -> Node | None:
    return _sunk(root)


@rule(ops.select(ops.broadcast_to(Wildcard("p")), spread_x, spread_y))
def broadcast_after_select(root: Node, p: Node, x: Node, y: Node) -> Node | None:
    return _sunk(root)


@rule(ops.clamp(spread_x, spread_y, spread_z))
def broadcast_after_clamp(root: Node, x: Node, y: Node, z: Node) -> Node | None:
    return _sunk(root)


def _sunk(root: Node) -> Node | None:
    """`root` on the smallest shape that all operands come from, repeated once."""
    if may_refuse(root.operands[0]) or may_refuse(root):
        return None
    sources = [node.operands[0] for node in root.operands]
    small = _joint([shape(s) for s in sources], shape(root))
    if small == shape(root):
        return None
    operands = tuple(_spread(s, small) for s in sources)
    return ops.broadcast_to(make(root.op, operands, root.attrs), shape=shape(root))


def _joint(shapes: list[Shape], full: Shape) -> Shape:
    """The shape that operands of these shapes broadcast to: axes of `full`, or 1."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    return tuple(
        1 if all(size == 1 for size in sizes) else want
        for *sizes, want in zip(*padded, full[len(full) - rank :], strict=True)
    )


def _spread(node: Node, to: Shape) -> Node:
    if shape(node) == to:
        return node
    return respread(node, to) if is_uniform(node) else ops.broadcast_to(node, shape=to)


@rule(ops.transpose(spread_x, perm=Variable("perm")))
def broadcast_after_transpose(root: Node, x: Node, perm: tuple[int, ...]) -> Node | None:
    if is_uniform(x):  # a number stays spread, also over ones: it would be transposed for ever
        return None
    padded = (1,) * (len(perm) - len(shape(x))) + shape(x)
    return ops.broadcast_to(
        ops.transpose(ops.reshape(x, shape=padded), perm=perm), shape=shape(root)
    )


@rule(
    ops.slice_(
        spread_x,
        starts=Variable("starts"),
        limits=Variable("limits"),
        strides=Variable("strides"),
    )
)
def broadcast_after_slice(
    root: Node, x: Node, starts: Shape, limits: Shape, strides: tuple[int, ...]
) -> Node:
    """Along an axis that is repeated, one element is as good as another."""
    new = len(starts) - len(shape(x))
    single = [size == 1 for size in shape(x)]
    cut = ops.slice_(
        x,
        starts=tuple(0 if one else n for one, n in zip(single, starts[new:], strict=True)),
        limits=tuple(1 if one else n for one, n in zip(single, limits[new:], strict=True)),
        strides=tuple(1 if one else n for one, n in zip(single, strides[new:], strict=True)),
    )
    return ops.broadcast_to(cut, shape=shape(root))


RULES = (
    broadcast_after_unary,
    broadcast_after_binary,
    broadcast_after_select,
    broadcast_after_clamp,
    broadcast_after_transpose,
    broadcast_after_slice,
)
