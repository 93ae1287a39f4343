"""Random programs with symbolic sizes mean the same after the whole pipeline."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ptir import backends, ops, passes
from ptir.ir import (
    Dim,
    Input,
    Node,
    Program,
    Role,
    SpecError,
    TensorType,
    constant,
    param,
    tensor_type,
)
from ptir.ops.evaluate import evaluate
from tests.exact import edges, same

A, B = Dim.symbol("A"), Dim.symbol("B")
SIZES = (0, 1, 1, 2, 3, A, B, A + 1, 2 * A)
DTYPES = ("f32", "f16", "bf16", "si32", "ui8")
NUMBERS = (0.0, 0.0, -0.0, -0.0, 1, 2, -1, np.inf, -np.inf, np.nan)
UNARY = {"float": (ops.neg, ops.abs_, ops.floor), "int": (ops.neg, ops.not_), "uint": (ops.not_,)}
BINARY = (ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum)

Move = Callable[[Random, Node, list[Node]], Node]


def typed(node: Node) -> TensorType:
    assert isinstance(node.type, TensorType)
    return node.type


def filled(rng: Random, like: TensorType) -> Node:
    number = rng.choice(NUMBERS) if like.dtype.is_float else rng.choice((0, 1, 2))
    value = constant(np.asarray(number).astype(like.dtype.numpy))
    return ops.broadcast_to(value, shape=like.shape)


def unary(rng: Random, x: Node, nodes: list[Node]) -> Node:
    return rng.choice(UNARY[typed(x).dtype.kind])(x)


def binary(rng: Random, x: Node, nodes: list[Node]) -> Node:
    alike = [n for n in nodes if n.type == x.type]
    other = filled(rng, typed(x)) if rng.random() < 0.5 else rng.choice(alike)
    operands = (x, other) if rng.random() < 0.5 else (other, x)
    return rng.choice(BINARY)(*operands)


def transpose(rng: Random, x: Node, nodes: list[Node]) -> Node:
    return ops.transpose(x, perm=tuple(rng.sample(range(typed(x).rank), typed(x).rank)))


def one_more(rng: Random, x: Node, nodes: list[Node]) -> Node:
    shape = list(typed(x).shape)
    shape.insert(rng.randrange(len(shape) + 1), 1)
    return ops.reshape(x, shape=shape)


def broadcast(rng: Random, x: Node, nodes: list[Node]) -> Node:
    shape = [rng.choice((1, 2, A)) if size == 1 else size for size in typed(x).shape]
    return ops.broadcast_to(x, shape=[rng.choice((1, 2, B)), *shape])


def joined(rng: Random, x: Node, nodes: list[Node]) -> Node:
    axis = rng.randrange(typed(x).rank)
    return ops.concat(x, rng.choice(nodes), x, axis=axis)  # refused where they do not fit


def reduced(rng: Random, x: Node, nodes: list[Node]) -> Node:
    axes = rng.sample(range(typed(x).rank), rng.randrange(1, typed(x).rank + 1))
    return ops.reduce(x, kind=rng.choice(("max", "min")), axes=axes, keepdims=rng.random() < 0.5)


def cut(rng: Random, x: Node, nodes: list[Node]) -> Node:
    shape = typed(x).shape
    starts = [rng.randrange(size + 1) if isinstance(size, int) else 0 for size in shape]
    return ops.slice_(x, starts=starts, limits=shape)


MOVES: tuple[Move, ...] = (
    unary, binary, binary, transpose, transpose, one_more, broadcast, joined, reduced, cut
)  # fmt: skip


def program_of(rng: Random) -> Program:
    """A program of a few inputs and up to thirty moves; some values are its results."""
    shapes = [[rng.choice(SIZES) for _ in range(rng.randrange(4))] for _ in range(2)]
    shapes.append([A, B])  # binds both symbols, whatever the others do
    types = [tensor_type(shape, rng.choice(DTYPES)) for shape in shapes]
    nodes = [param(slot, type) for slot, type in enumerate(types)]
    for _ in range(rng.randrange(5, 30)):
        try:
            nodes.append(rng.choice(MOVES)(rng, rng.choice(nodes[-6:]), nodes))
        except (SpecError, ValueError):  # a move that this value does not admit
            continue
    roles = (Role.ARGUMENT, Role.PARAMETER)
    results = nodes[-3:] if rng.random() < 0.5 else nodes  # what is seen hinders some rules
    return Program(tuple(Input(t, rng.choice(roles), "w") for t in types), tuple(results))


def data(type: Any, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    few = np.array([-0.0, 0.0, 1.0, np.nan] if type.dtype.is_float else [0, 1])
    values = edges(type.dtype) if rng.random() < 0.3 else few.astype(type.dtype.numpy)
    chosen: np.ndarray[Any, Any] = rng.choice(values, type.static_shape)
    return chosen


@settings(max_examples=500)
@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 3))
def test_the_pipeline_keeps_the_meaning_for_every_size(seed: int, a: int, b: int):
    program = program_of(Random(seed))
    rng = np.random.default_rng(seed)
    values = [data(i.type.substitute({"A": a, "B": b}), rng) for i in program.inputs]
    symbols = {"A": a, "B": b}
    try:
        wanted = evaluate(program, values, symbols)
    except SpecError:  # a slice beyond a size that turned out small
        return
    backend = backends.find("reference")
    legalizer = passes.legalizer(backend.claims, backend.name)
    chosen = passes.legalizing(passes.pipeline({}), legalizer)
    optimised, _ = passes.apply(program, chosen, verify=True)
    for got, want in zip(evaluate(optimised, values, symbols), wanted, strict=True):
        same(got, want)
