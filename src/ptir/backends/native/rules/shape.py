"""Ops that move nothing are views; those that must are copies into views of what they make."""

from dataclasses import replace

from ptir.backends.native.lower import Lowering, Value, lowers, shape_of
from ptir.backends.native.size import Extent, extent
from ptir.backends.native.view import View
from ptir.ir import Node


@lowers("stop_gradient")
def _same(low: Lowering, node: Node) -> Value:
    return low.value(node.operands[0])


@lowers("tuple")
def _tuple(low: Lowering, node: Node) -> Value:
    return tuple(low.value(x) for x in node.operands)


@lowers("item")
def _item(low: Lowering, node: Node) -> Value:
    value, index = low.value(node.operands[0]), int(node.attrs["index"])
    assert isinstance(value, tuple)
    return value[index]


@lowers("reshape")
def _reshape(low: Lowering, node: Node) -> Value:
    return low.reshape(low.read(node.operands[0]), shape_of(node.type))


@lowers("transpose")
def _transpose(low: Lowering, node: Node) -> Value:
    return low.read(node.operands[0]).transpose(node.attrs["perm"])


@lowers("broadcast_to")
def _broadcast_to(low: Lowering, node: Node) -> Value:
    return low.read(node.operands[0]).broadcast_to(shape_of(node.type))


@lowers("slice")
def _slice(low: Lowering, node: Node) -> Value:
    starts = [extent(start) for start in node.attrs["starts"]]
    x = low.read(node.operands[0])
    return x.slice(starts, shape_of(node.type), node.attrs["strides"])


@lowers("reverse")
def _reverse(low: Lowering, node: Node) -> Value:
    return low.read(node.operands[0]).reverse(node.attrs["axes"])


@lowers("concat")
def _concat(low: Lowering, node: Node) -> Value:
    made, axis = low.result(node), node.attrs["axis"]
    at: Extent = 0
    for operand in node.operands:
        piece = low.read(operand)
        starts = [at if i == axis else 0 for i in range(made.rank)]
        low.copy(piece, made.slice(starts, piece.shape))
        at = at + piece.shape[axis]
    return made


def _grows(node: Node) -> bool:
    """Padding that crops nothing and puts nothing between elements of an axis that may be empty."""
    low, high, interior = (node.attrs[name] for name in ("low", "high", "interior"))
    sizes = shape_of(node.operands[0].type)
    spread = all(
        not gap or (isinstance(n, int) and n) for n, gap in zip(sizes, interior, strict=True)
    )
    return spread and min((*low, *high), default=0) >= 0


@lowers("pad", when=_grows)
def _pad(low: Lowering, node: Node) -> Value:
    made, x = low.result(node), low.read(node.operands[0])
    low.call("fill", made, low.constant(node.attrs["value"].array))
    steps = [gap + 1 for gap in node.attrs["interior"]]
    low.copy(x, made.slice(node.attrs["low"], x.shape, steps))
    return made


@lowers("tile")
def _tile(low: Lowering, node: Node) -> Value:
    """Each axis is written as repeats × size, and read with a stride of zero over the repeats."""
    made, x = low.result(node), low.read(node.operands[0])
    if made.rank > 4:  # the copy has twice the axes
        return _by_axis(low, made, x, node.attrs["repeats"])
    shape: list[Extent] = []
    strides: list[Extent] = []
    for size, stride, repeat in zip(x.shape, x.strides, node.attrs["repeats"], strict=True):
        shape += [repeat, size]
        strides += [0, stride]
    spread = replace(x, shape=tuple(shape), strides=tuple(strides))
    into = made.reshape(tuple(shape))
    assert into is not None
    low.copy(spread, into)
    return made


def _by_axis(low: Lowering, made: View, x: View, repeats: tuple[int, ...]) -> View:
    """One repeat after another along the first axis that has some, then the next."""
    axis = next((i for i, n in enumerate(repeats) if n != 1), None)
    if axis is None:
        low.copy(x, made)
        return made
    rest = (*repeats[:axis], 1, *repeats[axis + 1 :])
    for number in range(repeats[axis]):
        starts = [x.shape[axis] * number if i == axis else 0 for i in range(x.rank)]
        shape = [n if i != axis else x.shape[axis] for i, n in enumerate(made.shape)]
        _by_axis(low, made.slice(starts, tuple(shape)), x, rest)
    return made
