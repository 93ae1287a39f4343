"""The driver: it reaches a fixed point, or says by name which rules do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptir import ops
from ptir.ir import (
    Node,
    Program,
    Rewriting,
    SpecError,
    Wildcard,
    constant,
    param,
    rewrite,
    rule,
    tensor_type,
)
from ptir.ops.evaluate import evaluate

F = tensor_type((3,), "f32")
x, y = Wildcard("x"), Wildcard("y")


@rule(ops.neg(ops.neg(x)))
def double_negation(x):
    return x


@rule(ops.add(x, ops.neg(y)))
def add_of_negative(x, y):
    return ops.sub(x, y)


@rule(ops.sub(x, x))
def minus_itself(x):
    return ops.broadcast_to(constant(0, "f32"), shape=x.type.shape)


RULES = (double_negation, add_of_negative, minus_itself)


def test_rules_fire_until_none_does():
    program = Program.of([F], lambda a: ops.add(ops.neg(ops.neg(a)), ops.neg(ops.neg(ops.neg(a)))))
    found = rewrite(program, RULES)
    assert [n.op.name for n in found.nodes] == ["constant", "broadcast_to"]
    assert found.inputs == program.inputs


def test_a_replacement_is_rewritten_too():
    @rule(ops.exp)
    def exp_to_neg(node: Node):
        return ops.neg(ops.neg(ops.neg(node.operands[0])))

    found = rewrite(Program.of([F], ops.exp), (exp_to_neg, double_negation))
    assert found.results == (ops.neg(param(0, F)),)


def test_a_program_that_no_rule_changes_is_the_same_object():
    program = Program.of([F, F], lambda a, b: ops.add(ops.exp(a), b))
    assert rewrite(program, RULES) is program


def test_shared_nodes_are_rewritten_once():
    fired = []

    @rule(ops.exp)
    def note(node: Node):
        fired.append(node)
        return ops.neg(node.operands[0])

    def tower(a):
        for _ in range(40):  # 2⁴⁰ paths
            a = ops.add(a, ops.exp(a))
        return a

    rewrite(Program.of([F], tower), (note,))
    assert len(fired) == 40


def test_the_counter_says_which_rules_fired():
    run = Rewriting(RULES)
    run.settle(ops.add(ops.neg(ops.neg(param(0, F))), ops.neg(ops.neg(param(1, F)))))
    assert run.fired == {"double_negation": 2}


def test_rules_that_undo_each_other_are_reported_by_name():
    @rule(ops.neg)
    def forth(node: Node):
        return ops.abs_(node.operands[0])

    @rule(ops.abs_)
    def back(node: Node):
        return ops.neg(node.operands[0])

    with pytest.raises(SpecError, match="undo each other") as caught:
        rewrite(Program.of([F], lambda a: ops.exp(ops.neg(a))), (forth, back))
    assert "forth" in caught.value.op
    assert "back" in caught.value.op
    assert caught.value.code == "rewrite"


def test_a_rule_that_wraps_its_own_node_is_reported():
    @rule(ops.neg)
    def wrap(node: Node):
        return ops.exp(node)

    with pytest.raises(SpecError) as caught:
        rewrite(Program.of([F], ops.neg), (wrap,))
    assert "wrap" in str(caught.value)


def test_growth_without_end_is_reported_by_name():
    @rule(ops.broadcast_to)
    def grow(node: Node):
        (value,) = node.operands
        return ops.broadcast_to(
            constant(value.attrs["value"].array + 1, "f32"), shape=node.attrs["shape"]
        )

    begin = Program.of([], lambda: ops.broadcast_to(constant(0, "f32"), shape=(3,)))
    with pytest.raises(SpecError, match=r"no fixed point; fired most: grow \(1\d{4}\)"):
        rewrite(begin, (grow,))


def test_a_replacement_of_another_type_is_refused():
    @rule(ops.exp)
    def shrink(node: Node):
        return ops.reduce(node.operands[0], kind="sum", axes=0)

    with pytest.raises(SpecError, match=r"shrink: turned f32\[3\] into f32\[\]"):
        rewrite(Program.of([F], ops.exp), (shrink,))


def test_a_rule_may_fire_anywhere_or_on_some_ops_only():
    @rule()
    def anywhere(node: Node):
        return ops.neg(node.operands[0]) if node.op is ops.exp else None

    seen = set()

    @rule(ops.exp, ops.neg)
    def only(node: Node):
        seen.add(node.op.name)

    program = Program.of([F], lambda a: ops.add(ops.exp(a), ops.abs_(a)))
    found = rewrite(program, (anywhere, only))
    assert found.results == (ops.add(ops.neg(param(0, F)), ops.abs_(param(0, F))),)
    assert seen == {"neg"}


@st.composite
def graphs(draw):
    nodes = [param(0, F), param(1, F)]
    for _ in range(draw(st.integers(1, 25))):
        op = draw(st.sampled_from([ops.neg, ops.abs_, ops.add, ops.sub]))
        operands = [draw(st.sampled_from(nodes)) for _ in range(op.arity[0])]
        nodes.append(op(*operands))
    return Program.of([F, F], lambda *_: tuple(nodes[-3:])).verify()


@given(graphs())
def test_rewriting_keeps_the_meaning_and_leaves_nothing_to_rewrite(program):
    found = rewrite(program, RULES).verify()
    data = [np.array([1, -2, 3], "f4"), np.array([0.5, 4, -8], "f4")]
    for new, old in zip(evaluate(found, data), evaluate(program, data), strict=True):
        assert np.array_equal(new, old)  # exact: all values are small multiples of a half
    assert rewrite(found, RULES) is found


def test_a_rule_may_have_several_patterns_and_ask_for_the_node():
    @rule(ops.exp(ops.neg(x)), ops.abs_(ops.neg(x)), tolerance=2.0)
    def drop_neg(root: Node, x: Node):
        return root.op(x)

    assert (len(drop_neg.before), drop_neg.tolerance) == (2, 2.0)
    assert drop_neg.ops == {ops.exp, ops.abs_}
    program = Program.of([F], lambda a: ops.exp(ops.neg(ops.abs_(ops.neg(a)))))
    assert rewrite(program, (drop_neg,)).results == (ops.exp(ops.abs_(param(0, F))),)
