"""Reductions, running totals and order: kernels work along the last axes, which views make so."""

from collections.abc import Sequence

from ptir.backends.native.library import library
from ptir.backends.native.lower import Lowering, Value, lowers
from ptir.backends.native.size import product
from ptir.backends.native.view import View
from ptir.ir import Node, TensorType, TupleType, dtype
from ptir.ops.accumulate import sum_accumulator

from .index import COMBINED

KINDS = {"sum": 0, "prod": 1, "max": 2, "min": 3, "and": 4, "or": 5}
PARTS = 16  # of one long reduction that threads share
LONG = 1 << 16  # elements from which on it is shared
FEW = 16  # results up to which threads would have nothing to share otherwise
ORDERED = 1 << 18  # elements of a row that are ordered without more memory: ORDER_KEPT

WITH_PARTS, DESCENDING, WITH_WORKSPACE = 1 << 8, 1, 2


def _real(node: Node) -> bool:
    """Whether kernels take the elements of the operand and of the results."""
    types = [node.operands[0].type]
    types += node.type.items if isinstance(node.type, TupleType) else [node.type]
    return all(isinstance(t, TensorType) and t.dtype.name in COMBINED for t in types)


def _reduces(node: Node) -> bool:
    accumulator = node.attrs["accum_dtype"]
    return _real(node) and (accumulator is None or accumulator.name in COMBINED)


@lowers("reduce", when=_reduces)
def _reduce(low: Lowering, node: Node) -> Value:
    x, made = low.read(node.operands[0]), low.result(node)
    axes, kind = node.attrs["axes"], node.attrs["kind"]
    kept = [axis for axis in range(x.rank) if axis not in axes]
    source = x.transpose([*kept, *axes])
    out = made.reshape(source.shape[: len(kept)])
    assert out is not None
    accumulator = node.attrs["accum_dtype"]
    if accumulator is None:
        accumulator = sum_accumulator(x.dtype) if kind in ("sum", "prod") else x.dtype
    count, reduced = product(out.shape), product(x.shape[axis] for axis in axes)
    parts: list[View] = []
    if isinstance(count, int) and isinstance(reduced, int) and count <= FEW and reduced >= LONG:
        parts = [low.room(dtype("si64"), (PARTS, count))]
    flags = KINDS[kind] | (WITH_PARTS if parts else 0)
    number = library().dtypes[accumulator.name]
    low.call("reduce", flags, number, len(axes), source, out, *parts)
    return made


def _last(rank: int, axis: int) -> list[int]:
    """The order of axes that puts one of them last."""
    return [*(i for i in range(rank) if i != axis), axis]


@lowers("argmax", "argmin", when=_real)
def _argmax(low: Lowering, node: Node) -> Value:
    x, made = low.read(node.operands[0]), low.result(node)
    source = x.transpose(_last(x.rank, node.attrs["axis"]))
    out = made.reshape(source.shape[:-1])
    assert out is not None
    low.call(node.op.name, source, out)
    return made


@lowers("cumulative", when=_real)
def _cumulative(low: Lowering, node: Node) -> Value:
    x, made = low.read(node.operands[0]), low.result(node)
    order = _last(x.rank, node.attrs["axis"])
    kind, exclusive, reverse = (node.attrs[name] for name in ("kind", "exclusive", "reverse"))
    source, out = x.transpose(order), made.transpose(order)
    low.call("cumulative", KINDS[kind], int(exclusive), int(reverse), source, out)
    return made


@lowers("sort", when=_real)
def _sort(low: Lowering, node: Node) -> Value:
    return _ordered(low, node, "sort", node.attrs["descending"])


@lowers("top_k", when=_real)
def _top_k(low: Lowering, node: Node) -> Value:
    return _ordered(low, node, "top_k", node.attrs["largest"])


def _ordered(low: Lowering, node: Node, kernel: str, down: bool) -> Value:
    x, axis = low.read(node.operands[0]), node.attrs["axis"]
    assert isinstance(node.type, TupleType)
    made = [low.new(t) for t in node.type.items if isinstance(t, TensorType)]
    order = _last(x.rank, axis)
    length = x.shape[axis]
    more: Sequence[View] = ()
    if not isinstance(length, int) or length > ORDERED:
        more = [low.room(dtype("si64"), (length * 2,))]
    flags = (DESCENDING if down else 0) | (WITH_WORKSPACE if more else 0)
    low.call(kernel, flags, x.transpose(order), *(m.transpose(order) for m in made), *more)
    return tuple(made)
