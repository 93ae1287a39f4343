"""Constant folding: what only constants decide is worked out when a program is compiled.

Knows no op's meaning; that is the op's NumPy reference.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ptir import ops
from ptir.ir import (
    CONSTANT,
    Literal,
    Node,
    Program,
    Rule,
    TensorType,
    TupleType,
    Type,
    constant,
    make,
    rewrite,
    transform,
)

from .within import CONTROL

LARGEST = 1024  # elements of a value that is worked out
SMALL = 64  # elements of a literal that may stand where no literal as large stood before

# Random numbers are many and cheap to make again: they stay what they are, a key and a shape.
RANDOM = frozenset({ops.random_bits, ops.random_normal, ops.random_uniform})


def fold_constants(program: Program) -> Program:
    """Put constants where ops on constants stood, in loop bodies and branches too.

    Left alone is what has symbolic sizes, more than 1024 elements or regions, what is random, and
    what raises: that is for the run to say. A value of one number is written as that number and
    `broadcast_to`; a literal never takes more room than the literals that it was made of, unless it
    has at most 64 elements.
    """
    return _folded(program, {})


def _folded(program: Program, bodies: dict[Program, Program]) -> Program:
    """`program` after folding; `bodies` are those that were folded before. As deep as they nest."""
    values: dict[Node, Any] = {}
    stored: dict[Node, int] = {}  # bytes of the literals that stand in the new program

    def fold(node: Node) -> Node | None:
        if node.op is CONSTANT:
            values[node] = node.attrs["value"].array
            stored[node] = values[node].nbytes
            return None
        if not _is_foldable(node, values):
            return None
        try:
            value = _compute(node, values)
        except Exception:  # whatever it is, it happens when the program runs, if it runs
            return None
        values[node] = value
        room = sum(stored.get(x, 0) for x in node.operands)
        return _written(node.type, value, room, node, stored)

    def inside(node: Node) -> Node | None:
        changed = {}
        for name, body in node.attrs.items():
            if isinstance(body, Program):
                if body not in bodies:
                    bodies[body] = _folded(body, bodies)
                changed[name] = bodies[body]
        if all(changed[name] is node.attrs[name] for name in changed):
            return None
        return make(node.op, node.operands, {**node.attrs, **changed})

    results = transform(program.results, fold)
    if results != program.results:
        program = Program(program.inputs, results)
    return rewrite(program, (Rule("bodies", inside, CONTROL),))


def _is_foldable(node: Node, values: Mapping[Node, Any]) -> bool:
    return (
        node.op.reference is not None
        and all(x in values for x in node.operands)
        and _is_small(node.type)
        and node.op not in RANDOM
        and not node.attrs.symbols
        and not any(isinstance(v, Program) for v in node.attrs.values())
    )


def _is_small(type: Type) -> bool:
    if isinstance(type, TupleType):
        return all(map(_is_small, type.items))
    return type.is_static and type.size <= LARGEST  # type: ignore[operator]  # an int by then


def _compute(node: Node, values: Mapping[Node, Any]) -> Any:
    assert node.op.reference is not None
    with np.errstate(all="ignore"):
        return node.op.reference(*[values[x] for x in node.operands], **node.attrs)


def _written(type: Type, value: Any, room: int, node: Node, stored: dict[Node, int]) -> Node | None:
    """The value as nodes, if that takes little room: a literal, or a number and its shape."""
    if not isinstance(type, TensorType):
        return None  # its items will be written
    literal = Literal(value)
    number = literal.uniform
    if number is not None and literal.array.size > 1:
        splat: Node = ops.broadcast_to(constant(number), shape=type.shape)
        return splat
    if literal.array.size > SMALL and literal.array.nbytes > room:
        return None
    stored[node] = literal.array.nbytes
    return constant(literal)
