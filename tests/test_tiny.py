"""Ten seconds, end to end: tensors, functionals, compiled functions, a program as text."""

import numpy as np

import ptir
from ptir import functional, ops
from ptir.ir import Program, parse_program, print_program, tensor_type
from ptir.ops.evaluate import evaluate


def test_tensors_compute_as_numpy():
    a, b = np.arange(6, dtype="f4").reshape(2, 3), np.array([1, -1, 2], "f4")
    lazy = (ptir.as_tensor(a) * b + 1)[:, ::-1] @ ptir.as_tensor(b)
    np.testing.assert_allclose(lazy.numpy(), (a * b + 1)[:, ::-1] @ b)


def test_a_functional_is_one_node_until_it_is_expanded():
    x = ptir.as_tensor([[1.0, 2.0, 3.0]])
    y = functional.softmax(x, axis=-1)
    assert (y.node.op, y.node.attrs["name"]) == (ops.composite, "softmax")
    weights = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    np.testing.assert_allclose(y.numpy(), [weights], rtol=1e-6)


def test_a_compiled_step_replays_with_donated_state():
    @ptir.compile(state=["cache"], symbolic={"x": {0: "T"}})
    def step(x, cache):
        return functional.relu(x - 1), cache + x.sum()

    cache = ptir.zeros(())
    for length in (1, 2, 5):
        x = np.arange(length, dtype="f4")
        y, cache = step(x, cache)
        assert y.tolist() == np.maximum(x - 1, 0).tolist()
    assert cache.item() == 0 + 1 + 10


def test_a_program_survives_its_text():
    program = Program.of(
        [tensor_type((2, 3), "f32")] * 2, lambda x, y: ops.reduce(ops.sub(x, y), kind="sum", axes=1)
    ).verify()
    text = print_program(program)
    assert "%2: f32[2, 3] = sub(%0, %1)" in text
    assert parse_program(text) == program
    x, y = np.ones((2, 3), "f4"), np.full((2, 3), 0.25, "f4")
    assert evaluate(program, [x, y])[0].tolist() == [2.25, 2.25]


def test_an_explanation_names_what_would_run():
    assert "add" in ptir.explain(ptir.as_tensor([1.0]) + 1)
