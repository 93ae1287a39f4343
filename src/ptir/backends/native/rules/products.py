"""Matrix products: every contraction as [batch…, M, K] · [batch…, K, N], transposes as strides."""

from collections.abc import Sequence

from ptir.backends.native.epilogue import PRODUCTS, THEN
from ptir.backends.native.fuse import LINEAR_ADD, NARROW
from ptir.backends.native.library import library
from ptir.backends.native.lower import MAX_RANK, Lowering, Value, lowers, shape_of
from ptir.backends.native.pack import PACKS
from ptir.backends.native.plan import Part
from ptir.backends.native.size import product
from ptir.backends.native.view import View
from ptir.ir import Node, TensorType
from ptir.ops.linear import dot_accumulator, free_axes

from .elementwise import chain_runs, chain_words

BIAS, RESIDUAL, PANELS, CHAIN = 1, 2, 4, 8  # flags of the kernel


def _multiplies(node: Node) -> bool:
    """Types that the kernel takes: floats that accumulate in f32, f64, and integers in their own
    accumulator.
    """
    x, made = node.operands[0].type, node.type
    assert isinstance(x, TensorType)
    assert isinstance(made, TensorType)
    accumulator = node.attrs["accum_dtype"] or dot_accumulator(x.dtype)
    if x.dtype.name in NARROW:
        return accumulator.name == "f32" and made.dtype.name in NARROW
    if x.dtype.name == "f64":
        return accumulator.name == made.dtype.name == "f64"
    if x.dtype.name not in ("si8", "ui8", "si32", "si64"):
        return False
    return bool(made.dtype is accumulator is dot_accumulator(x.dtype))


@lowers("dot_general", when=_multiplies)
def _dot_general(low: Lowering, node: Node) -> Value:
    x, w = map(low.read, node.operands)
    attrs = node.attrs
    batch_x, batch_w = attrs["batch_lhs"], attrs["batch_rhs"]
    contract_x, contract_w = attrs["contract_lhs"], attrs["contract_rhs"]
    rows = free_axes(x.rank, batch_x, contract_x)
    columns = free_axes(w.rank, batch_w, contract_w)
    left = _stacked(low, x, batch_x, rows, contract_x)
    right = _stacked(low, w, batch_w, contract_w, columns)
    made = low.result(node)
    out = made.reshape((*(x.shape[a] for a in batch_x), left.shape[-2], right.shape[-1]))
    assert out is not None
    low.call("dot", 0, left, right, out)
    return made


def _stacked(low: Lowering, view: View, batch: tuple[int, ...], *groups: tuple[int, ...]) -> View:
    """The axes in this order, each group as one."""
    ordered = view.transpose([*batch, *(axis for group in groups for axis in group)])
    kept = tuple(view.shape[axis] for axis in batch)
    sizes = tuple(product(view.shape[axis] for axis in group) for group in groups)
    return low.reshape(ordered, (*kept, *sizes))


def _linear_multiplies(node: Node) -> bool:
    return all(_is_narrow(x) for x in node.operands) and _is_narrow(node)


def _is_narrow(x: Node) -> bool:
    return isinstance(x.type, TensorType) and x.type.dtype.name in NARROW


@lowers(*(f"composite {name}" for name in (*PACKS, *PRODUCTS)), when=_linear_multiplies)
def _linear(low: Lowering, node: Node) -> Value:
    return _product(low, node, *_parts(low, node, node.attrs["name"]))


@lowers(
    *(f"composite {name}{THEN}" for name in PRODUCTS),
    when=lambda node: _linear_multiplies(node) and chain_runs(_chain_of(node)),
)
def _linear_then(low: Lowering, node: Node) -> Value:
    chain = _chain_of(node)
    (value,) = chain.operands
    assert isinstance(value.type, TensorType)
    words = chain_words(low, chain.attrs["body"], low.read(node.operands[0]))
    given = [library().dtypes[value.type.dtype.name], *words]
    return _product(low, node, *_parts(low, node, value.attrs["name"]), chain=given)


def _chain_of(node: Node) -> Node:
    """The elementwise composite that follows the product in a body."""
    (chain,) = node.attrs["body"].results
    assert isinstance(chain, Node)
    return chain


def _parts(low: Lowering, node: Node, name: str) -> tuple[View, View, list[View], list[View]]:
    """x, the weight, a bias and a residual, as the functional has them."""
    x, weight, *added = map(low.read, node.operands)
    return (x, weight, added[:-1], added[-1:]) if LINEAR_ADD in name else (x, weight, added, [])


def _product(
    low: Lowering,
    node: Node,
    x: View,
    weight: View,
    bias: list[View],
    residual: list[View],
    chain: Sequence[Part] = (),
) -> View:
    """x [..., I] · weight [I, O] or its panels, with a bias, a residual and a chain of elementwise
    instructions where there are any.
    """
    made = low.result(node)
    rows = product(x.shape[:-1])
    flat, out, *added = (low.reshape(view, (rows, view.shape[-1])) for view in (x, made, *residual))
    flags = (BIAS if bias else 0) | (RESIDUAL if residual else 0)
    if len(weight.shape) > 2:
        flags, weight = flags | PANELS, low.contiguous(weight)
    flags |= CHAIN if chain else 0
    low.call("dot", flags, flat, weight, out, *bias, *added, *chain)
    return made


def _matmul_multiplies(node: Node) -> bool:
    ranks = [len(shape_of(x.type)) for x in node.operands]
    return _linear_multiplies(node) and min(ranks) >= 2 and max(ranks) <= MAX_RANK


@lowers("composite matmul", when=_matmul_multiplies)
def _matmul(low: Lowering, node: Node) -> Value:
    a, b = map(low.read, node.operands)
    made = low.result(node)
    batch = made.shape[:-2]
    left = a.broadcast_to((*batch, *a.shape[-2:]))
    right = b.broadcast_to((*batch, *b.shape[-2:]))
    low.call("dot", 0, left, right, made)
    return made
