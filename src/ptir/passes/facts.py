"""What rules ask about ops and nodes: families, shapes, constants. Knows no rule."""

from itertools import chain

import numpy as np

from ptir import ops
from ptir.ir import DType, Node, Op, Size, TensorType, constant, uniform_value
from ptir.ops import binary, unary

Shape = tuple[Size, ...]

# The families are the files: an op that is added there is elementwise here.
UNARY = (*(op for op in vars(unary).values() if isinstance(op, Op)), ops.cast)
BINARY = (*(op for op in vars(binary).values() if isinstance(op, Op)), ops.compare)
ELEMENTWISE = frozenset(chain(UNARY, BINARY, (ops.select, ops.clamp)))

# Of integers, these refuse some values: nothing may run them on elements that did not run before.
_REFUSING = frozenset((ops.div, ops.rem, ops.pow_, ops.shift_left, ops.shift_right))


def tensor(node: Node) -> TensorType:
    """The type of a node that a tensor op takes or gives."""
    assert isinstance(node.type, TensorType)
    return node.type


def shape(node: Node) -> Shape:
    return tensor(node).shape


def element(node: Node) -> DType:
    return tensor(node).dtype


def has_sign(node: Node) -> bool:
    return element(node).kind != "uint"


def may_refuse(node: Node) -> bool:
    """Whether the values of the operands decide if `node` is defined."""
    return node.op in _REFUSING and element(node).is_integer


def is_real(node: Node) -> bool:
    return not element(node).is_complex


def is_integer(node: Node) -> bool:
    return element(node).is_integer


def is_exact(node: Node) -> bool:
    """Integers and `i1`: no NaN, no second zero."""
    return element(node).is_integer or element(node).kind == "bool"


def is_float(node: Node) -> bool:
    return element(node).is_float


def is_uniform(node: Node) -> bool:
    """One number at every position, known now; it takes any shape at no cost."""
    return uniform_value(node) is not None


def filled(number: object, like: Node) -> Node:
    """`number` at every position, in the type of `like`."""
    one = constant(number, element(like))
    return ops.broadcast_to(one, shape=shape(like)) if shape(like) else one


def respread(node: Node, to: Shape) -> Node:
    """A uniform node in another shape."""
    one = constant(np.asarray(uniform_value(node)), element(node))
    return ops.broadcast_to(one, shape=to) if to else one


def inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    """The order that undoes `perm`."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def without_ones(sizes: Shape) -> Shape:
    return tuple(size for size in sizes if size != 1)
