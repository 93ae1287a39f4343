"""The pipeline as a whole: where passes stand, what interning gives for nothing, loop bodies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptir import ops, passes
from ptir.ir import Dim, Node, Program, SpecError, constant, param, tensor_type, watching
from ptir.ops.evaluate import evaluate
from ptir.passes.elementwise import NAME, group_elementwise
from tests.exact import same

B = Dim.symbol("B")
F = tensor_type((B, 3), "f32")
VECTOR = tensor_type((3,), "f32")


def names(program: Program) -> list[str]:
    return [node.op.name for node in program.nodes]


def canonicalized(program: Program) -> Program:
    (found,) = passes.named(["canonicalize"], passes.pipeline({}))
    return found(program)


def simplified(program: Program) -> Program:
    (found,) = passes.named(["simplify"], passes.pipeline({}))
    return found(program).verify()


# --- nothing to do ---


def test_equal_subexpressions_are_one_node_without_a_pass():
    def twice(x: Node) -> Node:
        first = ops.exp(ops.neg(x))
        return ops.mul(first, ops.exp(ops.neg(x)))

    program = Program.of([F], twice)
    assert names(program) == ["param", "neg", "exp", "mul"]
    assert program.results[0].operands[0] is program.results[0].operands[1]


def test_what_becomes_equal_under_a_pass_is_one_node_after_it():
    def alike(x: Node) -> Node:
        return ops.mul(ops.exp(ops.neg(ops.neg(x))), ops.exp(x))

    program = Program.of([F], alike)
    assert names(program).count("exp") == 2
    assert names(simplified(program)) == ["param", "exp", "mul"]


def test_what_no_result_needs_is_not_in_a_program():
    def half(x: Node) -> Node:
        ops.tanh(ops.exp(x))
        return ops.neg(x)

    program = Program.of([F], half)
    assert names(program) == ["param", "neg"]


def test_what_a_rule_leaves_unused_is_gone():
    zero = constant(0, "si32")
    program = Program.of([tensor_type((), "si32")], lambda x: ops.mul(ops.popcount(x), zero))
    assert names(simplified(program)) == ["constant"]


# --- order and names ---


def test_passes_of_a_backend_stand_at_their_points():
    def own(program: Program) -> Program:
        return program

    for point in ("pre", "legalize", "fuse", "cleanup"):
        ran = [passes.name(p) for p in passes.pipeline({point: [own]})]
        without = [passes.name(p) for p in passes.pipeline({})]
        assert [name for name in ran if name != "own"] == without
        assert ran.index("own") == _entries_before(point)


def _entries_before(point: str) -> int:
    before = passes.PIPELINE[: passes.PIPELINE.index(point)]
    return sum(not isinstance(entry, str) for entry in before)


def test_a_pass_can_be_left_out_everywhere():
    left = [passes.name(p) for p in passes.pipeline({}, ["simplify"])]
    assert "simplify" not in left
    assert "canonicalize" in left
    with pytest.raises(SpecError, match="did you mean 'simplify'"):
        passes.pipeline({}, ["simplfy"])


def test_legalization_left_out_still_comes_before_what_stands_on_it():
    def mine(program: Program) -> Program:
        return program

    chosen = passes.legalizing(passes.pipeline({}, ["legalize"]), mine)
    assert [passes.name(p) for p in chosen[-2:]] == ["mine", "fold_parameters"]


def test_passes_are_found_by_name():
    with pytest.raises(SpecError, match="did you mean 'group_elementwise'"):
        passes.named(["group_elementwis"], passes.pipeline({}))
    assert passes.named(["group_elementwise"], ()) == (group_elementwise,)


def test_a_watcher_is_told_of_each_firing_and_only_inside_its_block():
    told = list[tuple[str, Node, Node]]()
    program = Program.of([F], lambda x: ops.neg(ops.neg(x)))
    with watching(lambda *firing: told.append(firing)):
        simplified(program)
    simplified(Program.of([F], lambda x: ops.abs_(ops.abs_(x))))
    assert told == [("twice", program.results[0], param(0, F))]


# --- bodies ---


def test_rules_reach_into_branches_and_branches_of_branches():
    inner = Program.of([VECTOR], lambda x: ops.neg(ops.neg(x)))
    truth = constant(True, "i1")
    middle = Program.of([VECTOR], lambda x: ops.cond(truth, x, on_true=inner, on_false=inner))
    program = Program.of([VECTOR], lambda x: ops.cond(truth, x, on_true=middle, on_false=inner))
    found = simplified(program)
    plain = Program.of([VECTOR], lambda x: x)
    (node,) = found.results
    assert node.attrs["on_false"] == plain
    assert node.attrs["on_true"].results[0].attrs["on_true"] == plain
    assert simplified(found) is found


def test_the_body_of_a_composite_is_left_as_it_is():
    body = Program.of([VECTOR], lambda x: ops.neg(ops.neg(x)))
    program = Program.of([VECTOR], lambda x: ops.composite(x, name="twice", body=body))
    assert simplified(program) is program


# --- groups ---


@st.composite
def chains(draw: st.DrawFn) -> Program:
    """Elementwise ops over values of two shapes, with reductions between them."""
    values = [param(0, VECTOR), param(1, VECTOR)]
    for _ in range(draw(st.integers(1, 20))):
        kind = draw(st.sampled_from(["unary", "binary", "binary", "number", "reduce"]))
        x, y = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        if kind == "unary":
            values.append(draw(st.sampled_from([ops.neg, ops.abs_, ops.floor]))(x))
        elif kind == "binary":
            values.append(draw(st.sampled_from([ops.add, ops.maximum, ops.mul]))(x, y))
        elif kind == "number":
            number = constant(draw(st.sampled_from([0.5, -2.0])), "f32")
            values.append(ops.mul(x, ops.broadcast_to(number, shape=(3,))))
        else:
            top = ops.reduce(x, kind="max", axes=[0], keepdims=True)
            values.append(ops.broadcast_to(ops.neg(top), shape=(3,)))
    count = draw(st.integers(1, 3))
    return Program.of([VECTOR, VECTOR], lambda *_: tuple(values[-count:])).verify()


@given(chains())
def test_groups_keep_the_meaning_and_are_maximal(program: Program):
    found = group_elementwise(program).verify()
    data = [np.array([1, -0.0, np.nan], "f4"), np.array([2, np.inf, -3], "f4")]
    for new, old in zip(evaluate(found, data), evaluate(program, data), strict=True):
        same(new, old)
    users: dict[Node, set[Node]] = {}
    for node in found.nodes:
        for x in node.operands:
            users.setdefault(x, set()).add(node)
    for node in found.nodes:
        if node.op is ops.composite:
            assert node.attrs["name"] == NAME
            alone = len(users.get(node, ())) == 1 and node not in found.results
            (user,) = users[node] if alone else (None,)
            assert user is None or user.op is not ops.composite


def test_a_chain_of_20_000_is_one_group():
    def chain(x: Node) -> Node:
        for _ in range(10_000):
            x = ops.neg(ops.abs_(x))
        return x

    found = group_elementwise(Program.of([VECTOR], chain))
    assert names(found) == ["param", "composite"]
    assert len(found.results[0].attrs["body"].nodes) == 20_001


def test_rules_settle_on_a_graph_of_20_000_in_a_row():
    def chain(x: Node) -> Node:
        for _ in range(10_000):
            x = ops.transpose(ops.exp(x), perm=(1, 0))
        return x

    square = tensor_type((3, 3), "f32")
    (move,) = passes.named(["move_transposes"], passes.pipeline({}))
    found = move(Program.of([square], chain))
    assert set(names(found)) == {"param", "exp"}
    assert len(found.nodes) == 10_001


def test_a_value_that_grows_part_by_part_stays_cheap():
    """Joined whole it would be one concat of 3,000 parts, made anew for each of them."""

    def grow(x: Node) -> Node:
        for _ in range(3_000):
            x = ops.concat(x, param(0, VECTOR), axis=0)
        return x

    found = canonicalized(Program.of([VECTOR], grow)).verify()
    joined = [n for n in found.nodes if n.op is ops.concat]
    assert max(len(n.operands) for n in joined) < 200
    assert len(joined) < 100


def test_what_was_cut_into_2_000_pieces_is_whole_again():
    table = tensor_type((2_000, 3), "f32")

    def joined(x: Node) -> Node:
        rows = [(i, i + 1) for i in range(2_000)]
        cut = [ops.slice_(x, starts=(a, 0), limits=(b, 3), strides=(1, 1)) for a, b in rows]
        return ops.concat(*cut, axis=0)

    assert names(canonicalized(Program.of([table], joined))) == ["param"]
