"""Graphs that a pattern matches, with inputs: what the theorems about rules are tried on.

A pattern is built from its root down: each op says which operands could give the type that is
wanted of it. What does not work out is drawn again; a rule that never fires has no theorem.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from hypothesis import assume, reject
from hypothesis import strategies as st

from ptir import ops
from ptir.ir import (
    CONSTANT,
    DTYPES,
    Call,
    Dim,
    DType,
    Input,
    Literal,
    Node,
    Op,
    Pattern,
    Program,
    Rest,
    Rule,
    SpecError,
    TensorType,
    TupleType,
    Uniform,
    Variable,
    Wildcard,
    constant,
    dtype,
    make,
    param,
    tensor_type,
    type_of,
)
from ptir.passes.facts import ELEMENTWISE
from tests.elements import small
from tests.exact import edges
from tests.samples import by_op

A, B = Dim.symbol("A"), Dim.symbol("B")
SIZES = (0, 0, 1, 1, 2, 3, 5, A, B, A + 1, 2 * A)
COMMON = [dtype(name) for name in ("f32", "si32", "f16", "ui8", "i1", "f64", "si8", "c64", "bf16")]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Attributes = dict[str, Any]
Wanted = tuple[list[Any], Attributes]  # types of operands, attributes


class Impossible(Exception):  # noqa: N818 - no error: it says to draw again
    """No operands could give what is wanted."""


@dataclass
class Instance:
    """One graph that a rule's pattern matches, and values for its inputs and symbols."""

    root: Node
    inputs: list[Input]
    values: list[np.ndarray[Any, Any]]

    def program(self, root: Node) -> Program:
        return Program(tuple(self.inputs), (root,)).verify()


def instance(draw: Draw, rule: Rule, pattern: Pattern) -> tuple[Instance, Node]:
    """An instance of the pattern on which the rule fires, and what it fires to."""
    maker = _Maker(draw)
    wanted = draw(_root_types(pattern))
    try:
        root = maker.build(pattern, wanted)
    except (Impossible, SpecError):
        reject()
    new = rule.apply(root)
    assume(new is not None)
    assert new is not None
    return Instance(root, maker.inputs, maker.values()), new


# --- which dtypes a pattern can have ---


@cache
def possible(pattern: Pattern) -> tuple[DType, ...]:
    """The dtypes that a graph of this pattern may have."""
    if isinstance(pattern, Wildcard) and pattern.dtype is not None:
        return (pattern.dtype,)
    if not isinstance(pattern, Call) or pattern.op in (ops.cast, CONSTANT, ops.item, ops.tuple_):
        return tuple(DTYPES.values())
    if pattern.op in ELEMENTWISE:
        return tuple(dict.fromkeys(result for result, _ in _elementwise(pattern)))
    return possible(pattern.operands[0])


@cache
def _elementwise(pattern: Call) -> tuple[tuple[DType, DType], ...]:
    """(result dtype, dtype of the operands that are alike) for each dtype the op takes."""
    found = []
    alike = pattern.operands[1:] if pattern.op is ops.select else pattern.operands
    if pattern.op is ops.select and dtype("i1") not in possible(pattern.operands[0]):
        return ()
    for element in DTYPES.values():
        if all(element in possible(operand) for operand in alike):
            types = [tensor_type((), element)] * len(pattern.operands)
            if pattern.op is ops.select:
                types[0] = tensor_type((), "i1")
            attrs = {"op": "eq"} if pattern.op is ops.compare else {}
            try:
                node = make(pattern.op, tuple(map(param, range(3), types)), attrs)
            except SpecError:
                continue
            assert isinstance(node.type, TensorType)
            found.append((node.type.dtype, element))
    return tuple(found)


def _root_types(pattern: Pattern) -> st.SearchStrategy[TensorType]:
    elements = possible(pattern)
    common = [e for e in elements if e in COMMON]
    element = st.sampled_from(common) | st.sampled_from(elements) if common else st.sampled_from(
        elements
    )  # fmt: skip
    sizes = st.lists(st.sampled_from(SIZES), max_size=3)
    cubes = st.builds(lambda size, rank: [size] * rank, st.sampled_from([2, A]), st.integers(2, 3))
    return st.builds(tensor_type, sizes | sizes | cubes, element)


# --- building ---


@dataclass
class _Maker:
    """Builds one instance. Wildcards become inputs, or constants where that is asked."""

    draw: Draw
    inputs: list[Input] = field(default_factory=lambda: [Input(tensor_type((A, B), "i1"))])
    nodes: dict[str, Node] = field(default_factory=dict)
    rests: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    attrs: Attributes = field(default_factory=dict)
    seen: dict[Pattern, Node] = field(default_factory=dict)
    accumulates: bool = False
    number: Any = None  # of the last constant

    def build(self, pattern: Pattern, want: Any) -> Node:
        if isinstance(pattern, Wildcard):
            node = self.nodes.get(pattern.name) or self.leaf(pattern, want)
            self.nodes[pattern.name] = node
        elif isinstance(pattern, Uniform):
            return self.filled(pattern.value, want)
        else:
            assert isinstance(pattern, Call)
            node = self.seen.get(pattern) or self.call(pattern, want)
            self.seen[pattern] = node
        return node

    def leaf(self, pattern: Wildcard, want: Any) -> Node:
        """An input of the wanted type, or a constant if the pattern wants one."""
        for build in (self.input, self.anything_filled, self.anything_filled, *self._numbers(want)):
            known = len(self.inputs)
            node = build(want)
            if pattern.where is None or pattern.where(node):
                return node
            del self.inputs[known:]
        raise Impossible

    def input(self, want: Any) -> Node:
        self.inputs.append(Input(want))
        return param(len(self.inputs) - 1, want)

    def anything_filled(self, want: Any) -> Node:
        if not isinstance(want, TensorType):
            raise Impossible
        return self.filled(self.draw(st.sampled_from(list(_pool(want.dtype)))), want)

    def _numbers(self, want: Any) -> list[Callable[[Any], Node]]:
        if not isinstance(want, TensorType) or want.dtype.is_complex:
            return []
        numbers = [1, 0, -1, 2, 4, -np.inf, np.inf]
        if not want.dtype.is_float:
            numbers = [1, 0, *want.dtype.range, -1]
        return [partial(self.filled, n) for n in numbers]

    def filled(self, number: Any, want: TensorType) -> Node:
        try:
            one = constant(np.asarray(number).astype(want.dtype.numpy))
        except (OverflowError, TypeError):
            raise Impossible from None
        self.number = number
        if want.is_static and self.draw(st.integers(0, 3)) == 0:
            return constant(np.full(want.static_shape, one.attrs["value"].array))
        return ops.broadcast_to(one, shape=want.shape) if want.rank else one

    def call(self, pattern: Call, want: Any) -> Node:
        self.accumulates |= pattern.op in (ops.dot_general, ops.reduce, ops.cumulative)
        given = {
            name: self.attrs[v.name] if isinstance(v, Variable) else v
            for name, v in pattern.attrs.items()
            if not isinstance(v, Variable) or v.name in self.attrs
        }
        counts = self.counts(pattern, want)
        types, attrs = _propose(self.draw, pattern, want, given, sum(counts))
        if len(types) != sum(counts):
            raise Impossible
        operands: list[Node] = []
        for operand, count in zip(pattern.operands, counts, strict=True):
            some, types = types[:count], types[count:]
            operands.extend(self.operands(operand, some))
        if pattern.op.commutative and self.draw(st.booleans()):
            operands[:2] = operands[1::-1]
        node = make(pattern.op, tuple(operands), {**attrs, **given})
        for name, v in pattern.attrs.items():
            if isinstance(v, Variable):
                if v.where is not None and not v.where(node.attrs[name]):
                    raise Impossible
                self.attrs[v.name] = node.attrs[name]
        return node

    def counts(self, pattern: Call, want: Any) -> list[int]:
        """How many operands each part of the pattern stands for."""
        fixed = sum(not isinstance(x, Rest) for x in pattern.operands)
        if isinstance(want, TupleType):
            return [len(want.items) - fixed if isinstance(x, Rest) else 1 for x in pattern.operands]
        found = [
            self.draw(st.integers(0, 3)) if isinstance(x, Rest) else 1 for x in pattern.operands
        ]
        if sum(found) < pattern.op.arity[0]:
            raise Impossible
        return found

    def operands(self, pattern: Pattern, types: Sequence[Any]) -> tuple[Node, ...]:
        if not isinstance(pattern, Rest):
            return (self.build(pattern, types[0]),)
        if pattern.name not in self.rests:
            again = self.number is not None and self.draw(st.booleans())
            build = (lambda want: self.filled(self.number, want)) if again else self.input
            self.rests[pattern.name] = tuple(map(build, types))
        return self.rests[pattern.name]

    def values(self) -> list[np.ndarray[Any, Any]]:
        sizes = {name: self.draw(st.sampled_from([0, 1, 2, 3])) for name in ("A", "B")}
        rng = np.random.default_rng(self.draw(st.integers(0, 1 << 32)))
        types = [i.type.substitute(sizes) for i in self.inputs]
        assume(all(n >= 0 for t in types if isinstance(t, TensorType) for n in t.static_shape))
        return [_value(rng, t, self.accumulates) for t in types]


# --- values ---


@cache
def _pool(element: DType) -> np.ndarray[Any, Any]:
    """Edge values, small numbers and any bits at all."""
    small_ones = small(element, 12)
    if element.kind == "bool" or element.bits == 4:
        return np.concatenate([edges(element), small_ones])
    data = np.random.default_rng(1).integers(0, 256, 16 * element.numpy.itemsize, np.uint8)
    return np.concatenate([edges(element), small_ones, data.view(element.numpy)])


def _value(rng: Any, wanted: Any, accumulates: bool) -> Any:
    """Values of a type; where they are summed, sums of them are exact, infinities aside."""
    if isinstance(wanted, TupleType):
        return tuple(_value(rng, item, accumulates) for item in wanted.items)
    shape = wanted.static_shape
    pool = small(wanted.dtype, 24) if accumulates else _pool(wanted.dtype)
    if accumulates and wanted.dtype.is_float:
        special = [-0.0] * 4 + [np.inf, np.nan] * int(rng.integers(3) == 0)
        with np.errstate(invalid="ignore"):
            pool = np.concatenate([pool, np.array(special).astype(pool.dtype)])
    return np.asarray(rng.choice(pool, shape) if 0 not in shape else np.zeros(shape, pool.dtype))


# --- from the type that is wanted to operands that could give it ---


def _propose(draw: Draw, pattern: Call, want: Any, given: Attributes, count: int) -> Wanted:
    op = pattern.op
    if op in ELEMENTWISE:
        return _propose_elementwise(draw, pattern, want)
    if op in _PROPOSALS and (isinstance(want, TensorType) or op is ops.tuple_):
        return _PROPOSALS[op](draw, want, given, count)
    case = draw(st.sampled_from([c for c in by_op()[op.name].cases if len(c.operands) == count]))
    return [type_of(x) for x in case.operands], dict(case.attrs)


def _propose_elementwise(draw: Draw, pattern: Call, want: Any) -> Wanted:
    if not isinstance(want, TensorType):
        raise Impossible
    if pattern.op is ops.cast:
        have = possible(pattern.operands[0])
        element = want.dtype if draw(st.integers(0, 4)) == 0 else draw(st.sampled_from(have))
        return [want.with_dtype(element)], {"dtype": want.dtype}
    elements = [element for result, element in _elementwise(pattern) if result is want.dtype]
    if not elements:
        raise Impossible
    types = [want.with_dtype(draw(st.sampled_from(elements)))] * len(pattern.operands)
    if pattern.op is ops.select:
        types[0] = want.with_dtype(dtype("i1"))
    if pattern.op is ops.compare:
        return list(types), {"op": draw(st.sampled_from(["lt", "le", "eq", "ge", "gt", "ne"]))}
    return list(types), {}


def _transpose(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    perm = given.get("perm") or draw(st.permutations(range(want.rank)))
    if len(perm) != want.rank:
        raise Impossible
    shape: list[Any] = [None] * want.rank
    for axis, source in enumerate(perm):
        shape[source] = want.shape[axis]
    return [want.with_shape(shape)], {"perm": tuple(perm)}


def _reshape(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    shape = list(want.shape)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(shape)))
        step = draw(st.sampled_from(["one", "one", "drop", "merge", "split"]))
        if step == "one":
            shape.insert(at, 1)
        elif step == "drop" and shape[at : at + 1] == [1]:
            del shape[at]
        elif step == "merge" and at + 1 < len(shape):
            pair = shape[at : at + 2]
            if not all(isinstance(size, Dim) for size in pair):
                shape[at : at + 2] = [pair[0] * pair[1]]
        elif step == "split" and at < len(shape) and shape[at] in (0, 2 * A):
            shape[at : at + 1] = [2, 0 if shape[at] == 0 else A]
    return [want.with_shape(shape)], {"shape": want.shape}


def _broadcast_to(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    shape = list(want.shape[draw(st.integers(0, want.rank)) :])
    ones = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    small_shape = [1 if one else size for one, size in zip(ones, shape, strict=True)]
    return [want.with_shape(small_shape)], {"shape": want.shape}


def _slice(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    starts, limits, strides, shape = [], [], [], list[Any]()
    whole = draw(st.integers(0, 5)) == 0
    for size in want.shape:
        start = 0 if whole else draw(st.sampled_from([0, 1, 2, A]))
        stride = 1 if whole or isinstance(size, Dim) else draw(st.sampled_from([1, 2, 3]))
        slack = 0 if whole else draw(st.sampled_from([0, 0, 1]))
        span: Any = size if isinstance(size, Dim) else max(0, (size - 1) * stride + 1)
        starts.append(start)
        limits.append(start + span)
        strides.append(stride)
        shape.append(start + span + slack)
    attrs = {"starts": tuple(starts), "limits": tuple(limits), "strides": tuple(strides)}
    if "starts" in given or "limits" in given:
        shape = [limit + 1 for limit in given.get("limits", limits)]
    return [want.with_shape(shape)], attrs


def _concat(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    if not want.rank:
        raise Impossible
    axis: Any = given.get("axis", draw(st.integers(0, want.rank - 1)))
    if axis >= want.rank:
        raise Impossible
    sizes, rest = list[Any](), want.shape[axis]
    for _ in range(count - 1):
        if isinstance(rest, Dim):
            choices = [0, rest] + ([1] if rest.constant else []) + ([A] if rest == 2 * A else [])
        else:
            choices = list(range(rest + 1))
        sizes.append(draw(st.sampled_from(choices)))
        rest = rest - sizes[-1]
    parts = [(*want.shape[:axis], n, *want.shape[axis + 1 :]) for n in [*sizes, rest]]
    return [want.with_shape(part) for part in parts], {"axis": axis}


def _reduce(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    kinds = (
        ["max", "min", "sum", "prod"] if want.dtype.kind in ("int", "uint", "float") else ["sum"]
    )
    kind = given.get(
        "kind", draw(st.sampled_from([*kinds, *(["and", "or"] * (not want.dtype.is_float))]))
    )
    keepdims = given.get("keepdims", draw(st.booleans()))
    shape, axes = list(want.shape), list[int]()
    if keepdims:
        axes = [a for a, size in enumerate(shape) if size == 1 and draw(st.booleans())]
        for axis in axes:
            shape[axis] = draw(st.sampled_from(SIZES))
    elif "axes" in given:
        axes = list(given["axes"])
        for axis in axes:
            shape.insert(axis, draw(st.sampled_from(SIZES)))
    else:
        for _ in range(draw(st.integers(0, 2))):
            at = draw(st.integers(0, len(shape)))
            axes = [a + (a >= at) for a in axes] + [at]
            shape.insert(at, draw(st.sampled_from(SIZES)))
    return [want.with_shape(shape)], {"kind": kind, "axes": tuple(axes), "keepdims": keepdims}


def _dot_general(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    batch = draw(st.integers(0, want.rank))
    left = draw(st.integers(batch, want.rank))
    summed = [(f"k{n}", draw(st.sampled_from(SIZES))) for n in range(draw(st.integers(0, 2)))]
    named = [(n, size) for n, size in enumerate(want.shape)]
    sides, attrs = [], Attributes()
    for side, free in (("lhs", named[batch:left]), ("rhs", named[left:])):
        bound = draw(st.permutations([*named[:batch], *summed]))
        order = draw(st.permutations([True] * len(bound) + [False] * len(free)))
        first, second = iter(bound), iter(free)
        axes = [next(first) if b else next(second) for b in order]
        names = [name for name, _ in axes]
        attrs[f"batch_{side}"] = tuple(names.index(n) for n, _ in named[:batch])
        attrs[f"contract_{side}"] = tuple(names.index(n) for n, _ in summed)
        sides.append(want.with_shape([size for _, size in axes]))
    return sides, attrs


def _pad(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    edge = st.sampled_from([0, 0, 1, 2, -1])
    low = [0] * want.rank if (none := draw(st.booleans())) else [draw(edge) for _ in want.shape]
    high = [0] * want.rank if none else [draw(edge) for _ in want.shape]
    shape = [size - a - b for size, a, b in zip(want.shape, low, high, strict=True)]
    value = Literal(draw(st.sampled_from(list(_pool(want.dtype)))))
    return [want.with_shape(tensor_type(shape, want.dtype).shape)], {
        "low": tuple(low), "high": tuple(high), "value": value,
    }  # fmt: skip


def _reverse(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    axes = [axis for axis in range(want.rank) if draw(st.booleans())]
    return [want], {"axes": tuple(axes)}


def _tile(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    repeats = [
        draw(st.sampled_from([n for n in (1, 2, 3) if isinstance(s, int) and s % n == 0] or [1]))
        for s in want.shape
    ]
    shape = [size // n for size, n in zip(want.shape, repeats, strict=True)]
    return [want.with_shape(shape)], {"repeats": tuple(repeats)}


def _constant(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    if not want.is_static:
        raise Impossible
    pool = list(_pool(want.dtype))
    if draw(st.booleans()):
        return [], {"value": Literal(np.full(want.static_shape, draw(st.sampled_from(pool))))}
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return [], {"value": Literal(_value(rng, want, False))}


def _item(draw: Draw, want: TensorType, given: Attributes, count: int) -> Wanted:
    items = draw(
        st.lists(st.just(want) | st.just(tensor_type((3,), "f32")), min_size=1, max_size=3)
    )
    index = draw(st.integers(0, len(items) - 1))
    items[index] = want
    return [TupleType(tuple(items))], {"index": index}


def _tuple(draw: Draw, want: Any, given: Attributes, count: int) -> Wanted:
    if not isinstance(want, TupleType):
        raise Impossible
    return list(want.items), {}


_PROPOSALS: Mapping[Op, Callable[[Draw, Any, Attributes, int], Wanted]] = {
    ops.transpose: _transpose,
    ops.reshape: _reshape,
    ops.broadcast_to: _broadcast_to,
    ops.slice_: _slice,
    ops.concat: _concat,
    ops.reduce: _reduce,
    ops.dot_general: _dot_general,
    ops.pad: _pad,
    ops.reverse: _reverse,
    ops.tile: _tile,
    ops.stop_gradient: lambda draw, want, given, count: ([want], {}),
    CONSTANT: _constant,
    ops.item: _item,
    ops.tuple_: _tuple,
}
