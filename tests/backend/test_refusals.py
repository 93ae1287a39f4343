"""What is wrong in the system is refused, with words that say the way out."""

import re
from typing import Any

import numpy as np
import pytest

import ptir
from ptir import engine, nn, ops
from ptir.ir import Node, Program, constant, rewrite, rule, tensor_type
from ptir.params import new_namespace

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def negated() -> Program:
    return Program.of([tensor_type((2, 3), "f32")], lambda x: ops.neg(ops.abs_(x)))


def refused(message: str):
    return pytest.raises(ptir.PtirError, match=re.escape(message))


def test_a_broken_rule_is_named_with_the_type_that_it_made():
    @rule(ops.neg)
    def flatten_on_the_way(node: Node) -> Node:
        return ops.reshape(node, shape=(6,))

    with refused("flatten_on_the_way: turned f32[2, 3] into f32[6]"):
        rewrite(negated(), [flatten_on_the_way])


def test_a_pass_that_breaks_a_program_is_named(monkeypatch):
    def forget_inputs(program: Program) -> Program:
        return Program((), program.results)

    backend = type(engine.backend_of(None))
    monkeypatch.setenv("PTIR_VERIFY", "1")
    monkeypatch.setattr(backend, "pipeline", lambda self: {"pre": [forget_inputs]})
    with refused("forget_inputs: it broke the program: program: input 0 is used but not declared"):
        (-ptir.as_tensor(X)).numpy()


def test_rules_that_undo_each_other_are_named():
    @rule(ops.neg)
    def to_difference(node: Node) -> Node:
        zero = ops.broadcast_to(constant(0, "f32"), shape=(2, 3))
        return ops.sub(zero, node.operands[0])

    @rule(ops.sub)
    def to_negation(node: Node) -> Node:
        return ops.neg(node.operands[1])

    with refused("to_difference, to_negation: the rules undo each other"):
        rewrite(negated(), [to_difference, to_negation])


def test_a_broken_kernel_is_refused_with_the_first_element_that_differs():
    def identity(x: Any) -> Any:
        return x

    message = r"relu: the kernel differs on x f32\[3, 5\]: at \[\d, \d\] it gave -\S+, wanted 0.0"
    with pytest.raises(ptir.PtirError, match=message):
        ptir.kernel("relu", backend="reference")(identity)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"matmull": "force=default"}, "did you mean 'matmul'?"),
        ({"matmul": "force=split"}, "did you mean 'split_k'?"),
        ({"matmul": "fastest"}, "fastest"),
        ({"matmul": "benchmark(cache=0)"}, "cache=0"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(settings, message):
    with refused(message), ptir.override(**settings):
        pass


def test_a_stale_parameter_is_refused_and_its_successor_counts():
    layer = nn.Linear(ptir.as_tensor(X))
    nn.bind_namespace(layer, new_namespace())
    old, step = layer.weight, ptir.compile(lambda x: x @ (layer.weight * 2.0))
    row = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(step(row).numpy(), row @ (X * 2))
    nn.replace_parameter(layer, "weight", ptir.as_tensor(X + 1))
    np.testing.assert_array_equal(step(row).numpy(), row @ ((X + 1) * 2))
    with refused("its data was replaced"):
        (old + 1.0).numpy()
