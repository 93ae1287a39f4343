"""Bodies, opaque kernels and several results, as a backend runs them."""

import numpy as np
import pytest

from ptir import engine, ops
from ptir.backends import reference
from ptir.ir import Dim, Node, Program, Role, SpecError, TupleType, constant, tensor_type
from ptir.ir.program import Input
from ptir.ops.structure import KERNELS
from tests.backend.running import run

T = Dim.symbol("T")
ROW = tensor_type((3,), "f32")
X, Y = np.array([[1, -2, 3], [4, 5, -6]], np.float32)


@pytest.fixture(autouse=True)
def targets(monkeypatch):
    """Kernels that are there for one test."""
    for target in list(KERNELS):
        monkeypatch.delitem(KERNELS, target)
    yield
    KERNELS.clear()


# --- composites ---

_CENTRED = Program.of(
    [ROW], lambda x: ops.sub(x, ops.broadcast_to(ops.reduce(x, kind="max", axes=0), shape=(3,)))
)


def _centred(x: Node) -> Node:
    return ops.composite(x, name="test.centred", body=_CENTRED)


class Claiming(reference.Backend):
    """The reference, with a kernel of its own for one functional."""

    def claims(self, node: Node) -> bool:
        mine = node.op is ops.composite and node.attrs["name"] == "test.centred"
        return mine or super().claims(node)


def test_a_composite_claimed_equals_it_expanded():
    program = Program.of([ROW], lambda x: _centred(_centred(x)))
    results = []
    for backend, stays in ((Claiming(), True), (reference.Backend(), False)):
        lowered, _ = engine.lower(program, backend, ())
        assert ("composite" in {n.op.name for n in lowered.nodes}) == stays
        results.append(backend.compile(lowered)(X)[0])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], X - 3)


def test_a_composite_in_a_loop_body_runs(backend):
    body = Program.of([ROW, ROW], lambda c, x: (_centred(ops.add(c, x)), c))
    program = Program.of(
        [ROW, tensor_type((T, 3), "f32")],
        lambda c, x: ops.item(ops.scan(c, x, body=body, carries=1, inputs=1), index=0),
    )
    (got,) = run(program, [X, np.stack([Y, Y, X])], backend)
    want = X
    for row in (Y, Y, X):
        want = (want + row) - (want + row).max()
    np.testing.assert_array_equal(got, want)


# --- control flow ---


def test_a_loop_of_branches_counts_as_python_does(backend):
    """Collatz: how many steps a number takes to 1."""
    i64 = tensor_type((), "si64")
    one, two, three = (constant(v, "si64") for v in (1, 2, 3))
    halved = Program.of([i64], lambda n: ops.div(n, two))
    tripled = Program.of([i64], lambda n: ops.add(ops.mul(n, three), one))
    goes_on = Program.of([i64, i64], lambda n, count: ops.compare(n, one, op="ne"))

    def step(n: Node, count: Node) -> tuple[Node, Node]:
        even = ops.compare(ops.rem(n, two), constant(0, "si64"), op="eq")
        return ops.cond(even, n, on_true=halved, on_false=tripled), ops.add(count, one)

    body = Program.of([i64, i64], step)
    program = Program.of(
        [i64],
        lambda n: ops.item(
            ops.while_(n, constant(0, "si64"), condition=goes_on, body=body), index=1
        ),
    )
    for start, steps in ((1, 0), (6, 8), (27, 111)):
        (got,) = run(program, [np.array(start)], backend)
        assert int(got) == steps


def test_several_results_and_state_come_in_their_order(backend):
    inputs = [Input(ROW), Input(ROW, Role.STATE)]
    program = Program.of(inputs, lambda x, s: (x, ops.neg(x), x, ops.add(s, x))).verify()
    first, second, third, state = run(program, [X, Y.copy()], backend)
    for got, want in ((first, X), (second, -X), (third, X), (state, X + Y)):
        np.testing.assert_array_equal(got, want)


# --- custom calls ---


def _scaled(x: np.ndarray, *, by: float = 2.0) -> np.ndarray:
    return x * np.float32(by)


def _call(x: Node, target: str = "test.scaled.v1", **attributes: object) -> Node:
    return ops.custom_call(x, target=target, type=ROW, attributes=attributes)


def test_a_custom_call_runs_the_kernel_of_its_name_with_its_attributes(backend):
    reference.custom_call("test.scaled.v1")(_scaled)
    program = Program.of([ROW], lambda x: (_call(x), _call(x, by=-0.5)))
    plain, given = run(program, [X], backend)
    np.testing.assert_array_equal(plain, X * 2)
    np.testing.assert_array_equal(given, X * -0.5)


def test_a_custom_call_runs_in_a_branch(backend):
    reference.custom_call("test.scaled.v1")(_scaled)
    branches = {name: Program.of([ROW], _call) for name in ("on_true", "on_false")}
    program = Program.of([ROW], lambda x: ops.cond(constant(True, "i1"), x, **branches))
    np.testing.assert_array_equal(run(program, [X], backend)[0], X * 2)


def test_a_custom_call_may_have_several_results_and_symbolic_sizes(backend):
    vector = tensor_type((T,), "f32")

    @reference.custom_call("test.both.v1")
    def both(x):
        return x + 1, (x.sum(dtype=np.float32),)

    declared = TupleType((vector, TupleType((tensor_type((), "f32"),))))
    program = Program.of(
        [vector],
        lambda x: (
            (whole := ops.custom_call(x, target="test.both.v1", type=declared))
            and (ops.item(whole, index=0), ops.item(ops.item(whole, index=1), index=0))
        ),
    )
    for n in (0, 1, 5):
        more, total = run(program, [np.arange(n, dtype=np.float32)], backend)
        np.testing.assert_array_equal(more, np.arange(n) + 1)
        assert float(total) == sum(range(n))


def test_an_unknown_target_is_refused_with_the_nearest_one_before_anything_runs(backend):
    reference.custom_call("test.scaled.v1")(_scaled)
    for build in (
        lambda x: _call(x, "test.scald.v1"),
        lambda x: ops.call(x, body=Program.of([ROW], lambda y: _call(y, "test.scald.v1"))),
    ):
        with pytest.raises(SpecError, match=r"'test.scald.v1'.*did you mean 'test.scaled.v1'"):
            engine.plan_of(Program.of([ROW], build), backend)
    with pytest.raises(SpecError, match=r"'other.far.v9'.*have test.scaled.v1"):
        engine.plan_of(Program.of([ROW], lambda x: _call(x, "other.far.v9")), backend)


def test_a_backend_that_does_not_claim_a_target_names_it():
    class Bare(reference.Backend):
        def claims(self, node: Node) -> bool:
            return node.op is not ops.custom_call and super().claims(node)

    with pytest.raises(SpecError, match=r"does not claim target 'test.scaled.v1'") as caught:
        engine.lower(Program.of([ROW], _call), Bare(), ())
    assert caught.value.code == "unclaimed"


def test_an_attribute_that_the_kernel_does_not_take_is_refused(backend):
    reference.custom_call("test.scaled.v1")(_scaled)
    program = Program.of([ROW], lambda x: _call(x, factor=3.0))
    with pytest.raises(
        SpecError, match=r"unexpected keyword argument 'factor'.*by: float"
    ) as caught:
        engine.plan_of(program, backend)
    assert (caught.value.op, caught.value.code) == ("test.scaled.v1", "attribute")


@pytest.mark.parametrize(
    "wrong", [lambda x: x[:2], lambda x: x.astype("f8"), lambda x: (x, x), lambda x: 3.0]
)
def test_a_result_of_another_type_than_declared_is_refused(backend, wrong):
    reference.custom_call("test.scaled.v1")(wrong)
    with pytest.raises(SpecError, match=r"the kernel gave .*, declared is f32\[3\]") as caught:
        run(Program.of([ROW], _call), [X], backend)
    assert (caught.value.op, caught.value.code) == ("test.scaled.v1", "type")
