"""The theorems catch what they are for: rules that are nearly right."""

import pytest
from hypothesis import Phase

from ptir import ops
from ptir.ir import (
    Node,
    Pattern,
    Rule,
    SpecError,
    Variable,
    Wildcard,
    dtype,
    make,
    rule,
)
from ptir.passes.facts import filled, inverse, is_float, shape
from tests.passes.theorem import prove

x, y, z = Wildcard("x"), Wildcard("y"), Wildcard("z")
perm, inner, axis = Variable("perm"), Variable("inner"), Variable("axis")
WRONG: list[Rule] = []


def wrong(*where: Pattern, tolerance: float = 0.0):
    def declare(replace) -> Rule:
        WRONG.append(rule(*where, tolerance=tolerance)(replace))
        return WRONG[-1]

    return declare


@wrong(ops.add(x, 0.0))
def plus_zero_keeps_minus_zero(x):
    return x


@wrong(ops.mul(x, 0))
def times_zero_is_zero(root, x):
    return filled(0, root)


@wrong(ops.div(Wildcard("x", where=is_float), x))
def by_itself_is_one(root, x):
    return filled(1, root)


@wrong(ops.sub(x, x))
def minus_itself_is_zero(root, x):
    return filled(0, root)


@wrong(ops.add(ops.add(x, y), z))
def sums_in_any_order(x, y, z):
    return ops.add(x, ops.add(y, z))


@wrong(ops.maximum(x, y))
def maximum_is_the_first(x, y):
    return x


@wrong(ops.select(ops.compare(x, y, op="gt"), x, y))
def select_is_maximum(x, y):
    return ops.maximum(x, y)


@wrong(ops.not_(ops.compare(x, y, op="lt")))
def not_less_is_greater_or_equal(x, y):
    return ops.compare(x, y, op="ge")


@wrong(ops.compare(x, x, op="eq"))
def equal_to_itself(root, x):
    return filled(True, root)


@wrong(ops.sub(0.0, x))
def zero_minus_is_minus(x):
    return ops.neg(x)


@wrong(ops.neg(ops.sub(x, y)))
def minus_difference(x, y):
    return ops.sub(y, x)


@wrong(ops.abs_(ops.neg(x)))
def absolute_of_minus(root, x):
    return ops.abs_(x)


@wrong(ops.div(x, 3))
def third_by_product(root, x):
    return ops.mul(x, filled(1 / 3, x)) if is_float(x) else None


@wrong(ops.rsqrt(x))
def rsqrt_in_two_steps(x):
    return ops.reciprocal(ops.sqrt(x))


@wrong(ops.pow_(x, 0.5))
def power_half_is_sqrt(x):
    return ops.sqrt(x) if is_float(x) else None


@wrong(ops.cast(ops.cast(x)))
def cast_of_any_cast(root, x):
    try:
        return ops.cast(x, dtype=root.attrs["dtype"])
    except SpecError:  # complex to real
        return None


@wrong(ops.transpose(ops.transpose(x, perm=inner), perm=perm))
def transposes_composed_backwards(root, x, perm, inner):
    new = ops.transpose(x, perm=tuple(perm[a] for a in inner))
    return new if new.type == root.type else None


@wrong(ops.add(ops.transpose(x, perm=perm), y))
def other_operand_in_the_same_order(root, x, y, perm):
    """Right only for orders that undo themselves."""
    other = ops.transpose(y, perm=perm)
    return ops.transpose(ops.add(x, other), perm=perm) if other.type == x.type else None


@wrong(ops.reshape(ops.transpose(x)))
def reshape_forgets_transpose(root, x):
    return ops.reshape(x, shape=shape(root))


@wrong(ops.broadcast_to(ops.transpose(x, perm=perm)))
def broadcast_along_the_wrong_axis(root, x, perm):
    same = shape(x) == shape(root.operands[0])
    return ops.broadcast_to(x, shape=shape(root)) if same else None


@wrong(ops.reduce(ops.transpose(x, perm=perm), kind="max", axes=Variable("axes"), keepdims=False))
def reduce_with_the_inverse_order(root, x, perm, axes):
    new = make(root.op, (x,), {**root.attrs, "axes": [inverse(perm)[a] for a in axes]})
    return new if new.type == root.type else None


@wrong(ops.dot_general(x, y))
def operands_of_dot_exchanged(root, x, y):
    attrs = root.attrs
    new = ops.dot_general(
        y,
        x,
        batch_lhs=attrs["batch_rhs"],
        batch_rhs=attrs["batch_lhs"],
        contract_lhs=attrs["contract_rhs"],
        contract_rhs=attrs["contract_lhs"],
    )
    return new if new.type == root.type else None


@wrong(ops.concat(x, y, axis=axis))
def concat_in_any_order(root, x, y, axis):
    new = ops.concat(y, x, axis=axis)
    return new if new.type == root.type else None


@wrong(ops.reduce(x, kind="sum", axes=Variable("axes"), keepdims=True))
def sum_over_ones_is_the_element(root, x, axes):
    alone = all(shape(x)[a] == 1 for a in axes)
    return x if alone and root.type == x.type and axes else None


@wrong(ops.maximum(x, y))
def maximum_forgets_nan(root, x, y):
    return ops.select(ops.compare(x, y, op="ge"), x, y)


@wrong(ops.div(ops.broadcast_to(x), ops.broadcast_to(y)))
def divisions_that_did_not_run(root, x, y):
    """With a size of 0 nothing was divided; a zero may now be."""
    if x.type != y.type or is_float(x):
        return None
    return ops.broadcast_to(ops.div(x, y), shape=shape(root))


@pytest.mark.parametrize("one", WRONG, ids=lambda one: one.name)
def test_a_rule_that_is_nearly_right_is_caught(one: Rule):
    with pytest.raises((AssertionError, SpecError)) as caught:
        prove(one, one.before[0], examples=2000, derandomize=True, phases=(Phase.generate,))
    assert "fired on no instance" not in str(caught.value)


def test_a_rule_that_never_fires_is_caught():
    @rule(ops.exp(ops.exp(x)))
    def never(x: Node) -> None:
        return None

    with pytest.raises(AssertionError, match="never: it fired on no instance"):
        prove(never, never.before[0], examples=10, derandomize=True)


def test_a_replacement_of_another_type_is_caught():
    @rule(ops.exp(x))
    def changes_the_type(x: Node) -> Node:
        return ops.is_finite(x)

    with pytest.raises(AssertionError):
        prove(changes_the_type, changes_the_type.before[0], examples=10, derandomize=True)


def test_a_rule_may_state_a_tolerance_and_is_held_to_it():
    def replace(x: Node) -> Node:
        return ops.reciprocal(ops.sqrt(x))

    before = ops.rsqrt(Wildcard("x", dtype("f32")))
    loose, tight = (rule(before, tolerance=t)(replace) for t in (1.5, 0.01))
    prove(loose, before, examples=200, derandomize=True)
    with pytest.raises(AssertionError):
        prove(tight, before, examples=400, derandomize=True)
