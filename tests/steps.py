"""Random typed programs over the whole op set: small shapes, special values, bodies in bodies.

A step adds one call of its op to a program under construction, with operands and attributes that
the op takes: such a program runs, whatever its inputs hold.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from hypothesis import strategies as st

from ptir import ops
from ptir.ir import DTYPES, OPS, DType, Literal, Node, Program, TensorType, constant, make
from ptir.ops.accumulate import TAKES
from ptir.ops.rule import ANY, BITS, FLOAT, INTEGER, NUMBER, REAL
from tests.builder import Builder, Step, UnfitError, elements, shape, shapes, typed, values
from tests.exact import Array

ORDERED = REAL | {"bool"}
STEPS: dict[str, Step] = {}


def step(name: str) -> Callable[[Step], Step]:
    def register(made: Step) -> Step:
        STEPS[name] = made
        return made

    return register


# --- elementwise ---

UNARY = {
    **dict.fromkeys(("neg", "abs"), NUMBER), "sign": REAL, "not": BITS, "popcount": INTEGER,
    **dict.fromkeys(
        ("floor", "ceil", "round", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal",
         "sin", "cos", "tan", "tanh", "erf", "logistic", "is_finite"), FLOAT,
    ),
    "stop_gradient": ANY,
}  # fmt: skip
BINARY = {
    **dict.fromkeys(("add", "sub", "mul", "div"), NUMBER), "atan2": FLOAT,
    **dict.fromkeys(("rem", "pow", "maximum", "minimum"), REAL),
    **dict.fromkeys(("and", "or", "xor"), BITS),
    **dict.fromkeys(("shift_left", "shift_right"), INTEGER),
}  # fmt: skip


def _filled(value: int, like: Node) -> Node:
    return ops.broadcast_to(constant(value, typed(like).dtype), shape=shape(like))


def _answered(name: str, y: Node) -> Node:
    """`y` with no element for which an integer op has no answer."""
    if typed(y).dtype.is_integer and name in ("div", "rem"):
        return ops.or_(y, _filled(1, y))
    if typed(y).dtype.is_integer and name in ("pow", "shift_left", "shift_right"):
        return ops.and_(y, _filled(3, y))
    return y


def _unary(name: str) -> Step:
    return lambda b: make(OPS[name], (b.pick(UNARY[name]),))


def _binary(name: str) -> Step:
    def made(b: Builder) -> Node:
        x = b.pick(BINARY[name])
        return make(OPS[name], (x, _answered(name, b.like(x))))

    return made


STEPS.update({name: _unary(name) for name in UNARY})
STEPS.update({name: _binary(name) for name in BINARY})


@step("compare")
def _compare(b: Builder) -> Node:
    x = b.pick()
    order = ["eq", "ne"] if typed(x).dtype.is_complex else ["lt", "le", "eq", "ge", "gt", "ne"]
    return ops.compare(x, b.like(x), op=b.choose(order))


@step("select")
def _select(b: Builder) -> Node:
    x = b.pick()
    return ops.select(ops.compare(x, b.like(x), op="eq"), b.like(x), x)


@step("clamp")
def _clamp(b: Builder) -> Node:
    x = b.pick(REAL)
    return ops.clamp(x, b.like(x), b.like(x))


@step("cast")
def _cast(b: Builder) -> Node:
    to = b.draw(elements)
    return ops.cast(b.pick(ANY if to.is_complex else ANY - {"complex"}), dtype=to)


@step("bitcast")
def _bitcast(b: Builder) -> Node:
    x = b.pick(NUMBER)
    have, last = typed(x).dtype.bits, shape(x)[-1:]
    fits = [d for d in DTYPES.values() if d.kind != "bool"]
    return ops.bitcast(
        x, dtype=b.choose([d for d in fits if d.bits <= have or last == (d.bits // have,)])
    )


# --- from nothing ---


@step("constant")
def _constant(b: Builder) -> Node:
    return b.fresh(b.draw(shapes), b.draw(elements))


@step("iota")
def _iota(b: Builder) -> Node:
    sizes = (*b.draw(shapes), b.integer(0, 4))
    element = b.choose([d for d in DTYPES.values() if d.kind in REAL])
    attrs = {"shape": sizes, "dtype": element, "axis": b.integer(0, len(sizes) - 1)}
    return make(OPS["iota"], (), attrs)


def _random(name: str, of: Callable[[DType], bool]) -> Step:
    def made(b: Builder) -> Node:
        element = b.choose([d for d in DTYPES.values() if of(d)])
        attrs = {"shape": b.draw(shapes), "dtype": element}
        return make(OPS[name], (b.fresh((2,), "ui32"),), attrs)

    return made


STEPS["random_bits"] = _random("random_bits", lambda d: d.kind == "uint" and d.bits >= 8)
STEPS["random_uniform"] = _random("random_uniform", lambda d: d.is_float)
STEPS["random_normal"] = _random("random_normal", lambda d: d.is_float)

# --- reductions ---


def _wider(b: Builder, element: DType) -> DType | None:
    """Nothing, or an accumulator that loses no digits of this dtype."""
    least = max(element.bits, 8 if element.is_integer else 32)
    same = [d for d in DTYPES.values() if d.is_integer == element.is_integer]
    return b.choose([None, *(d for d in same if d.bits >= least and d.kind == element.kind)])


@step("reduce")
def _reduce(b: Builder) -> Node:
    kind = b.choose(list(TAKES))
    x = b.pick(TAKES[kind])
    sums = kind in ("sum", "prod")
    element = typed(x).dtype
    wide = {n: _wider(b, element) if sums else None for n in ("accum_dtype", "out_dtype")}
    return ops.reduce(x, kind=kind, axes=b.axes(x), keepdims=b.flag(), **wide)


def _arg(name: str) -> Step:
    def made(b: Builder) -> Node:
        x = b.pick(ORDERED, rank=1)
        axis = b.axis(x)
        if not shape(x)[axis]:
            raise UnfitError
        return make(OPS[name], (x,), {"axis": axis, "keepdims": b.flag()})

    return made


STEPS["argmax"], STEPS["argmin"] = _arg("argmax"), _arg("argmin")


@step("cumulative")
def _cumulative(b: Builder) -> Node:
    kind = b.choose(["sum", "prod", "max", "min"])
    x = b.pick(TAKES[kind], rank=1)
    return ops.cumulative(x, kind=kind, axis=b.axis(x), exclusive=b.flag(), reverse=b.flag())


@step("dot_general")
def _dot_general(b: Builder) -> Node:
    x = b.pick(NUMBER)
    perm = b.order(x)
    y = ops.transpose(b.like(x), perm=perm)
    paired = b.axes(x)
    cut = b.integer(0, len(paired))
    batch, contract = paired[:cut], paired[cut:]
    return ops.dot_general(
        x, y,
        batch_lhs=batch, batch_rhs=[perm.index(a) for a in batch],
        contract_lhs=contract, contract_rhs=[perm.index(a) for a in contract],
        out_dtype=_wider(b, typed(x).dtype),
    )  # fmt: skip


# --- shapes ---


@step("reshape")
def _reshape(b: Builder) -> Node:
    x = b.pick()
    sizes = b.draw(st.permutations(shape(x)))
    return ops.reshape(x, shape=b.choose([sizes, (1, *sizes), (prod(sizes),), (*sizes, 1)]))


@step("transpose")
def _transpose(b: Builder) -> Node:
    x = b.pick()
    return ops.transpose(x, perm=b.order(x))


@step("broadcast_to")
def _broadcast_to(b: Builder) -> Node:
    x = b.pick()
    sizes = [b.integer(0, 3) if n == 1 and b.flag() else n for n in shape(x)]
    return ops.broadcast_to(x, shape=(*[b.integer(0, 3)] * b.flag(), *sizes))


def _part(b: Builder, x: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where a part of x begins and ends on each axis."""
    limits = tuple(b.integer(0, n) for n in shape(x))
    return tuple(b.integer(0, n) for n in limits), limits


@step("slice")
def _slice(b: Builder) -> Node:
    x = b.pick()
    starts, limits = _part(b, x)
    return ops.slice_(x, starts=starts, limits=limits, strides=b.per_axis(x, 1, 3))


@step("concat")
def _concat(b: Builder) -> Node:
    x = b.pick(rank=1)
    return ops.concat(*(b.like(x) for _ in range(b.integer(0, 2))), x, axis=b.axis(x))


@step("pad")
def _pad(b: Builder) -> Node:
    x = b.pick()
    interior = b.per_axis(x, 0, 2)
    spread = [n + max(n - 1, 0) * gap for n, gap in zip(shape(x), interior, strict=True)]
    low = [b.integer(-min(n, 2), 2) for n in spread]
    high = [b.integer(-min(n + d, 2), 2) for n, d in zip(spread, low, strict=True)]
    value = Literal(values(TensorType((), typed(x).dtype), b.integer(0, 99)))
    return ops.pad(x, low=low, high=high, interior=interior, value=value)


@step("tile")
def _tile(b: Builder) -> Node:
    x = b.pick()
    return ops.tile(x, repeats=b.per_axis(x, 0, 2))


@step("reverse")
def _reverse(b: Builder) -> Node:
    x = b.pick()
    return ops.reverse(x, axes=b.axes(x))


# --- indices ---


@step("take")
def _take(b: Builder) -> Node:
    x = b.pick(rank=1)
    axis = b.axis(x)
    return ops.take(x, b.indices(b.draw(shapes)[:2], shape(x)[axis]), axis=axis)


def _along(b: Builder, x: Node, axis: int) -> Node:
    """Indices for one axis of x, no longer than x on the others."""
    axis %= typed(x).rank
    sizes = [b.integer(0, 3 if a == axis else n) for a, n in enumerate(shape(x))]
    return b.indices(sizes, shape(x)[axis])


@step("gather")
def _gather(b: Builder) -> Node:
    x = b.pick(rank=1)
    axis = b.axis(x)
    return ops.gather(x, _along(b, x, axis), axis=axis)


def _scattered(b: Builder) -> tuple[str, Node]:
    kind = b.choose(["add", "mul", "max", "min", "replace"])
    reduction = {"add": "sum", "mul": "prod"}.get(kind, kind)
    return kind, b.pick(TAKES.get(reduction, ANY), rank=1)


@step("scatter")
def _scatter(b: Builder) -> Node:
    kind, x = _scattered(b)
    axis = b.axis(x)
    index = _along(b, x, axis)
    return ops.scatter(x, index, b.fresh(shape(index), typed(x).dtype), axis=axis, kind=kind)


def _rows(b: Builder, x: Node) -> tuple[Node, int]:
    """Coordinates of the leading axes of x, and how many axes that are."""
    depth = b.integer(0, typed(x).rank)
    limit = min(shape(x)[:depth], default=1)
    return b.indices((b.integer(0, 3), depth), limit), depth


@step("gather_nd")
def _gather_nd(b: Builder) -> Node:
    x = b.pick(rank=1)
    return ops.gather_nd(x, _rows(b, x)[0])


@step("scatter_nd")
def _scatter_nd(b: Builder) -> Node:
    kind, x = _scattered(b)
    index, depth = _rows(b, x)
    updates = b.fresh((shape(index)[0], *shape(x)[depth:]), typed(x).dtype)
    return ops.scatter_nd(x, index, updates, kind=kind)


@step("segment_reduce")
def _segment_reduce(b: Builder) -> Node:
    kind = b.choose(["sum", "prod", "max", "min"])
    x = b.pick(TAKES[kind], rank=1)
    count = b.integer(0, 3)
    return ops.segment_reduce(x, b.indices(shape(x)[:1], count), kind=kind, num_segments=count)


@step("dynamic_slice")
def _dynamic_slice(b: Builder) -> Node:
    x = b.pick()
    start = b.fresh((typed(x).rank,), b.choose(["si8", "si64", "ui64"]))  # far out of range
    return ops.dynamic_slice(x, start, sizes=[b.integer(0, n) for n in shape(x)])


@step("dynamic_update_slice")
def _dynamic_update_slice(b: Builder) -> Node:
    x = b.pick()
    update = b.fresh([b.integer(0, n) for n in shape(x)], typed(x).dtype)
    return ops.dynamic_update_slice(x, update, b.fresh((typed(x).rank,), "si32"))


@step("sort")
def _sort(b: Builder) -> Node:
    x = b.pick(ORDERED, rank=1)
    return ops.sort(x, axis=b.axis(x), descending=b.flag())


@step("top_k")
def _top_k(b: Builder) -> Node:
    x = b.pick(ORDERED, rank=1)
    axis = b.axis(x)
    return ops.top_k(x, k=b.integer(0, shape(x)[axis]), axis=axis, largest=b.flag())


# --- windows ---


def _geometry(b: Builder, sizes: Sequence[int]) -> dict[str, Any]:
    """Windows that fit, where they touch."""
    padding = [(b.integer(0, 1), b.integer(0, 1)) for _ in sizes]
    room = [n + sum(p) for n, p in zip(sizes, padding, strict=True)]
    if 0 in room:
        raise UnfitError
    window = [b.integer(1, n) for n in room]
    return {"padding": padding, "window": window, "strides": [b.integer(1, 2) for _ in sizes]}


@step("reduce_window")
def _reduce_window(b: Builder) -> Node:
    kind = b.choose(["sum", "prod", "max", "min"])
    x = b.pick(TAKES[kind])
    spread = b.per_axis(x, 1, 2)
    return ops.reduce_window(x, kind=kind, base_dilation=spread, **_geometry(b, shape(x)))


@step("extract_patches")
def _extract_patches(b: Builder) -> Node:
    x = b.pick(rank=2)
    return ops.extract_patches(x, **_geometry(b, shape(x)[1:-1]))


# --- quantisation ---


def _scale(b: Builder, x: Node) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Who has a scale: the tensor, each index of an axis, or each group along it."""
    if not typed(x).rank or b.flag():
        return {}, ()
    axis = b.integer(0, typed(x).rank - 1)
    if b.flag():
        return {"axis": axis}, shape(x)[axis : axis + 1]
    groups = [g for g in (1, 2, 3) if shape(x)[axis] % g == 0]
    group = b.choose(groups)
    sizes = shape(x)
    runs = (*sizes[:axis], sizes[axis] // group, *sizes[axis + 1 :])
    return {"axis": axis, "group_size": group}, runs


@step("quantize")
def _quantize(b: Builder) -> Node:
    x = b.pick(FLOAT)
    attrs, sizes = _scale(b, x)
    to = b.choose([d for d in DTYPES.values() if d.is_integer])
    zero = [b.fresh(sizes, to)] * b.flag()
    return ops.quantize(
        x, b.fresh(sizes, b.choose(["bf16", "f32", "f64"])), *zero, dtype=to, **attrs
    )


@step("dequantize")
def _dequantize(b: Builder) -> Node:
    q = b.pick(INTEGER)
    attrs, sizes = _scale(b, q)
    zero = [b.fresh(sizes, typed(q).dtype)] * b.flag()
    return ops.dequantize(q, b.fresh(sizes, "f32"), *zero, dtype=b.choose(["f16", "f32"]), **attrs)


@step("requantize")
def _requantize(b: Builder) -> Node:
    q = b.pick(INTEGER)
    attrs, sizes = _scale(b, q)
    before = b.fresh(sizes, "f32"), b.fresh(sizes, typed(q).dtype)
    after = b.fresh(sizes, "f32"), b.fresh(sizes, "ui8")
    return ops.requantize(q, *before, *after, dtype="ui8", **attrs)


# --- structure and control ---


@step("tuple")
def _tuple(b: Builder) -> Node:
    return ops.tuple_(*(b.pick() for _ in range(b.integer(1, 3))))


@step("item")
def _item(b: Builder) -> Node:
    inner = ops.tuple_(b.pick(), b.pick())
    return ops.item(ops.item(ops.tuple_(b.pick(), inner), index=1), index=b.integer(0, 1))


def _operands(b: Builder) -> list[Node]:
    return [b.pick() for _ in range(b.integer(1, 3))]


@step("call")
def _call(b: Builder) -> Node:
    operands = _operands(b)
    return ops.call(*operands, body=b.body([x.type for x in operands]))


@step("composite")
def _composite(b: Builder) -> Node:
    operands = _operands(b)
    return ops.composite(*operands, name="test.any", body=b.body([x.type for x in operands]))


@step("cond")
def _cond(b: Builder) -> Node:
    operands = _operands(b)
    types = [x.type for x in operands]
    results = types[: b.integer(1, len(types))]
    bodies = {name: b.body(types, results) for name in ("on_true", "on_false")}
    return ops.cond(b.fresh((), "i1"), *operands, **bodies)


@step("while")
def _while(b: Builder) -> Node:
    carries = _operands(b)
    types = [constant(0, "si8").type, *(x.type for x in carries)]
    rounds = constant(b.integer(0, 3), "si8")
    condition = Program.of(types, lambda n, *_: ops.compare(n, rounds, op="lt"))
    body = b.body(types[1:], types[1:])
    again = Program.of(types, lambda n, *rest: [ops.add(n, constant(1, "si8")), *body.inline(rest)])
    return ops.while_(constant(0, "si8"), *carries, condition=condition, body=again)


@step("scan")
def _scan(b: Builder) -> Node:
    carry, scanned, fixed = b.pick(), b.pick(rank=1), b.pick()
    slice_type = typed(scanned).with_shape(shape(scanned)[1:])
    types = [carry.type, slice_type, fixed.type]
    update, output = b.body(types, [carry.type]), b.body(types)
    body = Program.of(types, lambda *x: [*update.inline(x), *output.inline(x)])
    return ops.scan(carry, scanned, fixed, body=body, carries=1, inputs=1, reverse=b.flag())


@st.composite
def programs(
    draw: st.DrawFn, must: str | None = None, without: Sequence[str] = ()
) -> tuple[Program, list[Array]]:
    """A program with arrays for its inputs; `must` is an op that it has where that fits."""
    types = [TensorType(draw(shapes), draw(elements)) for _ in range(draw(st.integers(1, 3)))]

    def build(*tensors: Node) -> list[Node]:
        allowed = {name: made for name, made in STEPS.items() if name not in without}
        builder = Builder(draw, tensors, allowed, depth=2)
        builder.grow(draw(st.integers(2, 9)))
        made = builder.add(must) if must else []
        return [*made, *builder.tensors[-4:]]

    program = Program.of(types, build)
    return program, [values(t, draw(st.integers(0, 99))) for t in types]
