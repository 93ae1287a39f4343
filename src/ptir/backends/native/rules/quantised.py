"""Affine quantisation: a scale for an axis or a group is read with strides of zero."""

from ptir.backends.native.fuse import NARROW
from ptir.backends.native.lower import MAX_RANK, Lowering, Value, lowers
from ptir.backends.native.size import Extent
from ptir.backends.native.view import View
from ptir.ir import Node, TensorType

INTEGERS = frozenset(("si4", "ui4", "si8", "ui8", "si16", "ui16", "si32", "ui32"))


def _quantises(node: Node) -> bool:
    """Whether it computes in f32, on integers that the kernel has."""
    types = [x.type for x in (*node.operands, node)]
    names = {t.dtype.name for t in types if isinstance(t, TensorType)}
    ranks = [t.rank for t in types if isinstance(t, TensorType)]
    grouped = node.attrs["group_size"] is not None
    static = all(t.is_static for t in types) or not grouped
    return names <= NARROW | INTEGERS and max(ranks) < MAX_RANK and static


@lowers("quantize", "dequantize", when=_quantises)
def _quantise(low: Lowering, node: Node) -> Value:
    x, scale, *zero = map(low.read, node.operands)
    made = low.result(node)
    axis, size = node.attrs["axis"], node.attrs["group_size"]
    grouped = axis is not None and scale.rank > 0 and size is not None
    split = _split(x.shape, axis, size) if grouped else x.shape
    source, out = low.reshape(x, split), made.reshape(split)
    assert out is not None
    spread = [_spread(low, view, split, axis, grouped) for view in (scale, *zero)]
    low.call(node.op.name, source, spread[0], spread[-1], out)
    return made


def _split(shape: tuple[Extent, ...], axis: int, size: int) -> tuple[Extent, ...]:
    """The shape with an axis as groups of so many."""
    length = shape[axis]
    assert isinstance(length, int)
    return (*shape[:axis], length // size, size, *shape[axis + 1 :])


def _spread(
    low: Lowering, scale: View, shape: tuple[Extent, ...], axis: int | None, grouped: bool
) -> View:
    """A scale or zero point for each element of `shape`."""
    if axis is not None and scale.rank > 0:
        after = axis + 1 if grouped else scale.rank
        rest = (1, *scale.shape[after:]) if grouped else (1,) * (len(shape) - axis - 1)
        scale = low.reshape(scale, (*scale.shape[:after], *rest))
    return scale.broadcast_to(shape)
