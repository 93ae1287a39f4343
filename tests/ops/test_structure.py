"""Bodies mean what they say applied, tuples hold what went in, opaque kernels stay opaque."""

import numpy as np
import pytest

from ptir import ops
from ptir.ir import Program, SpecError, TupleType, param, tensor_type
from ptir.ops.evaluate import evaluate
from tests.ops.calling import call

ROW = tensor_type((3,), "f32")
X, Y = np.array([[1, -2, 3], [4, 5, -6]], np.float32)
BODY = Program.of([ROW, ROW], lambda x, y: (ops.sub(x, y), ops.mul(x, y)))


@pytest.mark.parametrize("op", [ops.composite, ops.call])
def test_a_body_applied_is_its_results(op):
    attrs = {"name": "pair"} if op is ops.composite else {}
    difference, product = call(op, X, Y, body=BODY, **attrs)
    np.testing.assert_array_equal(difference, X - Y)
    np.testing.assert_array_equal(product, X * Y)


def test_a_body_written_out_means_the_same():
    whole = Program.of([ROW, ROW], lambda x, y: ops.composite(x, y, name="pair", body=BODY))
    inlined = Program(whole.inputs, (ops.inline(whole.results[0]),)).verify()
    assert "composite" not in str(inlined)
    for one, other in zip(*(evaluate(p, [X, Y])[0] for p in (whole, inlined)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_composite_names_itself_when_its_operands_do_not_fit():
    with pytest.raises(SpecError, match="composite pair: 1 region operands came, wanted 2"):
        ops.composite(param(0, ROW), name="pair", body=BODY)


def test_items_of_a_tuple_are_what_went_in():
    pair = ops.tuple_(param(0, ROW), ops.tuple_(param(1, ROW)))
    assert pair.type == TupleType((ROW, TupleType((ROW,))))
    inner = ops.item(ops.item(pair, index=1), index=0)
    program = Program.of([ROW, ROW], lambda x, y: (ops.item(pair, index=0), inner)).verify()
    first, second = evaluate(program, [X, Y])
    np.testing.assert_array_equal(first, X)
    np.testing.assert_array_equal(second, Y)


def test_an_item_that_is_not_there_is_refused():
    with pytest.raises(SpecError, match=r"index 1 of a tuple of 1 \[attribute\]"):
        ops.item(ops.tuple_(param(0, ROW)), index=1)
    with pytest.raises(SpecError, match=r"operand is f32\[3\], wanted a tuple \[type\]"):
        ops.item(param(0, ROW), index=0)


def test_a_custom_call_has_the_type_it_declares_and_no_meaning_elsewhere():
    declared = tensor_type((7,), "bf16")
    node = ops.custom_call(param(0, ROW), target="ptir.test.kernel.v1", type=declared)
    assert node.type == declared
    with pytest.raises(SpecError, match=r"custom_call: .*a backend must claim it \[op\]"):
        evaluate(Program.of([ROW], lambda x: node), [X])


@pytest.mark.parametrize(
    "target", ["kernel", "kernel.v1", "ptir.test.kernel", "ptir.test.vector", "ptir..v1"]
)
def test_a_custom_call_target_is_namespaced_and_versioned(target):
    with pytest.raises(SpecError, match="namespaced and versioned"):
        ops.custom_call(param(0, ROW), target=target, type=ROW)
