"""Algebra that is exact for NaN, infinities and both zeros, of every dtype for which it is done."""

import math

import numpy as np

from ptir import ops
from ptir.ir import Node, Program, Rest, Variable, Wildcard, dtype, rewrite, rule, uniform_value

from . import logic
from .facts import (
    element,
    filled,
    has_sign,
    is_exact,
    is_float,
    is_integer,
    is_real,
    is_uniform,
    shape,
)
from .within import within

x, y, z = Wildcard("x"), Wildcard("y"), Wildcard("z")
real = Wildcard("x", where=is_real)
whole = Wildcard("x", where=is_integer)
number = Wildcard("u", where=is_uniform)
exponent, dtype_of = Variable("exponent"), Variable("dtype")


def simplify(program: Program) -> Program:
    return rewrite(program, within(RULES))


# --- what changes nothing ---


@rule(
    ops.mul(real, 1),
    ops.div(real, 1),
    ops.pow_(x, 1),
    ops.sub(x, 0.0),
    ops.add(real, -0.0),  # x + 0 is not x where x is −0; of a complex −0.0 the other part is +0
    ops.shift_left(x, 0),
    ops.shift_right(x, 0),
    ops.or_(x, 0),
    ops.xor(x, 0),
)
def neutral(x: Node) -> Node:
    return x


@rule(ops.maximum(x, number), ops.minimum(x, number), ops.and_(x, number))
def neutral_extreme(root: Node, x: Node, u: Node) -> Node | None:
    """The least number for maximum, the greatest for minimum, all ones for `and`."""
    if element(x).is_float:
        limit = math.inf if root.op is ops.minimum else -math.inf
        return x if float(_value(u)) == limit else None
    low, high = element(x).range
    ones = high if element(x).kind in ("uint", "bool") else -1
    neutral_one = {ops.maximum: low, ops.minimum: high, ops.and_: ones}[root.op]
    return x if int(_value(u)) == neutral_one else None


@rule(ops.mul(whole, 0), ops.and_(x, 0))
def zero_of_integers(root: Node, x: Node) -> Node:
    return filled(0, root)


@rule(ops.maximum(x, x), ops.minimum(x, x), ops.and_(x, x), ops.or_(x, x))
def with_itself(x: Node) -> Node:
    return x


@rule(ops.sub(whole, whole), ops.xor(x, x))
def without_itself(root: Node, x: Node) -> Node:
    return filled(0, root)


@rule(ops.pow_(x, 0), ops.pow_(x, -0.0))
def power_of_zero(root: Node, x: Node) -> Node:
    """IEEE 754: one, of NaN too."""
    return filled(1, root)


# --- two ops that are one, or none ---


@rule(ops.neg(ops.neg(x)), ops.not_(ops.not_(x)))
def twice(x: Node) -> Node:
    return x


@rule(
    ops.abs_(ops.abs_(x)),
    ops.abs_(ops.neg(Wildcard("x", where=has_sign))),  # an unsigned −x wraps
    ops.sign(ops.sign(real)),
)
def outer_only(root: Node, x: Node) -> Node | None:
    if root.type != x.type and root.operands[0].op is ops.abs_:  # |z| of a complex z is real
        return root.operands[0]
    return root.op(x)


_ROUNDING = (ops.floor, ops.ceil, ops.round_)


@rule(*(outer(inner(x)) for outer in _ROUNDING for inner in _ROUNDING))
def rounded_already(root: Node, x: Node) -> Node:
    return root.operands[0]


@rule(ops.add(x, ops.neg(y)))
def add_of_negative(x: Node, y: Node) -> Node:
    return ops.sub(x, y)


@rule(ops.sub(x, ops.neg(y)))
def sub_of_negative(x: Node, y: Node) -> Node:
    return ops.add(x, y)


_floating = Wildcard("x", where=is_float)


@rule(ops.mul(ops.neg(x), ops.neg(y)), ops.div(ops.neg(_floating), ops.neg(y)))
def negatives_cancel(root: Node, x: Node, y: Node) -> Node:
    return root.op(x, y)


@rule(ops.sub(0.0, whole), ops.sub(-0.0, real))
def minus(x: Node) -> Node:
    """Only −0 − x is −x where x is +0."""
    return ops.neg(x)


@rule(
    *(op(op(x, y), y) for op in (ops.maximum, ops.minimum, ops.and_, ops.or_)),
)
def again(root: Node, x: Node, y: Node) -> Node:
    """The second time changes nothing."""
    return root.op(x, y)


@rule(ops.div(_floating, number))
def division_by_power_of_two(x: Node, u: Node) -> Node | None:
    """x · 2⁻ᵏ, where 2⁻ᵏ is a normal number of the dtype: the same real number is rounded."""
    divisor = float(_value(u))
    if not math.isfinite(divisor) or abs(math.frexp(divisor)[0]) != 0.5:
        return None
    other = np.asarray(1 / divisor)
    with np.errstate(all="ignore"):
        exact = float(other.astype(element(x).numpy)) == other
    normal = exact and 2 * _TINY[element(x).name] < abs(float(other)) < math.inf
    return ops.mul(x, filled(float(other), x)) if normal else None


# The smallest normal number: kernels may flush what is below it to zero.
_TINY = {
    "f8e4m3": 2.0**-6,
    "f8e5m2": 2.0**-14,
    "bf16": 2.0**-126,
    "f16": 2.0**-14,
    "f32": 2.0**-126,
    "f64": 2.0**-1022,
}


@rule(ops.pow_(x, 2))
def square(x: Node) -> Node | None:
    """pow of f64 need not be rounded as a product is."""
    return None if element(x) is dtype("f64") else ops.mul(x, x)


# --- reductions of nothing ---

_axes = Variable("axes")


@rule(*(ops.reduce(x, kind=kind, axes=_axes) for kind in ("max", "min", "and", "or", "sum")))
def reduce_of_ones(root: Node, x: Node, axes: tuple[int, ...]) -> Node | None:
    """Over axes of size 1 there is nothing to combine. A sum of floats turns −0 into 0."""
    combines = root.attrs["kind"] != "sum" or is_exact(x)
    alone = all(shape(x)[axis] == 1 for axis in axes)
    if not (combines and alone and element(root) is element(x)):
        return None
    return ops.reshape(x, shape=shape(root))


@rule(ops.concat(number, Rest("parts")))
def concat_of_uniforms(root: Node, u: Node, parts: tuple[Node, ...]) -> Node | None:
    first = _value(u)
    for part in parts:
        other = uniform_value(part)
        if other is None or other.tobytes() != first.tobytes():
            return None
    return filled(np.asarray(first), root)


def _value(uniform: Node) -> np.generic:
    found = uniform_value(uniform)
    assert found is not None
    return found


RULES = (
    neutral,
    neutral_extreme,
    zero_of_integers,
    with_itself,
    without_itself,
    power_of_zero,
    twice,
    outer_only,
    rounded_already,
    add_of_negative,
    sub_of_negative,
    negatives_cancel,
    minus,
    again,
    division_by_power_of_two,
    square,
    reduce_of_ones,
    concat_of_uniforms,
    *logic.RULES,
)
