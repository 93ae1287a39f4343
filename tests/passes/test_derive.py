"""Param-only folding as a pass: what is set apart, what is not, and that nothing else changes."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptir import ops
from ptir.engine import split
from ptir.ir import (
    Dim,
    Input,
    Node,
    Program,
    Role,
    TensorType,
    constant,
    param,
    parse_program,
    print_program,
    tensor_type,
)
from ptir.ops.evaluate import evaluate
from ptir.passes.derive import VIEW, derived_id, derived_nodes, fold_parameters
from tests.exact import same
from tests.steps import programs

M = tensor_type((4, 3), "f32")
MT = tensor_type((3, 4), "f32")
KT = tensor_type((2, 4), "f32")
X = tensor_type((2, 4), "f32")


def weight(name: str, type: TensorType = M) -> Input:
    return Input(type, Role.PARAMETER, name)


def folded(program: Program) -> Program:
    """The program after the pass, which is a program of the same meaning."""
    after = fold_parameters(program.verify()).verify()
    assert after.inputs == program.inputs
    assert parse_program(print_program(after, literals=True)) == after
    return after


def derivations(program: Program) -> list[Program]:
    return [node.attrs["body"] for node in derived_nodes(folded(program))]


def matmul(x: Node, w: Node) -> Node:
    made: Node = ops.dot_general(x, w, contract_lhs=(1,), contract_rhs=(0,))
    return made


def test_a_maximal_subgraph_of_several_parameters_is_one_derivation():
    def build(x: Node, q: Node, k: Node) -> Node:
        return matmul(x, ops.transpose(ops.concat(ops.neg(q), k, axis=0), perm=(1, 0)))

    program = Program.of([X, weight("q", MT), weight("k", KT)], build)
    (derivation,) = derivations(program)
    assert derivation == Program.of(
        [MT, KT], lambda q, k: ops.transpose(ops.concat(ops.neg(q), k, axis=0), perm=(1, 0))
    )
    parts = split(folded(program))
    assert [(i.role, i.type) for i in parts.program.inputs] == [
        (Role.ARGUMENT, X),
        (Role.PARAMETER, tensor_type((4, 5), "f32")),
    ]
    assert parts.slots == (0,)
    assert [one.slots for one in parts.derived] == [(1, 2)]
    assert parts.program.inputs[1].name == f"{parts.derived[0].name} of q, …"
    assert parts.program.results == (matmul(param(0, X), param(1, tensor_type((4, 5), "f32"))),)


def test_a_parameter_that_is_needed_as_it_is_stays_an_input():
    program = Program.of(
        [weight("w"), X], lambda w, x: ops.add(matmul(x, w), matmul(x, ops.exp(w)))
    )
    parts = split(folded(program))
    assert (parts.slots, [one.slots for one in parts.derived]) == ((0, 1), [(0,)])
    assert [i.role for i in parts.program.inputs] == ["parameter", "argument", "parameter"]


def test_equal_derivations_of_two_parameters_are_one_program_under_two_names():
    program = Program.of(
        [X, weight("v"), weight("w")],
        lambda x, v, w: ops.add(matmul(x, ops.exp(v)), matmul(x, ops.exp(w))),
    )
    first, second = derived_nodes(folded(program))
    assert first.attrs["body"] is first.attrs["body"]
    assert first.attrs["body"] == second.attrs["body"]
    assert first.attrs["name"] != second.attrs["name"]
    one, two = split(folded(program)).derived
    assert one.derivation is two.derivation


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda x, w: matmul(x, w), id="a bare parameter"),
        pytest.param(lambda x, w: matmul(ops.exp(x), w), id="what stands on arguments"),
        pytest.param(lambda x, w: ops.exp(w), id="parameters alone"),
        pytest.param(lambda x, w: (ops.exp(w), constant(1, "f32")), id="and constants"),
        pytest.param(
            lambda x, w: ops.reduce(ops.broadcast_to(w, shape=(9, 4, 3)), kind="max", axes=(1, 2)),
            id="parameters alone, with no frontier",
        ),
    ],
)
def test_nothing_is_derived_from(build):
    program = Program.of([X, weight("w")], build)
    assert fold_parameters(program) is program


@pytest.mark.parametrize("copies,whole", [(2, True), (3, False)])
def test_a_value_of_more_than_twice_the_bytes_is_no_derivation(copies, whole):
    shape = (copies, 4, 3)
    program = Program.of(
        [Input(tensor_type(shape, "f32")), weight("w")],
        lambda x, w: ops.add(x, ops.broadcast_to(ops.exp(w), shape=shape)),
    )
    (derivation,) = derivations(program)
    kind = "broadcast_to" if whole else "exp"  # what it is made of is no larger than w
    assert derivation.results[0].op.name == kind


def test_all_derivations_of_a_parameter_take_at_most_twice_its_bytes():
    def build(x: Node, w: Node) -> Node:
        for op in (ops.exp, ops.neg, ops.tanh, ops.sin, ops.cos):
            x = ops.add(x, op(w))
        return x

    assert len(derivations(Program.of([M, weight("w")], build))) == 2


@pytest.mark.parametrize("size,count", [(VIEW // 4, 1), (VIEW // 4 + 1, 0)])
def test_a_large_parameter_is_not_kept_twice_for_another_shape(size, count):
    flat, column = tensor_type((size,), "f32"), tensor_type((size, 1), "f32")
    program = Program.of(
        [column, weight("w", flat)], lambda x, w: ops.add(x, ops.reshape(w, shape=(size, 1)))
    )
    assert len(derivations(program)) == count


LARGE = tensor_type((VIEW // 16 + 1, 4), "f32")
T = tensor_type((4, VIEW // 16 + 1), "f32")


def turned(w: Node) -> Node:
    made: Node = ops.transpose(w, perm=(1, 0))
    return made


def product(x: Node, w: Node) -> Node:
    """A product as backends that claim products of their own see it."""
    body = Program.of([X, T], matmul)
    made: Node = ops.composite(x, turned(w), name="linear", attributes={}, body=body)
    return made


@pytest.mark.parametrize(
    "build, count",
    [
        (product, 0),
        (lambda x, w: matmul(x, turned(w)), 0),
        (lambda x, w: (matmul(x, turned(w)), turned(w)), 1),
        (lambda x, w: (ops.reshape(x, shape=(8,)), matmul(x, ops.exp(turned(w)))), 1),
        (lambda x, w: ops.concat(turned(w), ops.transpose(x, perm=(1, 0)), axis=1), 1),
    ],
    ids=["composite", "product", "result", "other", "joined"],
)
def test_a_large_matrix_that_is_turned_for_products_alone_is_not_kept_twice(build, count):
    assert len(derivations(Program.of([X, weight("w", LARGE)], build))) == count


def test_a_composite_that_does_more_than_multiply_takes_a_turned_matrix_as_derived():
    body = Program.of([X, T], lambda x, w: (matmul(x, w), ops.exp(w)))
    program = Program.of(
        [X, weight("w", LARGE)],
        lambda x, w: ops.composite(x, turned(w), name="both", attributes={}, body=body),
    )
    assert len(derivations(program)) == 1


def test_symbolic_sizes_and_states_and_tuples_are_left_alone():
    B = Dim.symbol("B")
    rows = tensor_type((B, 3), "f32")
    state = Input(M, Role.STATE)
    program = Program.of(
        [rows, weight("b", tensor_type((3,), "f32")), state, weight("w")],
        lambda x, b, s, w: (ops.add(x, ops.broadcast_to(b, shape=(B, 3))), ops.add(s, w)),
    )
    assert fold_parameters(program.verify()) is program
    several = Program.of(
        [M, weight("w")], lambda x, w: (ops.neg(x), ops.tuple_(ops.exp(w), ops.neg(w)))
    )
    found = derived_nodes(fold_parameters(several))
    assert [n.type for n in found] == [M, M]


def test_several_values_are_derived_item_by_item():
    program = Program.of(
        [tensor_type((4, 2), "f32"), weight("w")],
        lambda x, w: ops.add(x, ops.item(ops.top_k(w, k=2, axis=1), index=0)),
    )
    (derivation,) = derivations(program)
    assert derivation.results[0].op is ops.item


def test_a_result_that_parameters_decide_is_derived_where_arguments_decide_others():
    program = Program.of([X, weight("w")], lambda x, w: (ops.neg(x), ops.exp(w)))
    parts = split(folded(program))
    assert parts.program.results[1] is param(1, M)


def test_the_id_tells_derivations_parameters_and_their_order_apart():
    sub = Program.of([M, M], ops.sub)
    other = Program.of([M, M], lambda x, y: ops.sub(y, x))
    literal = [
        Program.of([M], lambda w, v=v: ops.mul(w, constant(np.full((4, 3), v, "f4"))))
        for v in (1.0, 2.0)
    ]
    ids = [
        derived_id(sub, ["v", "w"]),
        derived_id(sub, ["w", "v"]),
        derived_id(other, ["v", "w"]),
        derived_id(sub, ["v", "w\0"]),
        derived_id(sub, ["v\0", "w"]),
        derived_id(sub, [None, "w"]),
        derived_id(sub, ["", "w"]),
        *(derived_id(one, ["w"]) for one in literal),
    ]
    assert len(set(ids)) == len(ids)
    assert {len(one) for one in ids} == {32}
    assert derived_id(sub, ["v", "w"]) == ids[0]


def test_a_composite_of_that_name_on_an_argument_is_no_derived_parameter():
    body = Program.of([M], ops.exp)
    program = Program.of(
        [M], lambda x: ops.composite(x, name="derived:0", attributes={}, body=body)
    )
    assert derived_nodes(program) == []
    assert split(program).program == program


def test_twenty_thousand_nodes_of_one_parameter_fold_without_recursion():
    def build(x: Node, w: Node) -> Node:
        for _ in range(20_000):
            w = ops.neg(w)
        return ops.add(x, w)

    program = fold_parameters(Program.of([M, weight("w")], build))
    (derivation,) = (node.attrs["body"] for node in derived_nodes(program))
    assert len(derivation.nodes) == 20_001


def test_five_thousand_derivations_take_a_moment():
    inputs = [weight(str(i)) for i in range(5_000)]

    def build(x: Node, *ws: Node) -> Node:
        for w in ws:
            x = ops.add(x, ops.exp(w))
        return x

    program = fold_parameters(Program.of([M, *inputs], build))
    assert len(split(program).derived) == 5_000


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(programs(), st.data())
def test_any_program_keeps_its_numbers(case, data):
    program, arrays = case
    roles = [data.draw(st.sampled_from([Role.ARGUMENT, Role.PARAMETER])) for _ in arrays]
    declared = zip(program.inputs, roles, strict=True)
    inputs = [Input(i.type, role, f"p{n}") for n, (i, role) in enumerate(declared)]
    program = Program(tuple(inputs), program.results)
    after = folded(program)
    parts = split(after)
    parts.program.verify()
    values = [arrays[slot] for slot in parts.slots]
    for one in parts.derived:
        values += evaluate(one.derivation.program, [arrays[slot] for slot in one.slots])
    want = evaluate(program, arrays)
    for found in (evaluate(after, arrays), evaluate(parts.program, values)):
        for got, expected in zip(found, want, strict=True):
            same(got, expected)
