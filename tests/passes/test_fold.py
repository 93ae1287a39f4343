"""Constant folding: what is folded, what it becomes, and what is left for the run."""

import numpy as np
import pytest

from ptir import ops
from ptir.ir import (
    CONSTANT,
    OPS,
    Dim,
    Node,
    Program,
    SpecError,
    constant,
    make,
    tensor_type,
)
from ptir.ops.evaluate import evaluate
from ptir.passes.fold import LARGEST, SMALL, fold_constants
from tests.backend.running import unpacked
from tests.samples import by_op

F2 = tensor_type((2,), "f32")


def folded(*results: Node) -> list[Node]:
    """The results of a program without inputs, after folding."""
    return list(fold_constants(Program((), results).verify()).verify().results)


def ramp(*shape: int, dtype: str = "f32") -> Node:
    """A literal of as many different numbers as it has elements."""
    return constant(np.arange(np.prod(shape)).reshape(shape), dtype)


def test_an_op_on_constants_becomes_a_constant():
    (x,) = folded(ops.sub(ramp(2, 3), ops.neg(ramp(2, 3))))
    assert x is constant(np.arange(6).reshape(2, 3) * 2, "f32")


def test_a_program_without_constants_is_the_same_object():
    program = Program.of([F2], lambda x: ops.add(ops.exp(x), x))
    assert fold_constants(program) is program


def test_a_folded_program_is_a_fixed_point():
    program = fold_constants(
        Program((), (ops.neg(ramp(3)), ops.iota(shape=(9,), dtype="f32", axis=0)))
    )
    assert fold_constants(program) is program


def test_only_what_no_input_reaches_is_folded():
    program = Program.of(
        [F2], lambda x: ops.add(x, ops.exp(ops.iota(shape=(2,), dtype="f32", axis=0)))
    )
    (result,) = fold_constants(program).results
    assert [x.op.name for x in result.operands] == ["param", "constant"]


def test_a_value_of_one_number_is_a_number_and_its_shape():
    (x,) = folded(ops.mul(*[ops.broadcast_to(constant(v, "f32"), shape=(4, 8)) for v in (2, 3)]))
    assert x is ops.broadcast_to(constant(6, "f32"), shape=(4, 8))


@pytest.mark.parametrize("size,whole", [(SMALL, True), (SMALL + 1, False)])
def test_a_literal_that_comes_from_none_is_small(size, whole):
    (x,) = folded(ops.iota(shape=(size,), dtype="f32", axis=0))
    assert (x.op is CONSTANT) == whole


@pytest.mark.parametrize("size,whole", [(LARGEST, True), (LARGEST + 1, False)])
def test_a_literal_takes_the_room_of_those_that_it_is_made_of(size, whole):
    (x,) = folded(ops.neg(ramp(size)))
    assert (x.op is CONSTANT) == whole


def test_a_broadcast_that_would_take_more_room_stays():
    kept = ops.broadcast_to(ramp(100), shape=(10, 100))
    assert folded(kept) == [kept]
    (x,) = folded(ops.reduce(kept, kind="sum", axes=(0, 1)))  # but is seen through
    assert x is constant(99 * 50 * 10, "f32")


def test_a_large_constant_is_read_where_little_comes_of_it():
    (x,) = folded(ops.slice_(ramp(100_000), starts=(7,), limits=(9,)))
    assert x is constant([7, 8], "f32")


def test_no_large_value_is_worked_out_on_the_way(monkeypatch):
    made = []
    meaning = ops.iota.reference
    assert meaning is not None

    def counted(**attrs):
        made.append(attrs)
        return meaning(**attrs)

    monkeypatch.setattr(ops.iota, "reference", counted)
    rows = ops.iota(shape=(1000, 1000), dtype="f32", axis=0)
    x = ops.reduce(rows, kind="sum", axes=(0, 1))
    assert (folded(x), made) == ([x], [])


def test_several_values_are_folded_one_by_one():
    top = ops.top_k(constant([3, 1, 2], "f32"), k=2, axis=0)
    assert folded(ops.item(top, index=0), ops.item(top, index=1)) == [
        constant([3, 2], "f32"),
        constant([0, 2], "si64"),
    ]


def test_a_symbolic_size_is_left_alone():
    B = Dim.symbol("B")

    def build(x):
        rows = ops.iota(shape=(B,), dtype="f32", axis=0)
        return ops.add(x, ops.add(rows, ops.broadcast_to(constant(1, "f32"), shape=(B,))))

    program = Program.of([tensor_type((B,), "f32")], build)
    assert fold_constants(program) is program


def test_random_numbers_are_left_alone():
    key = constant([1, 2], "ui32")
    x = ops.random_uniform(key, shape=(3,), dtype="f32")
    assert folded(x) == [x]
    assert folded(ops.random_bits(key, shape=(3,), dtype="ui8"))[0].op is ops.random_bits


def test_a_loop_that_never_ends_is_left_for_the_run():
    one = tensor_type((), "si32")
    body = Program.of([one], lambda x: x)
    forever = Program.of([one], lambda x: ops.compare(x, x, op="eq"))
    loop = ops.while_(constant(0, "si32"), condition=forever, body=body)
    assert folded(loop) == [loop]


def test_constants_in_loop_bodies_are_folded_and_shared_bodies_once():
    one = tensor_type((), "f32")
    two = lambda: ops.add(constant(1, "f32"), constant(1, "f32"))  # noqa: E731
    program = Program.of([one], lambda x: ops.mul(x, two()))
    truth = constant(True, "i1")
    for _ in range(60):  # 2^60 bodies, if each use had its own
        program = Program.of(
            [one],
            lambda x, p=program: ops.cond(
                truth, ops.cond(truth, x, on_true=p, on_false=p), on_true=p, on_false=p
            ),
        )
    after = fold_constants(program).verify()
    assert fold_constants(after) is after
    while after.results[0].op is ops.cond:
        (after,) = set(after.regions)
    assert after == Program.of([one], lambda x: ops.mul(x, constant(2, "f32")))


def test_the_body_of_a_composite_is_left_alone():
    body = Program.of([F2], lambda x: ops.mul(x, ops.neg(ramp(2))))
    program = Program.of([F2], lambda x: ops.composite(x, name="f", attributes={}, body=body))
    assert fold_constants(program) is program


@pytest.mark.parametrize(
    "broken",
    [
        lambda: ops.div(constant([1], "si32"), constant([0], "si32")),
        lambda: ops.take(ramp(3), constant([3], "si32"), axis=0),
    ],
)
def test_what_raises_raises_when_the_program_runs(broken):
    program = Program((), (ops.add(broken(), broken()),)).verify()
    assert fold_constants(program) is program
    with pytest.raises(SpecError):
        evaluate(program, [])


def test_zeros_keep_their_signs_and_nans_their_bits():
    odd = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 0], "u4").view("f4")
    (x,) = folded(ops.reverse(constant(odd), axes=(0,)))
    assert x.attrs["value"].array.tobytes() == odd[::-1].tobytes()
    (zeros,) = folded(ops.neg(constant(np.zeros(2), "f32")))
    assert np.signbit(zeros.operands[0].attrs["value"].array)


def test_twenty_thousand_constant_nodes_fold_without_recursion():
    x = constant(1, "si32")
    for _ in range(20_000):
        x = ops.add(x, constant(1, "si32"))
    assert folded(x) == [constant(20_001, "si32")]


def calls():
    """Each sample of each op, as a call on constants."""
    for name, samples in sorted(by_op().items()):
        for number, case in enumerate(samples.cases):
            attrs, operands = case.attrs, tuple(constant(x) for x in case.operands)
            yield pytest.param(make(OPS[name], operands, attrs), id=f"{name}-{number}")


@pytest.mark.parametrize("call", list(calls()))
def test_folding_changes_no_bit_of_any_sample(call):
    program = Program((), tuple(unpacked(call)))
    after = fold_constants(program).verify()
    for came, wanted in zip(evaluate(after, []), evaluate(program, []), strict=True):
        assert (came.dtype, came.shape) == (wanted.dtype, wanted.shape)
        assert came.tobytes() == wanted.tobytes()
