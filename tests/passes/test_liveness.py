"""Plan information, held against an executor that does what it says with real buffers."""

import random
from typing import Any

import numpy as np
import pytest

from ptir import functional, ops
from ptir.ir import (
    CONSTANT,
    PARAM,
    Dim,
    Input,
    Node,
    Program,
    Role,
    TupleType,
    constant,
    tensor_type,
)
from ptir.ops.evaluate import evaluate
from ptir.passes.facts import ELEMENTWISE
from ptir.passes.liveness import ALIASES, UPDATES, Life, PlanInfo, plan_info
from ptir.tensor import Tensor

V = tensor_type((6,), "f32")
STATE = Input(V, Role.STATE)


def execute(info: PlanInfo, given: list[Any]) -> list[Any]:
    """Run a program in buffers that are shared as `info` says; inputs that are states change."""
    known: dict[Node, Any] = {}
    for node in info.program.nodes:
        operands = [known[x] for x in node.operands]
        if node.op is PARAM:
            known[node] = given[node.attrs["slot"]]
        elif node.op in ALIASES:
            assert node.op.reference is not None
            known[node] = node.op.reference(*operands, **node.attrs)
        else:
            known[node] = _put(node, operands, info, given)
    return [known[r] for r in info.program.results]


def _put(node: Node, operands: list[Any], info: PlanInfo, given: list[Any]) -> Any:
    (value,) = evaluate(
        Program.of([x.type for x in node.operands], lambda *xs: node.op(*xs, **node.attrs)),
        [np.array(x) for x in operands],
    )
    if isinstance(value, tuple):
        return tuple(np.array(item) for item in value)
    buffer = np.empty(value.shape, value.dtype)
    if node in info.in_place:
        buffer = operands[info.in_place[node]]
    if node in info.placed:
        buffer = given[info.placed[node]]
    buffer[...] = value
    return buffer


def data(program: Program) -> list[Any]:
    rng = np.random.default_rng(7)
    return [rng.uniform(1, 2, i.type.static_shape).astype("f4") for i in program.inputs]  # type: ignore[union-attr]


def agrees(info: PlanInfo, given: list[Any]) -> bool:
    """Whether the executor gives the program's numbers and changes no input but states."""
    want = evaluate(info.program, [x.copy() for x in given])
    before = [x.copy() for x in given]
    got = execute(info, given)
    kept = [i for i, x in enumerate(info.program.inputs) if x.role is not Role.STATE]
    return all(np.array_equal(a, b) for a, b in zip(got, want, strict=True)) and all(
        np.array_equal(given[i], before[i]) for i in kept
    )


def checked(program: Program) -> PlanInfo:
    """The information of a program, shown to be true."""
    info = plan_info(program.verify())
    given = data(program)
    assert agrees(info, given)
    for one in info.donations:
        new = execute(info, fresh := data(program))[one.result]
        assert np.shares_memory(new, fresh[one.slot]) == (one.fate != "copied"), one
    return info


def fates(program: Program) -> list[str]:
    return [one.fate for one in checked(program).donations]


def step(x: Node, op: Any = ops.neg) -> Node:
    made: Node = op(x)
    return made


# --- lives ---


def test_a_life_runs_from_where_a_value_is_made_to_its_last_reader():
    program = Program.of([V], lambda x: (ops.add(y := ops.exp(x), ops.mul(ops.neg(y), x)), y))
    x, y, negative, product, total = program.nodes
    lives = plan_info(program).lives
    assert lives[x] == Life(-1, 1, 3)
    assert lives[y] == Life(1, 2, 5)
    assert lives[negative] == Life(2, 3, 3)
    assert lives[product] == Life(3, 4, 4)
    assert lives[total] == Life(4, 5, 5)


# --- in place ---


def test_a_chain_of_elementwise_steps_needs_one_buffer():
    info = checked(Program.of([V], lambda x: ops.exp(ops.neg(ops.exp(x)))))
    _, *rest = info.program.nodes
    assert info.in_place == {rest[1]: 0, rest[2]: 0}
    assert info.peak_bytes == 24


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda x, y: ops.neg(x), id="an argument"),
        pytest.param(lambda x, y: ops.neg(constant(np.ones(6), "f32")), id="a constant"),
        pytest.param(lambda x, y: ops.add(z := ops.exp(x), ops.exp(ops.neg(z))), id="read later"),
        pytest.param(lambda x, y: (z := ops.exp(x), ops.neg(z)), id="a result"),
        pytest.param(
            lambda x, y: ops.reduce(ops.exp(x), kind="sum", axes=(0,)), id="another shape"
        ),
        pytest.param(lambda x, y: ops.compare(ops.exp(x), y, op="lt"), id="another dtype"),
        pytest.param(lambda x, y: ops.reverse(ops.exp(x), axes=(0,)), id="not element by element"),
        pytest.param(
            lambda x, y: (z := ops.exp(x), ops.neg(ops.reshape(z, shape=(6,)))), id="a view"
        ),
    ],
)
def test_nothing_is_written_over(build):
    program = Program.of([V, V], build)
    info = checked(program)
    assert not {ops.neg, ops.reduce, ops.compare, ops.reverse} & {n.op for n in info.in_place}


def test_a_value_that_is_read_twice_by_one_step_may_be_written_over():
    info = checked(Program.of([V], lambda x: ops.mul(y := ops.exp(x), y)))
    assert [n.op.name for n in info.in_place] == ["mul"]


def test_an_update_does_not_write_over_what_its_new_elements_come_from():
    def build(x: Node) -> Node:
        y = step(x)
        part = ops.slice_(y, starts=(0,), limits=(2,))
        return ops.dynamic_update_slice(y, part, constant([3], "si32"))

    info = checked(Program.of([V], build))
    assert [n.op.name for n in info.in_place] == ["dynamic_update_slice"]
    twice = Program.of(
        [V], lambda x: ops.dynamic_update_slice(y := step(x), y, constant([0], "si32"))
    )
    assert checked(twice).in_place == {}


def test_a_value_and_its_transpose_in_one_buffer_are_not_written_over_together():
    square = tensor_type((3, 3), "f32")
    program = Program.of(
        [square], lambda x: ops.add(y := ops.exp(x), ops.transpose(y, perm=(1, 0)))
    )
    assert len(plan_info(program).in_place) == 1
    assert plan_info(program, ALIASES | {ops.transpose}).in_place == {}


# --- donation ---


def test_a_state_is_changed_in_place_by_its_last_reader():
    assert fates(Program.of([STATE, V], lambda s, x: ops.add(x, ops.neg(s)))) == ["in place"]
    assert fates(Program.of([STATE, V], lambda s, x: (ops.add(s, x), ops.add(s, x)))) == [
        "in place"
    ]


def test_a_state_that_is_read_after_its_new_value_is_copied():
    program = Program.of([STATE, V], lambda s, x: (ops.mul(n := ops.add(s, x), s), n))
    (one,) = checked(program).donations
    assert one.fate == "copied"
    assert one.reason == "its last use, step 3 (mul), its new value, step 2 (add)"


def test_a_state_that_is_a_result_too_is_copied():
    assert fates(Program.of([STATE], lambda s: (s, ops.neg(s)))) == ["copied"]


def test_a_new_value_goes_where_nobody_reads_any_more():
    total = lambda s: ops.reduce(s, kind="sum", axes=(0,))  # noqa: E731
    assert fates(
        Program.of([STATE, V], lambda s, x: ops.add(x, ops.broadcast_to(total(s), shape=(6,))))
    ) == ["written over"]
    assert fates(Program.of([STATE, V], lambda s, x: ops.neg(x))) == ["written over"]


def test_a_new_value_that_is_made_of_the_old_in_another_order_is_copied():
    assert fates(Program.of([STATE], lambda s: ops.reverse(s, axes=(0,)))) == ["copied"]


def test_what_goes_into_the_buffer_of_a_state_is_its_new_value_alone():
    def build(s: Node, x: Node) -> list[Node]:
        old = ops.neg(ops.item(ops.tuple_(s, ops.exp(x)), index=0))  # not over s: read below
        new = ops.neg(x)
        return [ops.add(old, ops.reverse(new, axes=(0,))), new]

    program = Program.of([STATE, V], build)
    assert fates(program) == ["written over"]
    assert [n.op.name for n in checked(program).in_place] == ["add"]


def test_a_state_that_stays_is_unchanged():
    program = Program.of([STATE, V], lambda s, x: (ops.neg(x), s))
    assert fates(program) == ["unchanged"]
    behind = Program.of([STATE, V], lambda s, x: ops.item(ops.tuple_(x, s), index=1))
    assert fates(behind) == ["unchanged"]
    beside = Program.of([STATE, V], lambda s, x: ops.item(ops.tuple_(ops.neg(x), s), index=0))
    assert fates(beside) == ["copied"]


def test_exchanged_states_are_copied():
    assert fates(Program.of([STATE, STATE], lambda s, t: (t, s))) == ["copied", "copied"]


def test_one_new_value_lies_in_one_state():
    program = Program.of([STATE, STATE], lambda s, t: (n := ops.add(s, t), n))
    assert fates(program) == ["in place", "copied"]


def test_two_states_are_changed_each_in_its_own_buffer():
    program = Program.of(
        [STATE, STATE], lambda s, t: (ops.add(s, ops.neg(t)), ops.mul(ops.exp(s), t))
    )
    info = checked(program)
    assert [one.fate for one in info.donations] == ["copied", "in place"]
    later = Program.of([STATE, STATE], lambda s, t: (ops.add(s, n := ops.neg(t)), ops.exp(n)))
    assert fates(later) == ["in place", "in place"]


def test_a_cache_is_updated_in_place_claimed_or_expanded():
    cache = tensor_type((3, 2, 1, 2, 8, 4), "f32")
    new = tensor_type((1, 2, 1, 4), "f32")
    past = tensor_type((1,), "si32")

    def write(*given: Node) -> Node:
        return functional.update_cache(*map(Tensor, given), layer=1).node

    inputs = [Input(t) for t in (new, new, past)]
    inputs.insert(0, Input(cache, Role.STATE))
    whole = Program.of(inputs, write)
    (composite,) = (n for n in whole.nodes if n.op is ops.composite)
    expanded = Program.of(inputs, lambda *xs: ops.inline(write(*xs)))
    for program in (whole, expanded):
        info = plan_info(program)
        assert [one.fate for one in info.donations] == ["in place"]
    assert plan_info(whole).in_place == {composite: 0}


def test_a_composite_that_reads_what_it_updates_is_not_done_in_place():
    def build(x: Node) -> Node:
        return ops.dynamic_update_slice(
            x, ops.slice_(x, starts=(0,), limits=(2,)), constant([3], "si32")
        )

    body = Program.of([V], build)
    program = Program.of(
        [STATE], lambda s: ops.composite(s, name="shifted", attributes={}, body=body)
    )
    assert plan_info(program).in_place == {}


def test_the_peak_counts_what_is_alive_at_once():
    def build(x: Node) -> Node:
        a, b = ops.exp(x), ops.neg(x)
        return ops.add(ops.reverse(a, axes=(0,)), ops.reverse(b, axes=(0,)))

    assert checked(Program.of([V], build)).peak_bytes == 3 * 24  # a or its reverse, b, reverse of b
    both = Program.of([V], lambda x: ops.item(ops.tuple_(ops.exp(x), ops.neg(x)), index=0))
    assert checked(both).peak_bytes == 2 * 24
    state = checked(Program.of([STATE], lambda s: ops.neg(ops.exp(s))))
    assert state.peak_bytes == 0


def test_symbolic_sizes_have_lives_and_donations_but_no_peak():
    rows = tensor_type((Dim.symbol("B"), 2), "f32")
    info = plan_info(Program.of([Input(rows, Role.STATE)], lambda s: ops.neg(ops.exp(s))))
    assert [one.fate for one in info.donations] == ["in place"]
    assert len(info.in_place) == 2
    assert info.peak_bytes is None


def test_twenty_thousand_nodes_are_read_without_recursion():
    def build(s: Node) -> Node:
        for _ in range(20_000):
            s = step(s)
        return s

    info = plan_info(Program.of([STATE], build))
    assert (info.donations[0].fate, len(info.in_place), info.peak_bytes) == ("in place", 20_000, 0)


# --- random programs ---


def some_program(seed: int, *, views: bool = True) -> Program:
    """A random program over vectors with up to two states."""
    rng = random.Random(seed)
    states = rng.randint(0, 2)

    def build(*inputs: Node) -> list[Node]:
        known = list(inputs)
        for _ in range(rng.randint(1, 9)):
            x, y = rng.choice(known), rng.choice(known)
            known.append(rng.choice(steps)(x, y))
        results = [rng.choice(known) for _ in range(rng.randint(1, 3))]
        return results + [rng.choice(known[len(inputs) :] or known) for _ in range(states)]

    steps = [
        lambda x, y: ops.add(x, y),
        lambda x, y: ops.mul(ops.neg(x), y),
        lambda x, y: ops.neg(x),
        lambda x, y: ops.reverse(x, axes=(0,)),
        lambda x, y: ops.dynamic_update_slice(
            x, ops.slice_(y, starts=(1,), limits=(3,)), constant([2], "si32")
        ),
    ]
    if views:
        steps += [
            lambda x, y: ops.reshape(ops.exp(ops.reshape(x, shape=(2, 3))), shape=(6,)),
            lambda x, y: ops.item(ops.tuple_(x, ops.neg(y)), index=rng.randint(0, 1)),
        ]
    return Program.of([V, V, *[STATE] * states], build).verify()


@pytest.mark.parametrize("seed", range(200))
def test_random_programs_keep_their_numbers_in_shared_buffers(seed):
    info = checked(some_program(seed))
    assert not info.in_place.keys() & info.placed.keys()


@pytest.mark.parametrize("seed", range(100))
def test_what_is_not_written_over_cannot_be(seed):
    """Brute force: any other writing over, on its own, changes a number or an input."""
    program = some_program(seed, views=False)
    info = plan_info(program)
    for node in program.nodes:
        operands = node.operands if node.op in ELEMENTWISE else node.operands[:1]
        for index, x in enumerate(operands if node.op in (*ELEMENTWISE, *UPDATES) else ()):
            free = x.op is not CONSTANT and x.type == node.type
            reserved = x.op is PARAM and program.inputs[x.attrs["slot"]].role is Role.STATE
            if node in info.in_place or not free or reserved:
                continue
            alone = PlanInfo(program, info.lives, {node: index}, {}, (), None)
            placed = node in info.placed  # a better place was found for it
            assert placed or not agrees(alone, data(program)), (program, node)


def test_the_random_programs_have_every_fate_and_steps_of_every_kind():
    infos = [plan_info(some_program(seed)) for seed in range(200)]
    seen = {one.fate for info in infos for one in info.donations}
    assert seen == {"in place", "written over", "unchanged", "copied"}
    assert {n.op for info in infos for n in info.in_place} > {ops.add, ops.dynamic_update_slice}
    assert sum(len(info.placed) for info in infos) > 10
    assert not any(isinstance(r.type, TupleType) for info in infos for r in info.program.results)
