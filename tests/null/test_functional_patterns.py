"""What structures a functional's body has, found by tracing its examples."""

from collections.abc import Iterator

import pytest

from ptir import ops
from ptir.functional import FUNCTIONALS
from ptir.functional import functional as declare
from ptir.functional.registry import IMPLEMENTATIONS
from ptir.ir import Program, constant, parse_type, tensor_type
from ptir.passes.raise_ import RAISABLE, find, raise_
from ptir.tensor import Tensor, arange


def variants(name):
    return FUNCTIONALS[name].pattern.variants


@pytest.mark.parametrize("name", sorted(FUNCTIONALS))
def test_every_functional_can_be_found(name):
    assert variants(name)
    for variant in variants(name):
        (body,) = variant.composite.attrs["body"].inline(variant.composite.operands)
        program = Program.of([x.type for x in variant.composite.operands], lambda *n: n)
        written = Program(program.inputs, (body,))
        assert variant.composite.attrs["name"] in {one.functional for one in find(written, name)}


def test_variants_are_the_structures_and_no_more():
    assert len(variants("softmax")) == len(variants("rms_norm")) - 1 == 1
    assert [v.operands for v in variants("linear")] == [("x", "weight"), ("x", "weight", "bias")]
    assert [v.attributes["approximate"] for v in variants("gelu")] == ["none", "tanh"]
    # The mean over an axis of unknown size is another body: with and without beta, known or not.
    assert len(variants("layer_norm")) == 4
    # Full rotation, and with channels that pass; tables of either rank are one structure.
    assert len(variants("rotary")) == 2


def test_attention_has_a_variant_for_all_that_changes_its_structure():
    """Positions, lengths and mask given or not, causal or not, window and cap; but a scale is only
    a number. Without a causal mask or a window nothing depends on `past`.
    """
    found = variants("attention")
    assert all("scale" in v.read for v in found)
    keys = {
        (v.operands, v.attributes["causal"], "window" in v.read, "soft_cap" in v.read)
        for v in found
    }
    assert len(keys) == len(found) == 2 * 2 * 2 * 8 - 8


def test_the_first_guess_of_a_value_is_as_short_as_a_caller_writes_it():
    layer_norm = FUNCTIONALS["layer_norm"]
    for eps in (1e-5, 1e-6, 0.1, 3.7e-4):
        types = {"x": tensor_type((2, 3), "f32"), "gamma": tensor_type((3,), "f32")}
        call = layer_norm.program(types, {"eps": eps})
        bare = Program(call.inputs, tuple(map(ops.inline, call.results)))
        (found,) = find(bare)
        assert found.fields.eps == eps


@pytest.fixture
def declared() -> Iterator[None]:
    """What a test declares is forgotten afterwards."""
    known = set(FUNCTIONALS)
    yield
    for name in set(FUNCTIONALS) - known:
        for table in (FUNCTIONALS, IMPLEMENTATIONS, RAISABLE):
            table.pop(name, None)


@pytest.mark.usefixtures("declared")
def test_a_functional_of_ones_own_is_found_by_its_examples():
    @declare
    def squared_gap(a: Tensor, b: Tensor, *, weight: float = 1.0) -> Tensor:
        gap = a - b
        return gap * gap * weight

    def written(x, y):
        gap = ops.sub(x, y)
        twice = ops.broadcast_to(constant(2, "f32"), shape=(3,))
        return ops.mul(twice, ops.mul(gap, gap))

    F = parse_type("f32[3]")
    bare = Program.of([F, F], written)
    assert raise_(bare) is bare
    squared_gap.example(a="f32[7]", b="f32[7]")
    (call,) = raise_(bare).results
    assert call.attrs["name"] == "squared_gap"
    assert call.attrs["attributes"]["weight"] == 2.0
    (found,) = find(bare)
    assert [n.attrs["slot"] for n in (found.fields.a, found.fields.b)] == [0, 1]


@pytest.mark.usefixtures("declared")
def test_what_has_two_results_or_hides_an_operand_is_not_looked_for():
    @declare
    def halves(x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 0.5, x * 2.0

    @declare
    def first(x: Tensor, y: Tensor) -> Tensor:
        return ops.exp(x)

    halves.example(x="f32[2]")
    first.example(x="f32[2]", y="f32[2]")
    assert not variants("halves")
    assert not variants("first")


@pytest.mark.usefixtures("declared")
def test_a_smaller_functional_does_not_take_the_root_of_a_larger_one():
    @declare
    def large(x: Tensor) -> Tensor:
        return ops.exp(ops.sin(ops.cos(x)))

    @declare
    def small(x: Tensor) -> Tensor:
        return ops.tanh(ops.exp(x))

    large.example(x="f32[2]")
    small.example(x="f32[2]")
    bare = Program.of([parse_type("f32[5]")], lambda x: ops.tanh(ops.exp(ops.sin(ops.cos(x)))))
    raised = raise_(bare)
    assert [node.op for node in raised.nodes[1:]] == [ops.composite, ops.tanh]
    assert raised.nodes[1].attrs["name"] == "large"
    assert raise_(raised) is raised


@pytest.mark.usefixtures("declared")
def test_counts_and_constants_that_others_use_too_are_no_escape():
    @declare
    def numbered(x: Tensor) -> Tensor:
        return x * 2.0 + arange(x.shape[0], "f32")

    numbered.example(x="f32[7]")

    def written(x):
        order = ops.iota(shape=(3,), dtype="f32", axis=0)
        two = ops.broadcast_to(constant(2, "f32"), shape=(3,))
        doubled = ops.mul(two, x)
        return ops.add(doubled, order), ops.exp(order), ops.exp(two), ops.exp(doubled)

    bare = Program.of([parse_type("f32[3]")], written)
    (found,) = find(bare)
    assert [node.op for node in found.escapes(bare)] == [ops.mul]


@pytest.mark.usefixtures("declared")
def test_a_body_is_traced_and_not_run_where_each_op_runs_at_once(monkeypatch):
    """Counts and constants need no operand, so they could be computed there and then."""
    monkeypatch.setenv("PTIR_EAGER", "1")

    @declare
    def centred(x: Tensor) -> Tensor:
        return x - (arange(x.shape[0], "f32") + 1) * 0.5

    centred.example(x="f32[7]")
    (variant,) = variants("centred")
    met = {node.op for node in variant.composite.attrs["body"].nodes}
    assert {ops.iota, ops.add, ops.mul, ops.sub} <= met
