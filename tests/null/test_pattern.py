"""Patterns: what they match, what they bind, what they refuse."""

import math

import ml_dtypes
import numpy as np
import pytest

from ptir import ops
from ptir.ir import (
    Program,
    Rest,
    SpecError,
    Variable,
    Wildcard,
    constant,
    dtype,
    param,
    tensor_type,
    uniform_value,
)

F = tensor_type((2, 3), "f32")
a, b, c = (param(slot, F) for slot in range(3))
x, y, z = Wildcard("x"), Wildcard("y"), Wildcard("z")


def test_a_wildcard_binds_any_node():
    found = ops.sub(x, y).match(ops.sub(a, ops.exp(b)))
    assert found is not None
    assert found.nodes == {"x": a, "y": ops.exp(b)}
    assert found.interior == {ops.sub(a, ops.exp(b))}


def test_a_repeated_wildcard_wants_one_node():
    assert ops.sub(x, x).match(ops.sub(a, a))
    assert ops.sub(x, x).match(ops.sub(a, b)) is None


def test_another_op_or_arity_does_not_match():
    assert ops.sub(x, y).match(ops.add(a, b)) is None
    assert ops.concat(x, y, axis=0).match(ops.concat(a, b, c, axis=0)) is None


def test_a_wildcard_may_want_a_dtype_or_a_condition():
    half = Wildcard("h", dtype("f16"))
    assert ops.exp(half).match(ops.exp(a)) is None
    assert ops.exp(half).match(ops.exp(param(0, F.with_dtype(dtype("f16")))))
    leaf = Wildcard("l", where=lambda node: not node.operands)
    assert ops.exp(leaf).match(ops.exp(a))
    assert ops.exp(leaf).match(ops.exp(ops.neg(a))) is None


def test_stated_attributes_are_normalised_for_the_operands():
    node = ops.reduce(a, kind="sum", axes=1)
    assert ops.reduce(x, kind="sum", axes=-1).match(node)
    assert ops.reduce(x, kind="sum", axes=[1]).match(node)
    assert ops.reduce(x, kind="sum", axes=0).match(node) is None
    assert ops.reduce(x, kind="max", axes=-1).match(node) is None
    assert ops.reduce(x, kind="sum", axes=7).match(node) is None


def test_attributes_that_are_not_stated_are_free():
    assert ops.reduce(x, kind="sum").match(ops.reduce(a, kind="sum", axes=0, keepdims=True))


def test_a_variable_binds_an_attribute_and_wants_it_twice():
    axes = Variable("axes")
    pattern = ops.sub(ops.reduce(x, kind="max", axes=axes), ops.reduce(y, kind="min", axes=axes))
    same = ops.sub(ops.reduce(a, kind="max", axes=1), ops.reduce(b, kind="min", axes=-1))
    found = pattern.match(same)
    assert found is not None
    assert found.attrs == {"axes": (1,)}
    square = [param(slot, tensor_type((2, 2), "f32")) for slot in range(2)]
    apart = ops.sub(
        ops.reduce(square[0], kind="max", axes=1), ops.reduce(square[1], kind="min", axes=0)
    )
    assert pattern.match(apart) is None


def test_a_variable_may_have_a_condition():
    last = Variable("axes", lambda axes: axes == (1,))
    assert ops.reduce(x, axes=last).match(ops.reduce(a, kind="sum", axes=1))
    assert ops.reduce(x, axes=last).match(ops.reduce(a, kind="sum", axes=0)) is None


def test_a_misspelled_attribute_is_refused_when_the_pattern_is_written():
    with pytest.raises(SpecError, match="did you mean 'axes'"):
        ops.reduce(x, axis=1)


def test_operands_of_a_commutative_op_match_in_both_orders():
    pattern = ops.add(ops.exp(x), y)
    for node in (ops.add(ops.exp(a), b), ops.add(b, ops.exp(a))):
        found = pattern.match(node)
        assert found is not None
        assert found.nodes == {"x": a, "y": b}
    assert ops.sub(ops.exp(x), y).match(ops.sub(b, ops.exp(a))) is None


def test_the_matcher_goes_back_when_a_later_part_fails():
    # Only if the first sum is taken the other way round does the second one fit.
    pattern = ops.sub(ops.add(x, y), ops.exp(x))
    node = ops.sub(ops.add(a, b), ops.exp(b))
    found = pattern.match(node)
    assert found is not None
    assert found.nodes == {"x": b, "y": a}
    deep = ops.mul(ops.add(ops.add(x, y), z), ops.sub(z, y))
    found = deep.match(ops.mul(ops.sub(a, b), ops.add(a, ops.add(b, c))))
    assert found is not None
    assert found.nodes == {"x": c, "y": b, "z": a}


def test_a_pattern_that_stands_twice_wants_one_node():
    shared = ops.exp(x)
    pattern = ops.sub(shared, ops.neg(shared))
    assert pattern.match(ops.sub(ops.exp(a), ops.neg(ops.exp(a))))
    assert pattern.match(ops.sub(ops.exp(a), ops.neg(ops.exp(b)))) is None


def test_a_number_matches_a_constant_through_what_only_moves_elements():
    one = constant(1, "f32")
    moved = ops.transpose(ops.reshape(ops.broadcast_to(one, shape=(6,)), shape=(3, 2)), perm=(1, 0))
    for number in (1, 1.0, True):
        assert ops.mul(x, number).match(ops.mul(a, moved))
    assert ops.mul(x, 2).match(ops.mul(a, moved)) is None
    assert ops.mul(x, 1).match(ops.mul(a, b)) is None
    assert ops.mul(x, 1).match(ops.mul(a, ops.exp(moved))) is None


def test_a_filled_array_is_uniform_and_another_is_not():
    assert ops.mul(x, 2).match(ops.mul(a, constant(np.full((2, 3), 2), "f32")))
    mixed = np.full((2, 3), 2.0)
    mixed[1, 2] = 3
    assert ops.mul(x, 2).match(ops.mul(a, constant(mixed, "f32"))) is None
    assert uniform_value(constant(np.zeros((0,)), "f32")) is None


def matches(number, value, element):
    t = tensor_type((), element)
    return ops.add(x, number).match(ops.add(param(0, t), constant(value, element))) is not None


@pytest.mark.parametrize("element", ["f16", "bf16", "f32", "f64", "f8e5m2"])
def test_zeros_are_told_apart_by_sign_and_a_nan_is_any_nan(element):
    assert matches(0.0, 0.0, element)
    assert matches(-0.0, -0.0, element)
    assert not matches(0.0, -0.0, element)
    assert not matches(-0.0, 0.0, element)
    assert matches(math.nan, math.nan, element)
    assert not matches(math.nan, 0.0, element)
    assert not matches(0.0, math.nan, element)


def test_a_number_is_rounded_to_the_dtype_of_the_constant():
    assert matches(0.1, ml_dtypes.bfloat16(0.1), "bf16")
    assert matches(0.1, np.float32(0.1), "f32")
    assert not matches(0.1, np.float32(0.1), "f64")


def test_an_integer_constant_matches_its_exact_value_only():
    assert matches(1, 1, "si8")
    assert matches(1.0, 1, "si8")
    assert not matches(0.5, 0, "si8")
    assert not matches(300, 44, "si8")  # 300 is 44 modulo 256
    assert not matches(-1, 255, "ui8")
    assert matches(3, 3, "si4")
    assert not matches(math.nan, 0, "si32")


def test_complex_parts_keep_their_signs():
    assert matches(1 + 2j, 1 + 2j, "c64")
    assert not matches(complex(0.0, -0.0), complex(0.0, 0.0), "c64")
    assert not matches(1j, 0.0, "f32")


def test_interior_values_used_elsewhere_escape():
    inner = ops.exp(a)
    root = ops.neg(inner)
    found = ops.neg(ops.exp(x)).match(root)
    assert found is not None
    alone = Program.of([F], lambda p: ops.abs_(root))
    assert found.escapes(alone) == ()
    assert found.escapes(Program.of([F, F], lambda p, q: (root, ops.add(inner, q)))) == (inner,)
    assert found.escapes(Program.of([F], lambda p: (root, inner))) == (inner,)


def test_a_rest_takes_any_number_of_operands():
    some, more = Rest("some"), Rest("more")
    whole = ops.concat(a, b, c, axis=0)
    found = ops.concat(x, some).match(whole)
    assert found is not None
    assert (found.nodes, found.rests) == ({"x": a}, {"some": (b, c)})
    alone = ops.concat(x, some).match(ops.concat(a, axis=0))
    assert alone is not None
    assert alone.found == {"x": a, "some": ()}
    assert ops.concat(x, y, z, Wildcard("w"), some).match(whole) is None
    inner = ops.concat(a, b, axis=0)
    nested = ops.concat(some, ops.concat(x, y), more).match(ops.concat(c, inner, inner, axis=0))
    assert nested is not None
    assert nested.rests == {"some": (c,), "more": (inner,)}


def test_a_rest_that_stands_twice_wants_the_same_operands():
    some = Rest("some")
    pattern = ops.add(ops.concat(some, axis=0), ops.concat(some, axis=-2))
    parts = ops.concat(a, b, axis=0), ops.concat(b, a, axis=0)
    assert pattern.match(ops.add(parts[0], parts[0]))
    assert pattern.match(ops.add(*parts)) is None
