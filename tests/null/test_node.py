"""Interning: equal graphs are one object, on any thread, at any depth; unequal ones never are."""

import gc
import itertools
import math
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from ptir import ops
from ptir.ir import (
    CONSTANT,
    Attrs,
    Literal,
    Node,
    Program,
    SpecError,
    constant,
    make,
    node,
    param,
    postorder,
    rebuild,
    rewrite,
    rule,
    tensor_type,
)
from ptir.ops.evaluate import evaluate

X = tensor_type((2, 3), "f32")


def test_equal_calls_are_one_node():
    x = param(0, X)
    assert ops.exp(x) is ops.exp(x)
    assert ops.add(x, ops.exp(x)) is ops.add(x, ops.exp(x))
    assert ops.add(x, ops.exp(x)) is not ops.add(ops.exp(x), x)
    assert ops.exp(x) is not ops.exp(param(1, X))


def test_an_attribute_is_normalised_before_it_is_compared():
    x = param(0, X)
    assert ops.reduce(x, kind="sum", axes=-1) is ops.reduce(x, kind="sum", axes=(1,))
    assert ops.transpose(x, perm=(-1, 0)) is ops.transpose(x, perm=[1, 0])


EXACT = [1, True, 1.0, 0, False, 0.0, -0.0, "1", None, (1,), (True,), (1.0,), (0.0,), (-0.0,)]


@pytest.mark.parametrize("a, b", list(itertools.combinations(EXACT, 2)), ids=repr)
def test_attributes_of_another_type_or_sign_are_not_equal(a, b):
    assert Attrs({"v": a}) != Attrs({"v": b})


@pytest.mark.parametrize("value", [*EXACT, math.nan, (math.nan,)], ids=repr)
def test_an_attribute_equals_itself(value):
    assert Attrs({"v": value}) == Attrs({"v": value})
    assert hash(Attrs({"v": value})) == hash(Attrs({"v": value}))


def test_a_nan_attribute_equals_another_nan():
    assert Attrs({"v": math.nan}) == Attrs({"v": float("nan")})


def test_a_numpy_scalar_is_the_number_that_it_stands_for():
    assert Attrs({"v": np.float64(1.0)}) == Attrs({"v": 1.0})
    assert Attrs({"v": np.float64(1.0)}) != Attrs({"v": 1})
    assert Attrs({"v": np.bool_(True)}) != Attrs({"v": 1})


def test_a_free_attribute_keeps_no_subclass_of_a_number():
    body = Program.of([X], ops.exp)
    made = ops.composite(param(0, X), name="f", attributes={"eps": np.float64(2.0)}, body=body)
    assert type(made.attrs["attributes"]["eps"]) is float


def test_the_order_of_attributes_is_no_part_of_them():
    assert Attrs({"a": 1, "b": 2}) == Attrs({"b": 2, "a": 1})


def test_constants_are_compared_by_their_bits():
    assert constant(0.0, "f32") is constant(0.0, "f32")
    assert constant(0.0, "f32") is not constant(-0.0, "f32")
    assert constant(1, "f32") is not constant(1, "si32")
    quiet, payload = np.array([0x7FC00000, 0x7FC00001], "u4").view("f4")
    assert constant(quiet, "f32") is not constant(payload, "f32")


def test_a_literal_has_native_bytes_whatever_came():
    big = np.array([1.0, 2.5], ">f4")
    assert Literal(big) == Literal(big.astype("f4"))
    assert Literal(big).array.dtype.isnative


def test_an_op_refuses_what_is_no_node():
    with pytest.raises(SpecError, match="is no node"):
        ops.add(param(0, X), 1.0)


def test_a_node_that_nobody_holds_is_forgotten():
    made = ops.exp(constant(np.arange(7.0), "f64"))
    watched = [weakref.ref(made), weakref.ref(made.operands[0])]
    assert {ref() for ref in watched} <= set(node._interned.values())
    del made
    gc.collect()
    assert [ref() for ref in watched] == [None, None]


def test_eight_threads_build_the_same_graphs_and_get_identical_nodes():
    barrier = Barrier(8)

    def build(_):
        barrier.wait()
        graphs = []
        for seed in range(60):
            x = constant(np.full(3, seed), "f32")
            for _ in range(30):
                x = ops.add(ops.neg(x), ops.exp(x))
            graphs.append(x)
        return graphs

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(build, range(8))
    for graphs in others:
        assert all(a is b for a, b in zip(first, graphs, strict=True))


def test_threads_that_drop_what_others_build_disturb_nobody():
    def churn(_):
        for _ in range(300):
            x = param(0, X)
            for _ in range(5):
                x = ops.exp(ops.neg(x))
            again = param(0, X)
            for _ in range(5):
                again = ops.exp(ops.neg(again))
            assert x is again

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(churn, range(8)))


def test_postorder_gives_operands_first_and_each_node_once():
    x = param(0, X)
    y = ops.exp(x)
    z = ops.add(y, ops.mul(y, x))
    found = list(postorder(z, y))
    assert found == [x, y, ops.mul(y, x), z]


def test_rebuilding_on_the_same_operands_is_the_same_node():
    x = param(0, X)
    y = ops.exp(x)
    assert rebuild(y, (x,)) is y
    wide = rebuild(y, (param(0, tensor_type((4,), "f64")),))
    assert wide.type == tensor_type((4,), "f64")


def chain(depth: int) -> Node:
    x = param(0, tensor_type((), "si64"))
    one = constant(1, "si64")
    for _ in range(depth):
        x = ops.add(x, one)
    return x


@pytest.mark.parametrize("depth", [20_000, 200_000])
def test_a_deep_chain_is_verified_rewritten_inlined_run_and_freed(depth):
    @rule(ops.add)
    def commute(node):
        a, b = node.operands
        return ops.add(b, a) if b.op is CONSTANT else None

    program = Program.of([tensor_type((), "si64")], lambda x: chain(depth)).verify()
    assert len(program.nodes) == depth + 2
    flipped = rewrite(program, (commute,))
    assert flipped != program
    (inlined,) = flipped.inline([constant(5, "si64")])
    assert not any(n.op.name == "param" for n in postorder(inlined))
    (answer,) = evaluate(flipped, [np.array(7)])
    assert answer == depth + 7
    before = len(node._interned)
    del program, flipped, inlined
    evaluate.__globals__["_interpreter"].cache_clear()
    gc.collect()
    assert len(node._interned) < before - depth


def test_make_checks_the_type_rule():
    with pytest.raises(SpecError, match="operand 0 is f32"):
        make(ops.add, (param(0, X), param(1, tensor_type((2,), "f32"))))
