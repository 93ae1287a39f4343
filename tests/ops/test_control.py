"""Branches and loops mean what Python's own mean, and a Torch network over time."""

import _thread
import math
import threading

import numpy as np
import pytest
import torch

from ptir import ops
from ptir.ir import Dim, Program, SpecError, TupleType, constant, param, tensor_type
from ptir.ops.evaluate import evaluate
from tests.ops.calling import call

RNG = np.random.default_rng(3)
i1, si32, si64 = (tensor_type((), name) for name in ("i1", "si32", "si64"))
f32 = tensor_type((), "f32")
row = tensor_type((3,), "f32")
T = Dim.symbol("T")


def scalar(value, dtype="f32"):
    return np.array(value, tensor_type((), dtype).dtype.numpy)


def positive(*xs):
    return ops.compare(xs[-1], constant(0, "si64"), op="gt")


# --- cond ---


@pytest.mark.parametrize("predicate", [True, False])
def test_cond_takes_one_branch(predicate):
    both = [row, row]
    branches = {
        "on_true": Program.of(both, lambda x, y: (ops.add(x, y), x)),
        "on_false": Program.of(both, lambda x, y: (ops.sub(x, y), y)),
    }
    x, y = RNG.standard_normal((2, 3)).astype(np.float32)
    total, chosen = call(ops.cond, np.array(predicate), x, y, **branches)
    np.testing.assert_array_equal(total, x + y if predicate else x - y)
    np.testing.assert_array_equal(chosen, x if predicate else y)


def test_cond_does_not_run_the_other_branch():
    divide = Program.of([si32, si32], lambda x, y: ops.div(x, y))
    first = Program.of([si32, si32], lambda x, y: x)
    args = (scalar(7, "si32"), scalar(0, "si32"))
    assert call(ops.cond, np.array(False), *args, on_true=divide, on_false=first) == 7
    with pytest.raises(SpecError, match="division by zero"):
        call(ops.cond, np.array(True), *args, on_true=divide, on_false=first)


# --- while ---


def gcd(a, b):
    return ops.while_(
        a,
        b,
        condition=Program.of([si64, si64], positive),
        body=Program.of([si64, si64], lambda a, b: (b, ops.rem(a, b))),
    )


@pytest.mark.parametrize("a, b", [(12, 18), (1071, 462), (5, 0), (2**40 * 3, 2**35 * 9)])
def test_while_runs_euclid(a, b):
    found, zero = evaluate(
        Program.of([si64, si64], gcd).verify(), [scalar(a, "si64"), scalar(b, "si64")]
    )[0]
    assert (found, zero) == (math.gcd(a, b), 0)


def test_while_with_a_false_condition_gives_its_operands():
    never = Program.of([row], lambda x: constant(False, "i1"))
    body = Program.of([row], lambda x: ops.neg(x))
    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(call(ops.while_, x, condition=never, body=body), x)


def test_an_endless_while_can_be_interrupted():
    forever = Program.of([si64], lambda x: constant(True, "i1"))
    body = Program.of([si64], lambda x: ops.add(x, constant(1, "si64")))
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call(ops.while_, scalar(0, "si64"), condition=forever, body=body)
    timer.join()


# --- scan ---


def cell(hidden, x, w, u):
    product = {"contract_lhs": (1,), "contract_rhs": (1,)}
    new = ops.tanh(ops.add(ops.dot_general(x, w, **product), ops.dot_general(hidden, u, **product)))
    return new, new


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_runs_a_recurrent_network_as_torch_does(reverse):
    steps, batch, features, width = 6, 2, 3, 4
    network = torch.nn.RNN(features, width, bias=False)
    x = RNG.standard_normal((steps, batch, features)).astype(np.float32)
    weights = [network.weight_ih_l0.detach().numpy(), network.weight_hh_l0.detach().numpy()]
    shapes = [(batch, width), (batch, features), *(w.shape for w in weights)]
    body = Program.of([tensor_type(s, "f32") for s in shapes], cell)
    start = np.zeros((batch, width), np.float32)
    last, outputs = call(
        ops.scan, start, x, *weights, body=body, carries=1, inputs=1, reverse=reverse
    )
    over = np.flip(x, 0).copy() if reverse else x
    want, want_last = (t.detach().numpy() for t in network(torch.tensor(over)))
    np.testing.assert_allclose(last, want_last[0], rtol=1e-6, atol=1e-6)
    want = np.flip(want, 0) if reverse else want
    np.testing.assert_allclose(outputs, want, rtol=1e-6, atol=1e-6)


def test_scan_without_carries_maps_several_inputs():
    body = Program.of([row, f32], lambda x, y: (ops.neg(x), y))
    x, y = RNG.standard_normal((5, 3)).astype(np.float32), np.arange(5, dtype=np.float32)
    mapped, same = call(ops.scan, x, y, body=body, carries=0, inputs=2)
    np.testing.assert_array_equal(mapped, -x)
    np.testing.assert_array_equal(same, y)


def test_scan_without_inputs_counts_by_its_length():
    body = Program.of([si64], lambda n: (ops.add(n, constant(2, "si64")), n))
    last, seen = call(ops.scan, scalar(5, "si64"), body=body, carries=1, inputs=0, length=4)
    assert last == 13
    assert seen.tolist() == [5, 7, 9, 11]


def test_scan_over_nothing_gives_its_carries_and_empty_outputs():
    body = Program.of([f32, row], lambda c, x: (c, ops.cast(x, dtype="bf16"), c))
    last, rows, scalars = call(
        ops.scan, scalar(2.5), np.zeros((0, 3), np.float32), body=body, carries=1, inputs=1
    )
    assert last == 2.5
    assert (rows.shape, scalars.shape) == ((0, 3), (0,))


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_scan_of_symbolic_length_and_width(steps):
    sizes = T, Dim.symbol("N")
    x = tensor_type(sizes, "f32")
    body = Program.of([x.with_shape(sizes[1:])] * 2, lambda c, x: (ops.add(c, x), c))
    program = Program.of(
        [x.with_shape(sizes[1:]), x],
        lambda c, x: ops.scan(c, x, body=body, carries=1, inputs=1),
    ).verify()
    assert program.results[0].type == TupleType((x.with_shape(sizes[1:]), x))
    data = RNG.integers(-9, 9, (steps, 3)).astype(np.float32)
    total, before = evaluate(program, [np.zeros(3, np.float32), data])[0]
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(data, 0)]).astype(np.float32)
    np.testing.assert_array_equal(total, sums[-1])
    np.testing.assert_array_equal(before, sums[:-1])


def test_scan_of_4bit_and_boolean_outputs_keeps_their_dtype():
    body = Program.of([si32], lambda x: (ops.cast(x, dtype="si4"), ops.cast(x, dtype="i1")))
    small, truth = call(ops.scan, np.array([-9, 0, 3], np.int32), body=body, carries=0, inputs=1)
    assert small.astype(int).tolist() == [-8, 0, 3]
    assert truth.tolist() == [True, False, True]


def test_control_flow_nests():
    square = Program.of([si64], lambda x: ops.mul(x, x))
    zero = Program.of([si64], lambda x: constant(0, "si64"))

    def step(total, x):
        odd = ops.compare(ops.rem(x, constant(2, "si64")), constant(1, "si64"), op="eq")
        return ops.add(total, ops.cond(odd, x, on_true=square, on_false=zero))

    total = call(
        ops.scan, scalar(0, "si64"), np.arange(10), body=Program.of([si64, si64], step),
        carries=1, inputs=1,
    )  # fmt: skip
    assert total == 1 + 9 + 25 + 49 + 81


# --- what is refused, and how it is said ---


def test_a_wrong_carry_is_named():
    body = Program.of([f32, row], lambda c, x: (c, ops.cast(x, dtype="bf16")))
    message = r"while: carried result 1 is bf16\[3\], wanted f32\[3\] \[region\]"
    always = Program.of([f32, row], lambda c, x: constant(True, "i1"))
    with pytest.raises(SpecError, match=message):
        ops.while_(param(0, f32), param(1, row), condition=always, body=body)
    with pytest.raises(SpecError, match=message.replace("while", "scan")):
        ops.scan(param(0, f32), param(1, row), body=body, carries=2, inputs=0, length=3)


def test_branches_must_agree():
    same, other = Program.of([f32], lambda x: x), Program.of([f32], lambda x: (x, x))
    with pytest.raises(SpecError, match="2 on_false results came, wanted 1"):
        ops.cond(param(0, i1), param(1, f32), on_true=same, on_false=other)


def test_scanned_inputs_must_be_equally_long():
    body = Program.of([f32, f32], lambda x, y: ops.add(x, y))
    x, y = (param(slot, tensor_type((n,), "f32")) for slot, n in enumerate((3, 4)))
    with pytest.raises(SpecError, match=r"operand 1 is f32\[4\], wanted 3 steps"):
        ops.scan(x, y, body=body, carries=0, inputs=2)
    with pytest.raises(SpecError, match=r"operand 0 is f32\[3\], wanted 7 steps"):
        ops.scan(x, x, body=body, carries=0, inputs=2, length=7)
