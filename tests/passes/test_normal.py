"""The normal form changes no number, and is one where only the words differ."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from ptir import ops
from ptir.ir import Node, Program, TensorType, constant, param, tensor_type
from ptir.ops.evaluate import evaluate
from ptir.passes.normal import NormalForm, same_value
from tests.exact import same
from tests.steps import programs

F = tensor_type((2, 1, 3), "f32")
x, y = (param(slot, F) for slot in range(2))
row = param(2, tensor_type((3,), "f32"))
count, by = (param(8 + slot, tensor_type((), "si32")) for slot in range(2))
cube = param(7, tensor_type((4, 4, 4), "f32"))
square = [param(3 + slot, tensor_type((4, 4), "f32")) for slot in range(2)]


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(programs())
def test_the_normal_form_of_any_value_has_its_numbers(case):
    program, arrays = case
    results = [root for root in program.results if isinstance(root.type, TensorType)]
    form = NormalForm(())
    normal = list[Node]()
    for root in results:
        assert form.reaches(root, len(program.nodes))
        normal.append(form.done[root])
    got = evaluate(Program(program.inputs, tuple(normal)), arrays)
    want = evaluate(Program(program.inputs, tuple(results)), arrays)
    for one, other in zip(got, want, strict=True):
        assert 1 not in one.shape
        same(one, np.squeeze(other))


def full(value, shape=(2, 1, 3)):
    return constant(np.full(shape, value), "f32")


def spread(node, shape=(2, 1, 3)):
    return ops.broadcast_to(node, shape=shape)


def flat(node):
    return ops.reshape(node, shape=(2, 3))


def dot(a, b, left=1, right=0):
    return ops.dot_general(a, b, contract_lhs=[left], contract_rhs=[right])


def total(node, **attrs):
    return ops.reduce(node, kind="sum", **attrs)


SAME = {
    "order of operands": (ops.add(x, y), ops.add(y, x)),
    "a comparison from the other side": (
        ops.compare(x, y, op="ge"),
        ops.compare(y, x, op="le"),
    ),
    "a number, filled or repeated": (ops.mul(x, full(2)), ops.mul(x, spread(constant(2, "f32")))),
    "a broadcast before or after": (
        ops.exp(spread(row)),
        spread(ops.exp(row)),
    ),
    "a broadcast in two steps": (
        spread(ops.reshape(row, shape=(1, 3))),
        spread(spread(row, (1, 1, 3))),
    ),
    "axes of size 1": (
        ops.reshape(ops.add(flat(x), flat(y)), shape=(2, 1, 3)),
        ops.add(x, y),
    ),
    "keepdims": (
        total(x, axes=2, keepdims=True),
        ops.reshape(total(x, axes=2), shape=(2, 1, 1)),
    ),
    "a default that is stated": (total(x, axes=2), total(x, axes=2, out_dtype="f32")),
    "counting along an axis": (
        ops.iota(shape=(4, 3), dtype="si32", axis=1),
        spread(ops.iota(shape=(3,), dtype="si32", axis=0), (4, 3)),
    ),
    "a factor that is transposed": (
        dot(square[0], ops.transpose(square[1], perm=(1, 0))),
        dot(square[0], square[1], right=1),
    ),
    "a transpose of a broadcast": (
        ops.transpose(spread(row, (2, 3)), perm=(1, 0)),
        spread(ops.reshape(row, shape=(3, 1)), (3, 2)),
    ),
    "a sum of one number": (
        total(x, axes=1),
        flat(total(ops.reshape(x, shape=(2, 3, 1)), axes=2, keepdims=True)),
    ),
}

OTHER = {
    "operands that may not change places": (ops.sub(x, y), ops.sub(y, x)),
    "a comparison turned round": (ops.compare(x, y, op="ge"), ops.compare(y, x, op="ge")),
    "strict and not": (ops.compare(x, y, op="gt"), ops.compare(x, y, op="ge")),
    "zeros of two signs": (ops.mul(x, full(0.0)), ops.mul(x, full(-0.0))),
    "rows and columns": (
        spread(ops.reshape(square[0], shape=(4, 4, 1)), (4, 4, 4)),
        spread(square[0], (4, 4, 4)),
    ),
    "a transpose": (square[0], ops.transpose(square[0], perm=(1, 0))),
    "another axis": (total(square[0], axes=0), total(square[0], axes=1)),
    "a sum of one number and the number": (flat(x), total(x, axes=1)),
    "both factors transposed at once": (
        dot(square[0], square[1]),
        dot(square[0], square[1], left=0, right=1),
    ),
    "a factor whose rows change places": (
        dot(ops.transpose(cube, perm=(1, 0, 2)), square[0], left=2),
        dot(cube, square[0], left=2),
    ),
    "an integer division of no elements, that of all is refused by zero": (
        spread(ops.div(count, by), (0,)),
        ops.div(spread(count, (0,)), spread(by, (0,))),
    ),
    "counting along another axis": (
        ops.iota(shape=(4, 4), dtype="si32", axis=0),
        ops.iota(shape=(4, 4), dtype="si32", axis=1),
    ),
    "a rounding on the way": (
        ops.cast(ops.cast(x, dtype="f16"), dtype="f32"),
        x,
    ),
    "the same elements of another shape": (x, flat(x)),
    "sums taken in another order": (
        ops.add(ops.add(x, y), spread(row)),
        ops.add(x, ops.add(y, spread(row))),
    ),
}


@pytest.mark.parametrize("words", SAME)
def test_it_is_one_where_only_the_words_differ(words):
    assert same_value(*SAME[words], (), 20)


@pytest.mark.parametrize("words", OTHER)
def test_it_is_another_where_values_may_differ(words):
    assert not same_value(*OTHER[words], (), 20)


def test_it_looks_no_further_than_what_is_given_and_the_limit():
    deep = x
    for _ in range(50):
        deep = ops.exp(deep)
    assert not same_value(ops.add(deep, y), ops.add(y, deep), (), 20)
    assert same_value(ops.add(deep, y), ops.add(y, deep), (deep, y), 20)
