"""Plans of the native backend: what is fused, what is a view, what memory is said to be taken."""

from typing import Any

import numpy as np
import pytest

import ptir
from ptir import backends, engine, functional, ops, profile
from ptir.backends.native.executable import Executable
from ptir.backends.native.plan import Host
from ptir.backends.native.size import value
from ptir.functional import FUNCTIONALS
from ptir.ir import Dim, Node, Program, SpecError, parse_type, tensor_type
from ptir.ops.evaluate import evaluate

NATIVE = backends.find("native")
T = Dim.symbol("T")
RANDOM = np.random.default_rng(7)


def linear(x: Node, w: Node, b: Node) -> Node:
    types: Any = {n: v.type for n, v in zip(("x", "weight", "bias"), (x, w, b), strict=True)}
    (result,) = FUNCTIONALS["linear"].program(types, {}).inline([x, w, b])
    return result


def program(build: Any, *types: str) -> Program:
    return Program.of([parse_type(t) for t in types], build)


def executable(of: Program) -> Executable:
    made = engine.plan_of(of, NATIVE)[0].executable
    assert isinstance(made, Executable)
    return made


def kernels(of: Program) -> list[str]:
    return [getattr(step, "kernel", "reference") for step in executable(of).plan.steps]


def arrays(of: Program, **symbols: int) -> list[Any]:
    types: list[Any] = [i.type.substitute(symbols) for i in of.inputs]
    return [RANDOM.standard_normal(t.static_shape, "f4") for t in types]


def check(of: Program, given: list[Any]) -> None:
    results = executable(of)(*map(NATIVE.put, given))
    for got, want in zip(results, evaluate(of, given), strict=True):
        np.testing.assert_allclose(NATIVE.get(got), want, rtol=1e-5, atol=1e-5)


LINEAR = "f32[?T, 24]", "f32[24, 40]", "f32[40]"


def test_a_residual_is_added_where_the_product_is_made():
    one = program(lambda x, w, b, r: ops.add(r, linear(x, w, b)), *LINEAR, "f32[?T, 40]")
    assert kernels(one) == ["dot"]
    for t in (1, 2, 9, 33):
        check(one, arrays(one, T=t))


def test_a_product_that_something_else_reads_stays_by_itself():
    def build(x, w, b, r):
        y = linear(x, w, b)
        return ops.add(y, r), ops.tanh(y)

    one = program(build, *LINEAR, "f32[?T, 40]")
    assert sorted(kernels(one)) == ["dot", "elementwise", "elementwise"]
    check(one, arrays(one, T=5))


def test_a_chain_is_one_call_and_transposes_and_slices_are_none():
    def build(x, y):
        turned = ops.transpose(ops.slice_(x, starts=(1, 0), limits=(5, 6)), perm=(1, 0))
        return ops.tanh(ops.add(ops.mul(turned, y), y))

    one = program(build, "f32[8, 6]", "f32[6, 4]")
    assert kernels(one) == ["elementwise"]
    check(one, arrays(one))


def test_what_has_no_kernel_runs_on_the_host_and_explain_says_so(monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "native")
    x = ptir.as_tensor(np.array([1 + 2j, 3 - 1j], np.complex64))
    made = x * x
    assert "on the reference: mul ×1" in ptir.explain(made)
    one = program(lambda x: ops.mul(x, x), "c64[2]")
    assert isinstance(executable(one).plan.steps[0], Host)
    np.testing.assert_allclose(made.numpy(), np.array([-3 + 4j, 8 - 6j]), rtol=1e-6)


def test_a_plan_says_beforehand_what_memory_a_length_takes():
    one = program(lambda x, w, b: ops.tanh(linear(x, w, b)), *LINEAR)
    made = executable(one)
    assert made.memory({"T": 1000}) - made.memory({"T": 100}) >= 900 * 40 * 4
    bound = made.plan.bind({"T": 100})
    assert bound.outputs == (((100, 40), np.dtype("f4")),)


def test_buffers_that_live_at_once_do_not_overlap():
    def build(x):
        y = ops.dot_general(x, x, contract_lhs=(0,), contract_rhs=(0,))
        z = ops.dot_general(y, x, contract_lhs=(1,), contract_rhs=(1,))
        return ops.reduce(z, kind="sum", axes=(0,)), ops.reduce(y, kind="max", axes=(1,))

    one = program(build, "f32[9, 7]")
    made = executable(one).plan
    places = made.bind({}).places
    lives = made._lives
    taken = [(places[b], places[b] + value(b.nbytes, {}), *lives[b]) for b in places]
    for i, (start, end, first, last) in enumerate(taken):
        for begin, stop, begun, done in taken[i + 1 :]:
            apart = end <= begin or stop <= start
            assert apart or last < begun or done < first
    check(one, arrays(one))


def test_a_length_that_breaks_a_rule_is_refused_before_anything_runs():
    one = program(lambda x: ops.slice_(x, starts=(0,), limits=(T - 3,)), "f32[?T]")
    check(one, [np.arange(5, dtype="f4")])
    with pytest.raises(SpecError):
        executable(one)(NATIVE.put(np.zeros(2, "f4")))


def test_an_error_of_a_kernel_is_that_of_the_reference():
    one = Program.of(
        [tensor_type((4, 3), "f32"), tensor_type((2,), "si32")],
        lambda x, i: ops.take(ops.tanh(x), i, axis=0),
    )
    given = np.zeros((4, 3), "f4"), np.array([1, 4], "i4")
    with pytest.raises(SpecError) as wanted:
        evaluate(one, given)
    with pytest.raises(SpecError) as caught:
        executable(one)(*map(NATIVE.put, given))
    assert str(caught.value) == str(wanted.value)


def test_what_refuses_half_way_has_left_its_operands_as_they_were():
    def build(x, y):
        quotient = ops.div(ops.cumulative(x, kind="max", axis=0), y)
        return ops.cumulative(quotient, kind="max", axis=0)

    one = Program.of([tensor_type((5000,), "si32")] * 2, build)
    x = np.full(5000, 7, "i4")
    y = np.where(np.arange(5000) == 4999, 0, 3).astype("i4")
    x[0], y[0] = -(2**31), -1  # which the reference takes: what is refused is the last element
    with pytest.raises(SpecError) as wanted:
        evaluate(one, (x, y))
    with pytest.raises(SpecError) as caught:
        executable(one)(NATIVE.put(x), NATIVE.put(y))
    assert str(caught.value) == str(wanted.value)
    (step,) = (s for s in executable(one).plan.steps if getattr(s, "kernel", "") == "elementwise")
    out, *inputs = step.views
    assert all(out.buffer is not x.buffer for x in inputs)


def test_each_call_is_recorded_with_its_bytes_and_operations(monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "native")
    x, w = (ptir.as_tensor(RANDOM.standard_normal(s, "f4")) for s in ((3, 8), (8, 5)))
    with profile.recording() as recorder:
        functional.linear(x, w).numpy()
    (event,) = [e for e in recorder.events if e.category == "op"]
    assert event.detail["kernel"] == "dot"
    assert event.detail["functional"] == "linear"
    assert event.detail["flops"] == 2 * 3 * 8 * 5
    assert event.detail["bytes"] == 4 * (3 * 8 + 8 * 5 + 3 * 5)


def test_each_call_is_recorded_under_the_layer_whose_parameter_was_read_last(monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "native")
    with ptir.load_model() as model:
        lm = model.as_causal_lm()
        assert lm is not None
        session = lm.session()
        session.feed([1, 2])
        with profile.recording() as recorder:
            session.feed([3])
    named = [
        (e.detail["layer"], e.detail["functional"]) for e in recorder.events if e.category == "op"
    ]
    assert named[0] == ("tok_embeddings", "embedding")
    assert named[-1] == ("lm_head", "packed_linear")
    block = [pair for pair in named if pair[0].startswith("blocks.1.")]
    assert [layer for layer, _ in block] == sorted(
        [layer for layer, _ in block],
        key=["blocks.1.ln_1", "blocks.1.attention", "blocks.1.ln_2", "blocks.1.feed_forward"].index,
    )
    assert ("blocks.1.attention", "attention") in block
    assert ("blocks.1.ln_2", "layer_norm") in block
    assert {layer.partition(".")[2][:1] for layer, _ in named if "blocks" in layer} == set("0123")
