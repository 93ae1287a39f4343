"""Programs for tests of their written forms: random typed ones, and one for each op's samples."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ptir import ops
from ptir.ir import (
    DTYPES,
    OPS,
    Dim,
    Input,
    Literal,
    Node,
    Program,
    Role,
    TensorType,
    TupleType,
    Type,
    constant,
    make,
    tensor_type,
    type_of,
)
from tests.samples import by_op

# Half of a surrogate pair cannot be stored, so that a reader refuses it.
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
symbols = st.sampled_from(["B", "S", "n_1", "_"])
integers = st.integers(-(1 << 127), 1 << 127)
dtypes = st.sampled_from(list(DTYPES.values()))


@st.composite
def dims(draw: st.DrawFn, symbols: st.SearchStrategy[str] = symbols) -> Any:
    """A `Dim`, of up to three symbols with factors of either sign."""
    names = draw(st.lists(symbols, min_size=1, max_size=3, unique=True))
    factors = st.integers(-(1 << 31), 1 << 31).filter(bool)
    total: Any = draw(st.integers(-(1 << 31), 1 << 31))
    for name in names:
        total = Dim.symbol(name) * draw(factors) + total
    return total


tensor_types = st.builds(
    tensor_type, st.lists(st.one_of(st.integers(0, 1 << 40), dims()), max_size=4), dtypes
)
types = st.recursive(
    tensor_types, lambda t: st.lists(t, max_size=3).map(lambda items: TupleType(tuple(items)))
)


@st.composite
def literals(draw: st.DrawFn) -> Literal:
    """Any bytes as elements: NaN payloads, subnormals and negative zeros among them."""
    element = draw(dtypes)
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(np.prod(shape))
    if element.kind == "bool" or element.bits == 4:
        low, high = element.range
        flat = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
        return Literal(np.array(flat, np.int8).astype(element.numpy).reshape(shape))
    size = count * element.numpy.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    return Literal(np.frombuffer(data, np.uint8).view(element.numpy).reshape(shape))


scalars = st.one_of(
    st.none(), st.booleans(), integers, st.floats(), strings, dtypes, dims(st.just("B"))
)
free = st.dictionaries(strings, st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=3)

_UNARY = (ops.exp, ops.neg, ops.tanh)
_BINARY = (ops.add, ops.mul, ops.maximum)
_FLOAT = tensor_type((Dim.symbol("B"), 3), "f32")


@st.composite
def programs(draw: st.DrawFn, depth: int = 2) -> Program:
    """A program over real ops: shared values, regions in regions, opaque calls, donated state."""
    roles = st.sampled_from([Role.ARGUMENT, Role.PARAMETER])
    inputs = [Input(_FLOAT, draw(roles), draw(st.none() | strings))]
    inputs += draw(st.lists(st.builds(Input, types, roles, st.none() | strings), max_size=2))
    state = draw(st.booleans())
    if state:
        inputs.append(Input(_FLOAT, Role.STATE, draw(st.none() | strings)))

    def build(*values: Node) -> list[Node]:
        known = [v for v in values if v.type == _FLOAT]
        extra = [v for v in values if v.type != _FLOAT and draw(st.booleans())]
        for _ in range(draw(st.integers(0, 6))):
            new = draw(_steps(known, depth))
            (known if new.type == _FLOAT else extra).append(new)
        results = draw(st.lists(st.sampled_from(known + extra), max_size=4))
        return [*results, known[-1]] if state else results

    return Program.of(inputs, build).verify()


@st.composite
def _steps(draw: st.DrawFn, known: list[Node], depth: int) -> Node:
    """One more node; `known` are all of one type."""
    some = st.sampled_from(known)
    kind = draw(st.sampled_from(["unary", "binary", "constant", "opaque", "reduce", "body"]))
    if kind == "unary":
        return draw(st.sampled_from(_UNARY))(draw(some))
    if kind == "binary":
        return draw(st.sampled_from(_BINARY))(draw(some), draw(some))
    if kind == "constant":
        return constant(draw(literals()))
    if kind == "opaque":
        operands = draw(st.lists(some, min_size=1, max_size=2))
        target, result = "test.any.v1", draw(tensor_types)
        if not result.symbols <= {"B"}:
            result = TensorType((), result.dtype)
        return ops.custom_call(*operands, target=target, type=result, attributes=draw(free))
    if kind == "reduce":
        axes = draw(st.lists(st.integers(0, 1), unique=True))
        return ops.reduce(draw(some), kind="sum", axes=axes, keepdims=draw(st.booleans()))
    if not depth:
        return ops.tuple_(draw(some), draw(some))
    body = draw(programs(depth=depth - 1).filter(_is_plain))
    return make(
        OPS["composite"],
        tuple(_operand(i.type, draw(some)) for i in body.inputs),
        {"name": draw(strings), "attributes": draw(free), "body": body},
    )


def _is_plain(program: Program) -> bool:
    return all(i.type == _FLOAT and i.role is Role.ARGUMENT for i in program.inputs)


def _operand(type: Type, node: Node) -> Node:
    assert node.type == type
    return node


def sample_programs() -> Iterator[tuple[str, Program]]:
    """A program of one op for each sample of each op."""
    for name, samples in sorted(by_op().items()):
        for number, case in enumerate(samples.cases):
            types = [type_of(x) for x in case.operands]
            build = lambda *nodes, name=name, attrs=case.attrs: make(OPS[name], nodes, attrs)  # noqa: E731
            yield f"{name}-{number}", Program.of(types, build)
