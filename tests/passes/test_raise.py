"""`raise` finds functionals in graphs written by hand, and nothing that only looks like one."""

from collections import Counter
from functools import partial
from time import process_time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptir import backends, load_model, ops
from ptir.functional import FUNCTIONALS
from ptir.ir import PARAM, Node, Program, TensorType, parse_type, rebuild, tensor_type
from ptir.ops.evaluate import evaluate
from ptir.passes.raise_ import find, raise_
from tests.backend.running import run
from tests.exact import same
from tests.passes import by_hand

X = "f32[2, 3, 5]"
TABLE = "f32[5, 3]"
D = "f32[5]"
HEADS = dict.fromkeys("qkv", "f32[2, 3, 4, 5]")
POSITIONS = {"past": "si32[2]", "lengths": "si32[2]"}


def typed(text: str) -> TensorType:
    found = parse_type(text)
    assert isinstance(found, TensorType)
    return found


def program(fn, **types):
    return Program.of(map(typed, types.values()), fn)


def calls(of):
    return [node for node in of.nodes if node.op is ops.composite]


def expanded(of):
    """The program with every composite written out."""
    done: dict[Node, Node] = {}
    for node in of.nodes:
        new = rebuild(node, tuple(done[x] for x in node.operands))
        done[node] = ops.inline(new) if new.op is ops.composite else new
    return Program(of.inputs, tuple(done[r] for r in of.results))


def data(of):
    random = np.random.default_rng(0)
    for declared in of.inputs:
        whole = declared.type.dtype.is_integer
        made = random.integers(0, 3, declared.type.static_shape) if whole else random.normal(
            size=declared.type.static_shape
        )  # fmt: skip
        yield made.astype(declared.type.dtype.numpy)


# name, function, operand types, attributes: each is one call of the functional of that name
BY_HAND = [
    ("softmax", by_hand.softmax, {"x": X}, {}),
    ("softmax", by_hand.softmax, {"x": X}, {"axis": 1}),
    ("softmax", by_hand.softmax, {"x": "f32[7]"}, {}),
    ("softmax", by_hand.softmax, {"x": "f32[4, 1]"}, {}),
    ("log_softmax", by_hand.log_softmax, {"x": X}, {}),
    ("layer_norm", by_hand.layer_norm, {"x": X, "gamma": D, "beta": D}, {}),
    ("layer_norm", by_hand.layer_norm, {"x": X, "gamma": D, "beta": D}, {"eps": 3e-4}),
    ("layer_norm", by_hand.layer_norm, {"x": X, "gamma": D}, {"eps": 0.1}),
    ("layer_norm", by_hand.layer_norm, {"x": D, "gamma": D, "beta": D}, {}),
    ("layer_norm", by_hand.layer_norm, {"x": "f64[3, 5]", "gamma": "f64[5]"}, {}),
    ("rms_norm", by_hand.rms_norm, {"x": X, "gamma": D}, {}),
    ("rms_norm", by_hand.rms_norm, {"x": "f32[1, 5]", "gamma": D}, {"eps": 1e-5}),
    ("gelu", by_hand.gelu, {"x": X}, {}),
    ("gelu", by_hand.gelu_tanh, {"x": X}, {"approximate": "tanh"}),
    ("silu", by_hand.silu, {"x": X}, {}),
    ("swiglu", by_hand.swiglu, {"gate": X, "up": X}, {}),
    ("linear", by_hand.linear, {"x": X, "weight": "f32[5, 4]", "bias": "f32[4]"}, {}),
    ("linear", by_hand.linear, {"x": "bf16[3, 5]", "weight": "bf16[5, 5]", "bias": "bf16[5]"}, {}),
    ("rotary", by_hand.rotary, {"x": "f32[2, 3, 5, 6]", "cos": TABLE, "sin": TABLE}, {}),
    ("rotary", by_hand.rotary, {"x": "f32[2, 3, 5, 8]", "cos": TABLE, "sin": TABLE}, {}),
    (
        "rotary",
        by_hand.rotary,
        {"x": "f32[2, 3, 5, 8]", "cos": "f32[2, 5, 2]", "sin": "f32[2, 5, 2]"},
        {},
    ),
    ("attention", by_hand.attention, HEADS, {}),
    ("attention", by_hand.attention, HEADS, {"causal": False}),
    ("attention", by_hand.attention, HEADS, {"scale": 0.3}),
    ("attention", by_hand.attention, HEADS, {"window": 2}),
    ("attention", by_hand.attention, HEADS, {"soft_cap": 30.0, "causal": False}),
    ("attention", by_hand.attention, {**HEADS, "past": "si32[2]"}, {}),
    ("attention", by_hand.attention, {**HEADS, **POSITIONS}, {"window": 3, "soft_cap": 2.5}),
    (
        "attention",
        by_hand.attention,
        {**HEADS, **POSITIONS, "mask": "f32[4, 4]"},
        {"window": 3, "soft_cap": 2.5, "scale": 0.125},
    ),
    (
        "attention",
        by_hand.attention,
        {"q": "f32[2, 3, 1, 5]", "k": "f32[2, 3, 7, 5]", "v": "f32[2, 3, 7, 6]", "past": "si32[2]"},
        {},
    ),
]  # fmt: skip


def named(case):
    return "-".join([case[0], *map(str, case[2]), *(f"{k}={v}" for k, v in case[3].items())])


def by_keyword(fn, types, attributes):
    return lambda *nodes: fn(**dict(zip(types, nodes, strict=True)), **attributes)


@pytest.mark.parametrize("case", BY_HAND, ids=map(named, BY_HAND))
def test_what_is_written_by_hand_becomes_the_call_of_the_functional(case):
    name, fn, types, attributes = case
    written = program(by_keyword(fn, types, attributes), **types)
    assert not calls(written)
    raised = raise_(written)
    signature = FUNCTIONALS[name].signature
    everything = {
        p: attributes.get(p, signature.parameters[p].default) for p in FUNCTIONALS[name].attributes
    }
    meant = FUNCTIONALS[name].program({n: typed(t) for n, t in types.items()}, everything)
    assert raised == meant
    assert raise_(raised) is raised


@pytest.mark.parametrize("backend", backends.names())
@pytest.mark.parametrize("case", BY_HAND, ids=map(named, BY_HAND))
def test_raised_programs_give_the_same_numbers(case, backend, monkeypatch):
    _, fn, types, attributes = case
    written = program(by_keyword(fn, types, attributes), **types)
    arrays = list(data(written))
    (want,) = evaluate(written, arrays)
    same(evaluate(raise_(written), arrays)[0], want)
    raised = run(written, arrays, backends.find(backend))
    monkeypatch.setenv("PTIR_PASSES", "-raise")
    bare = run(written, arrays, backends.find(backend))
    # A kernel rounds a narrow result once, where the ops that it stands for round at each step.
    units = 4 * float(ml_dtypes.finfo(want.dtype).eps)
    np.testing.assert_allclose(
        raised[0].astype(np.float64),
        bare[0].astype(np.float64),
        rtol=max(2e-5, units),
        atol=max(2e-6, units),
    )


NEAR_MISSES = {
    "softmax summed over another axis": (
        partial(by_hand.softmax, axis=1, sum_axis=2), {"x": "f32[2, 5, 5]"}),
    "layer_norm: eps outside of the root": (
        partial(by_hand.layer_norm, outside=True), {"x": X, "gamma": D, "beta": D}),
    "layer_norm: unbiased variance": (
        partial(by_hand.layer_norm, count=4), {"x": X, "gamma": D, "beta": D}),
    "layer_norm: a negative eps": (partial(by_hand.layer_norm, eps=-1.0), {"x": X, "gamma": D}),
    "rms_norm of a mean that is not squared": (
        partial(by_hand.rms_norm, plain=True), {"x": X, "gamma": D}),
    "gelu: another half": (partial(by_hand.gelu, half=0.25), {"x": X}),
    "gelu: another root": (partial(by_hand.gelu, root=0.7), {"x": X}),
    "gelu: another cubic": (partial(by_hand.gelu_tanh, cubic=0.0447), {"x": X}),
    "rotary: both sums": (
        partial(by_hand.rotary, minus=False),
        {"x": "f32[2, 3, 5, 6]", "cos": TABLE, "sin": TABLE}),
    "rotary: halves not crossed": (
        partial(by_hand.rotary, crossed=False),
        {"x": "f32[2, 3, 5, 6]", "cos": TABLE, "sin": TABLE}),
    "relu at one": (lambda x: ops.maximum(x, by_hand.number(1, x)), {"x": X}),
    "silu of two values": (lambda x, y: ops.mul(x, ops.logistic(y)), {"x": X, "y": X}),
}  # fmt: skip


@pytest.mark.parametrize("miss", NEAR_MISSES)
def test_a_near_miss_is_left_alone(miss):
    fn, types = NEAR_MISSES[miss]
    written = program(fn, **types)
    assert raise_(written) is written


def test_mean_minus_x_is_no_layer_norm_but_what_is_made_of_it_is_an_rms_norm():
    written = program(partial(by_hand.layer_norm, swapped=True), x=X, gamma=D, beta=D)
    (call,) = calls(raise_(written))
    assert call.attrs["name"] == "rms_norm"
    assert call.operands[0].op is ops.sub


@pytest.mark.parametrize("wrong", [{"strict": True}, {"scaled": False}, {"zero": 1.0}], ids=str)
def test_attention_with_a_mistake_is_no_attention(wrong):
    written = program(partial(by_hand.attention, **wrong), **HEADS)
    assert "attention" not in {node.attrs["name"] for node in calls(raise_(written))}


def test_what_is_found_says_operands_and_attributes_by_name():
    written = program(partial(by_hand.layer_norm, eps=0.25), x=X, gamma=D)
    (found,) = find(written)
    slots = {node.attrs["slot"]: node for node in written.nodes if node.op is PARAM}
    x, gamma = slots[0], slots[1]
    assert found.functional == "layer_norm"
    assert (found.fields.x, found.fields.gamma) == (x, gamma)
    assert (found.fields.beta, found.fields.eps) == (None, 0.25)
    assert type(found.fields).__name__ == "LayerNormMatch"
    assert found.root is written.results[0]


def test_interior_values_used_elsewhere_are_reported_and_stay():
    def fn(x):
        e = ops.exp(ops.sub(x, by_hand.along(x, "max", -1, x)))
        return ops.div(e, by_hand.along(e, "sum", -1, x)), ops.neg(e)

    written = program(fn, x=X)
    (found,) = find(written)
    (escaped,) = found.escapes(written)
    assert escaped.op is ops.exp
    raised = raise_(written)
    assert [node.attrs["name"] for node in calls(raised)] == ["softmax"]
    assert escaped in raised.nodes
    for got, want in zip(
        evaluate(raised, list(data(raised))), evaluate(written, list(data(written))), strict=True
    ):
        same(got, want)


def test_a_match_of_which_nothing_else_is_used_reports_no_escape():
    (found,) = find(program(by_hand.softmax, x=X))
    assert found.escapes(program(by_hand.softmax, x=X)) == ()


def test_the_larger_functional_wins_over_the_smaller_inside_it():
    raised = raise_(program(by_hand.swiglu, gate=X, up=X))
    assert [node.attrs["name"] for node in calls(raised)] == ["swiglu"]


def test_both_are_raised_if_the_inner_one_is_used_too():
    def fn(gate, up):
        return by_hand.swiglu(gate, up), by_hand.silu(gate)

    raised = raise_(program(fn, gate=X, up=X))
    assert sorted(node.attrs["name"] for node in calls(raised)) == ["silu", "swiglu"]


def test_one_functional_may_feed_another():
    def fn(x, gamma, beta):
        return by_hand.softmax(by_hand.gelu(by_hand.layer_norm(x, gamma, beta)))

    raised = raise_(program(fn, x=X, gamma=D, beta=D))
    assert [node.attrs["name"] for node in calls(raised)] == ["layer_norm", "gelu", "softmax"]
    assert len(raised.nodes) == 6


def test_composites_are_not_entered():
    once = FUNCTIONALS["softmax"].program({"x": typed(X)}, {"axis": -1})
    assert raise_(once) is once


def test_a_chosen_functional_is_found_alone():
    def fn(x):
        return by_hand.softmax(by_hand.gelu(x))

    assert [one.functional for one in find(program(fn, x=X), "gelu")] == ["gelu"]


def test_symbolic_sizes_are_found_like_known_ones():
    name = FUNCTIONALS["layer_norm"]
    types = {"x": "f32[?B, ?T, ?D]", "gamma": "f32[?D]", "beta": "f32[?D]"}
    call = name.program({n: typed(t) for n, t in types.items()}, {"eps": 1e-5})
    assert raise_(expanded(call)) == call


def test_the_steps_of_the_demo_model_are_found_again_from_their_bare_ops():
    with load_model(None) as model:
        capability = model.as_causal_lm()
        assert capability is not None
        for step in ("prefill", "decode", "score"):
            whole = capability.plan(step).key.program
            names = Counter(node.attrs["name"] for node in calls(whole))
            assert names["attention"] == 4
            bare = expanded(whole)
            assert not calls(bare)
            assert raise_(bare) == whole


# --- random calls ---

SIZES = st.integers(1, 4)
FLOATS = st.sampled_from(["f32", "f64", "bf16", "f16"])


@st.composite
def random_calls(draw):
    """The name of a functional, operand types and attributes of a call that it takes."""
    element = draw(FLOATS)
    B, H, T, S, K, N = (draw(SIZES) for _ in range(6))

    def f(*sizes):
        return tensor_type(sizes, element)

    rows = tuple(draw(st.lists(SIZES, max_size=2)))
    eps = {"eps": draw(st.sampled_from([1e-5, 1e-6, 1e-3, 0.3]))}
    rank = len(rows) + 1
    axis = {"axis": draw(st.sampled_from([-1, *range(rank - 1)]))}
    name = draw(st.sampled_from(sorted(set(FUNCTIONALS) - {"matmul", "double"})))
    match name:
        case "relu" | "silu":
            return name, {"x": f(*rows, K)}, {}
        case "gelu":
            return (
                name,
                {"x": f(*rows, K)},
                {"approximate": draw(st.sampled_from(["none", "tanh"]))},
            )
        case "softmax" | "log_softmax":
            # Of one element, every axis is the same.
            return name, {"x": f(*(size + 1 for size in rows), K)}, axis
        case "swiglu":
            return name, {"gate": f(*rows, K), "up": f(*rows, K)}, {}
        case "layer_norm":
            beta = {"beta": f(K)} if draw(st.booleans()) else {}
            return name, {"x": f(*rows, K), "gamma": f(K), **beta}, eps
        case "rms_norm":
            return name, {"x": f(*rows, K), "gamma": f(K)}, eps
        case "linear":
            bias = {"bias": f(N)} if draw(st.booleans()) else {}
            return name, {"x": f(B, *rows, K), "weight": f(K, N), **bias}, {}
        case "embedding":
            return name, {"indices": tensor_type(rows, "si32"), "weight": f(K, N)}, {}
        case "dropout":
            p = {"p": draw(st.sampled_from([0.1, 0.5, 0.9]))}
            return name, {"x": f(*rows, K), "key": tensor_type((2,), "ui32")}, p
        case "update_cache":
            past = tensor_type((B,), draw(st.sampled_from(["si32", "si64"])))
            new = {"k": f(B, H, T, K), "v": f(B, H, T, K)}
            return name, {"cache": f(2, 2, B, H, S, K), **new, "past": past}, {"layer": 1}
        case "rotary":
            table = f(*((B,) if draw(st.booleans()) else ()), T, K)
            return name, {"x": f(B, H, T, 2 * K + draw(SIZES) - 1), "cos": table, "sin": table}, {}
    assert name == "attention"
    attributes = draw(
        st.fixed_dictionaries(
            {
                "causal": st.booleans(),
                "window": st.none() | st.integers(1, 9),
                "soft_cap": st.sampled_from([None, 2.0, 30.0, 0.7]),
                "scale": st.sampled_from([None, 0.3, 2.0]),
            }
        )
    )
    operands = {}
    if (attributes["causal"] or attributes["window"]) and draw(st.booleans()):
        operands["past"] = tensor_type((B,), draw(st.sampled_from(["si32", "si64"])))
    elif attributes["causal"]:
        S = T
    if draw(st.booleans()):
        operands["lengths"] = tensor_type((B,), draw(st.sampled_from(["si32", "si64"])))
    heads = H * draw(SIZES)
    if draw(st.booleans()):
        lead = draw(st.sampled_from([(), (1,), (heads,), (B, 1), (B, heads)]))
        operands["mask"] = f(*lead, T, S)
    types = {"q": f(B, heads, T, K), "k": f(B, H, S, K), "v": f(B, H, S, N), **operands}
    return name, types, attributes


@settings(max_examples=300)
@given(random_calls())
def test_any_call_written_out_is_found_again(call):
    name, types, attributes = call
    whole = FUNCTIONALS[name].program(types, attributes)
    assert raise_(expanded(whole)) == whole


# --- cost ---


def test_five_thousand_nodes_that_are_no_functional_cost_little():
    """Sums, exponentials and reductions everywhere, so that every pattern has where to begin."""
    x = tensor_type((4, 8), "f32")

    def fn(a, b):
        for _ in range(625):
            e = ops.exp(ops.sub(a, by_hand.along(b, "max", -1, a)))
            a, b = ops.mul(ops.logistic(e), ops.maximum(a, b)), ops.add(e, b)
        return a, b

    written = Program.of([x, x], fn)
    assert len(written.nodes) > 5000
    assert raise_(written) is written
    assert min(seconds(written) for _ in range(3)) < 0.5


def seconds(written):
    """Of this process: neighbours on the machine do not count."""
    begun = process_time()
    raise_(written)
    return process_time() - begun
