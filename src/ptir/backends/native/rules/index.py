"""Reading and writing at computed positions, windows, and tensors from numbers alone."""

from ptir.backends.native.lower import Lowering, Value, lowers
from ptir.backends.native.size import Extent, product
from ptir.backends.native.view import View
from ptir.ir import DType, Node, TensorType, dtype

from .functionals import take

KINDS = {"add": 0, "sum": 0, "mul": 1, "prod": 1, "max": 2, "min": 3, "replace": 4}
INTEGERS = ("si8", "ui8", "si16", "ui16", "si32", "ui32", "si64", "ui64")
COMBINED = frozenset(("i1", *INTEGERS, "bf16", "f16", "f32", "f64"))


def _element(node: Node) -> DType:
    assert isinstance(node.type, TensorType)
    return node.type.dtype


def _combines(node: Node) -> bool:
    """Whether kernels combine elements of this type: all do where one only replaces another."""
    return node.attrs.get("kind") == "replace" or _element(node).name in COMBINED


# --- reading ---


@lowers("take")
def _take(low: Lowering, node: Node) -> Value:
    x, indices = map(low.read, node.operands)
    return take(low, node, x, indices, node.attrs["axis"])


@lowers("gather")
def _gather(low: Lowering, node: Node) -> Value:
    x, indices = map(low.read, node.operands)
    made = low.result(node)
    low.call("gather", x, indices, made, node.attrs["axis"])
    return made


@lowers("gather_nd")
def _gather_nd(low: Lowering, node: Node) -> Value:
    x, indices = map(low.read, node.operands)
    made = low.result(node)
    depth = _depth(indices)
    rows, rest = product(indices.shape[:-1]), product(x.shape[depth:])
    table = low.reshape(x, (*x.shape[:depth], rest))
    low.call("gather_nd", table, _rows(low, indices), _as(made, (rows, rest)))
    return made


@lowers("dynamic_slice")
def _dynamic_slice(low: Lowering, node: Node) -> Value:
    x, start = map(low.read, node.operands)
    made = low.result(node)
    low.call("dynamic_slice", x, start, made)
    return made


def _depth(indices: View) -> int:
    """How many axes a row of indices addresses, which is always known."""
    depth = indices.shape[-1]
    assert isinstance(depth, int)
    return depth


def _rows(low: Lowering, indices: View) -> View:
    return low.reshape(indices, (product(indices.shape[:-1]), indices.shape[-1]))


def _as(made: View, shape: tuple[Extent, ...]) -> View:
    """Room for a result, which has no gaps, in another shape."""
    found = made.reshape(shape)
    assert found is not None
    return found


# --- writing ---


@lowers("dynamic_update_slice")
def _dynamic_update_slice(low: Lowering, node: Node) -> Value:
    update, start = map(low.read, node.operands[1:])
    made = low.updated(node)
    low.call("dynamic_update_slice", made, update, start)
    return made


@lowers("scatter", when=_combines)
def _scatter(low: Lowering, node: Node) -> Value:
    indices, updates = map(low.read, node.operands[1:])
    made = low.updated(node)
    kind = KINDS[node.attrs["kind"]]
    work = _work(low, node, made)
    low.call("scatter", made, indices, updates, work, node.attrs["axis"], kind)
    return made


@lowers("scatter_nd", when=_combines)
def _scatter_nd(low: Lowering, node: Node) -> Value:
    indices, updates = map(low.read, node.operands[1:])
    made = low.updated(node)
    depth = _depth(indices)
    rest = product(made.shape[depth:])
    target = _as(made, (*made.shape[:depth], rest))
    flat = low.reshape(updates, (product(indices.shape[:-1]), rest))
    kind = KINDS[node.attrs["kind"]]
    low.call("scatter_nd", target, _rows(low, indices), flat, _work(low, node, target), kind)
    return made


@lowers("segment_reduce", when=_combines)
def _segment_reduce(low: Lowering, node: Node) -> Value:
    data, ids = map(low.read, node.operands)
    made = low.result(node)
    rest = product(made.shape[1:])
    out = _as(made, (made.shape[0], rest))
    rows = low.reshape(data, (data.shape[0], rest))
    low.call("segment_reduce", out, ids, rows, _work(low, node, out), KINDS[node.attrs["kind"]])
    return made


def _work(low: Lowering, node: Node, out: View) -> View:
    """Where a kernel adds up: a wider tensor where the type of the result would round or wrap."""
    element, kind = out.dtype, node.attrs["kind"]
    if KINDS[kind] > KINDS["mul"]:
        return out
    if element.name in ("bf16", "f16"):
        return low.room(dtype("f32"), out.shape)
    if element.is_integer and kind in ("sum", "prod"):
        return low.room(dtype("si64" if element.kind == "int" else "ui64"), out.shape)
    return out


# --- windows ---


@lowers("extract_patches")
def _extract_patches(low: Lowering, node: Node) -> Value:
    x, made = low.read(node.operands[0]), low.result(node)
    attrs = node.attrs
    before = [low for low, _ in attrs["padding"]]
    axes = zip(attrs["window"], attrs["strides"], attrs["dilation"], before, strict=True)
    value = low.constant(attrs["value"].array)
    low.call("extract_patches", x, value, made, *(n for axis in axes for n in axis))
    return made


@lowers("reduce_window", when=_combines)
def _reduce_window(low: Lowering, node: Node) -> Value:
    x, made = low.read(node.operands[0]), low.result(node)
    attrs = node.attrs
    before = [low for low, _ in attrs["padding"]]
    spread = attrs["base_dilation"], attrs["window_dilation"]
    axes = zip(attrs["window"], attrs["strides"], before, *spread, strict=True)
    low.call("reduce_window", x, made, KINDS[attrs["kind"]], *(n for axis in axes for n in axis))
    return made


# --- numbers ---


@lowers("random_bits", when=lambda node: _element(node).kind == "uint")
def _random_bits(low: Lowering, node: Node) -> Value:
    key, made = low.read(node.operands[0]), low.result(node)
    low.call("random_bits", key, made)
    return made


@lowers("iota", when=lambda node: _element(node).name in COMBINED - {"i1"})
def _iota(low: Lowering, node: Node) -> Value:
    made = low.result(node)
    low.call("iota", made, node.attrs["axis"])
    return made
