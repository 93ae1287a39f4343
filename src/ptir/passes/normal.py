"""A normal form: graphs that say one thing in different words get one node for it.

It is exact and serves comparison; what it makes is never run. Levelled are axes of size 1, the
place of a broadcast, the order in which operands may stand, and attributes that say the default.
"""

from collections.abc import Iterable, Sequence

from ptir import ops
from ptir.ir import CONSTANT, Node, Op, Size, TensorType, constant, make, postorder, uniform_value
from ptir.ops.accumulate import sum_accumulator
from ptir.ops.linear import dot_accumulator

from .facts import ELEMENTWISE, element, inverse, may_refuse, shape, tensor, without_ones

Axes = tuple[int, ...]

MIRRORED = {"ge": "le", "gt": "lt"}
SYMMETRIC = frozenset({"eq", "ne"})


def same_value(a: Node, b: Node, given: Iterable[Node], limit: int) -> bool:
    """Whether `a` and `b` are surely one function of `given`; looks at no more than `limit` nodes
    of each.
    """
    if a is b:
        return True
    form = NormalForm(given)
    return a.type == b.type and form.reaches(a, limit) and form.reaches(b, limit) and form.equal()


class NormalForm:
    """Nodes without axes of size 1, and what each stands for as a spread of something smaller."""

    def __init__(self, given: Iterable[Node]) -> None:
        self.done = {node: _squeezed(node) for node in given}
        # A broadcast: what is spread, and which axes of the result are the axes of that.
        self.spreads: dict[Node, tuple[Node, Axes]] = {}
        self.roots: list[Node] = []

    def equal(self) -> bool:
        return len({self.done[root] for root in self.roots}) == 1

    def reaches(self, root: Node, limit: int) -> bool:
        """Put `root` in normal form; `False` if more than `limit` nodes lie above what is given."""
        for node in postorder(root, skip=frozenset(self.done)):
            if not limit:
                return False
            limit -= 1
            self.done[node] = self._level(node)
        self.roots.append(root)
        return True

    def _level(self, node: Node) -> Node:
        if not isinstance(node.type, TensorType):
            return self._as_it_stands(node)
        number = uniform_value(node)
        if number is not None:
            return self._spread(constant(number), (), without_ones(shape(node)))
        if node.op in ELEMENTWISE:
            return self._elementwise(node)
        levels = {
            CONSTANT: _squeezed,
            ops.iota: self._iota,
            ops.reshape: lambda n: _reshaped(self.done[n.operands[0]], without_ones(shape(n))),
            ops.broadcast_to: self._broadcast,
            ops.transpose: self._transpose,
            ops.reduce: self._reduce,
            ops.dot_general: self._dot,
        }
        return levels.get(node.op, self._as_it_stands)(node)

    def _as_it_stands(self, node: Node) -> Node:
        """The op itself, on operands in their own shapes."""
        operands = tuple(
            _reshaped(self.done[x], x.type.shape)
            if isinstance(x.type, TensorType)
            else self.done[x]
            for x in node.operands
        )
        return _squeezed(make(node.op, operands, node.attrs))

    # --- what only moves elements ---

    def _spread(self, base: Node, axes: Axes, to: tuple[Size, ...]) -> Node:
        """`base` with its axes as these of the shape `to`, repeated along the others."""
        if base in self.spreads:
            inner, places = self.spreads[base]
            return self._spread(inner, tuple(axes[place] for place in places), to)
        if len(axes) == len(to):
            return base
        column = tuple(size if axis in axes else 1 for axis, size in enumerate(to))
        made: Node = ops.broadcast_to(_reshaped(base, column), shape=to)
        self.spreads[made] = (base, axes)
        return made

    def _parts(self, node: Node) -> tuple[Node, Axes]:
        return self.spreads.get(node, (node, tuple(range(tensor(node).rank))))

    def _iota(self, node: Node) -> Node:
        axis, sizes = node.attrs["axis"], shape(node)
        to = without_ones(sizes)
        if sizes[axis] == 1:
            return self._spread(constant(0, element(node)), (), to)
        count = ops.iota(shape=(sizes[axis],), dtype=element(node), axis=0)
        return self._spread(count, (_kept(sizes)[axis],), to)

    def _broadcast(self, node: Node) -> Node:
        sizes, to = shape(node.operands[0]), shape(node)
        lead, kept = len(to) - len(sizes), _kept(to)
        axes = tuple(kept[lead + axis] for axis, size in enumerate(sizes) if size != 1)
        return self._spread(self.done[node.operands[0]], axes, without_ones(to))

    def _transpose(self, node: Node) -> Node:
        kept = _kept(shape(node.operands[0]))
        perm = tuple(kept[axis] for axis in node.attrs["perm"] if axis in kept)
        base, axes = self._parts(self.done[node.operands[0]])
        places = [inverse(perm)[axis] for axis in axes]
        order = tuple(sorted(range(len(places)), key=places.__getitem__))
        to = without_ones(shape(node))
        return self._spread(_transposed(base, order), tuple(sorted(places)), to)

    # --- what computes ---

    def _elementwise(self, node: Node) -> Node:
        """The op on the smallest operands that tell its results apart, then spread."""
        operands = [self.done[x] for x in node.operands]
        if node.op is ops.cast and node.type == node.operands[0].type:
            return operands[0]
        to, parts = without_ones(shape(node)), [self._parts(x) for x in operands]
        used = tuple(sorted({axis for _, axes in parts for axis in axes}))
        if len(used) == len(to) or may_refuse(node):
            return _ordered(node, operands)
        small = tuple(to[axis] for axis in used)
        operands = [self._spread(base, tuple(map(used.index, axes)), small) for base, axes in parts]
        return self._spread(_ordered(node, operands), used, to)

    def _reduce(self, node: Node) -> Node:
        x, kind = node.operands[0], node.attrs["kind"]
        kept = _kept(shape(x))
        axes = tuple(kept[axis] for axis in node.attrs["axes"] if axis in kept)
        data = self.done[x]
        if kind not in ("sum", "prod"):
            return _reduced(data, axes, kind=kind) if axes else data
        if not axes:  # of one element: not that element, for a sum of one −0 is 0
            data, axes = _with_one(data), (tensor(data).rank,)
        return _reduced(data, axes, kind=kind, **_dtypes(node, sum_accumulator(element(x))))

    def _dot(self, node: Node) -> Node:
        lhs, rhs = node.operands
        a = node.attrs
        left, right = _kept(shape(lhs)), _kept(shape(rhs))
        batch = _pairs(a["batch_lhs"], left, a["batch_rhs"], right)
        contract = sorted(_pairs(a["contract_lhs"], left, a["contract_rhs"], right))
        one, other = self.done[lhs], self.done[rhs]
        if not contract and a["contract_lhs"]:
            contract = [(tensor(one).rank, tensor(other).rank)]
            one, other = _with_one(one), _with_one(other)
        x, batch_x, contract_x = _untransposed(
            one, tuple(p for p, _ in batch), tuple(p for p, _ in contract)
        )
        y, batch_y, contract_y = _untransposed(
            other, tuple(p for _, p in batch), tuple(p for _, p in contract)
        )
        axes = {"batch_lhs": batch_x, "batch_rhs": batch_y}
        axes |= {"contract_lhs": contract_x, "contract_rhs": contract_y}
        return make(ops.dot_general, (x, y), {**axes, **_dtypes(node, dot_accumulator(element(x)))})


def _kept(sizes: Sequence[Size]) -> dict[int, int]:
    """Where the axes whose size is not 1 stand when the others are gone."""
    axes = [axis for axis, size in enumerate(sizes) if size != 1]
    return {axis: place for place, axis in enumerate(axes)}


def _pairs(lhs: Axes, left: dict[int, int], rhs: Axes, right: dict[int, int]) -> list[Axes]:
    return [(left[a], right[b]) for a, b in zip(lhs, rhs, strict=True) if a in left]


def _squeezed(node: Node) -> Node:
    if not isinstance(node.type, TensorType):
        return node
    return _reshaped(node, without_ones(shape(node)))


def _reshaped(node: Node, to: tuple[Size, ...]) -> Node:
    base = node.operands[0] if node.op is ops.reshape else node
    return base if shape(base) == to else make(ops.reshape, (base,), {"shape": to})


def _with_one(node: Node) -> Node:
    return _reshaped(node, (*shape(node), 1))


def _reduced(node: Node, axes: Axes, **attrs: object) -> Node:
    return make(ops.reduce, (node,), {"axes": axes, **attrs})


def _transposed(node: Node, perm: Axes) -> Node:
    if node.op is ops.transpose:
        perm, node = tuple(node.attrs["perm"][axis] for axis in perm), node.operands[0]
    return node if perm == tuple(range(len(perm))) else make(ops.transpose, (node,), {"perm": perm})


def _untransposed(node: Node, batch: Axes, contract: Axes) -> tuple[Node, Axes, Axes]:
    """A factor without the transpose around it, if its free axes keep their order."""
    if node.op is not ops.transpose:
        return node, batch, contract
    perm = node.attrs["perm"]
    free = [perm[axis] for axis in range(len(perm)) if axis not in batch + contract]
    if free != sorted(free):
        return node, batch, contract
    return node.operands[0], tuple(perm[a] for a in batch), tuple(perm[a] for a in contract)


def _ordered(node: Node, operands: list[Node]) -> Node:
    """The op on operands in the one order of the orders that mean the same."""
    op: Op = node.op
    attrs = dict(node.attrs)
    if op is ops.compare and attrs["op"] in MIRRORED:
        operands, attrs = operands[::-1], {"op": MIRRORED[attrs["op"]]}
    if op.commutative or (op is ops.compare and attrs["op"] in SYMMETRIC):
        operands = [*sorted(operands[:2], key=id), *operands[2:]]  # alive, so each has its own id
    return make(op, tuple(operands), attrs)


def _dtypes(node: Node, accumulator: object) -> dict[str, object]:
    """`accum_dtype` and `out_dtype` where they are not the defaults."""
    accum = node.attrs["accum_dtype"]
    told = element(node) is not element(node.operands[0])
    return {
        "accum_dtype": None if accum is accumulator else accum,
        "out_dtype": element(node) if told else None,
    }
