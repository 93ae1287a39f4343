"""Programs: numbering and roles at capture, identity, and every way to be refused."""

import numpy as np
import pytest

from ptir import ops
from ptir.ir import (
    OPS,
    Attrs,
    Dim,
    Input,
    Op,
    Program,
    Role,
    Source,
    SpecError,
    constant,
    leaf,
    node,
    param,
    tensor_type,
)
from ptir.ops.evaluate import evaluate

F2 = tensor_type((2,), "f32")
F3 = tensor_type((3,), "f32")
S = Dim.symbol("S")


class Place(Source):
    """Data that is never loaded."""

    def __init__(self, type, role=Role.ARGUMENT, name=None):
        self.type, self.role, self.name = type, role, name

    def load(self):
        raise AssertionError("capture reads no data")


def forged(op, operands, attrs, type):
    """A node that its op's rule never saw."""
    return node._intern((op, operands, Attrs(attrs)), type)


def test_leaves_are_numbered_in_the_order_met():
    a, b, c = (Place(F2) for _ in range(3))
    program, sources = Program.capture([ops.sub(leaf(b), ops.add(leaf(a), leaf(b))), leaf(c)])
    assert sources == (b, a, c)
    x, y, z = (param(slot, F2) for slot in range(3))
    assert program.results == (ops.sub(x, ops.add(y, x)), z)


def test_arguments_come_first_used_or_not():
    a, unused, b = (Place(F2) for _ in range(3))
    program, sources = Program.capture([ops.sub(leaf(b), leaf(a))], [a, unused])
    assert sources == (a, unused, b)
    assert program.results == (ops.sub(param(2, F2), param(0, F2)),)


def test_roles_and_names_are_those_of_the_sources():
    w = Place(F2, Role.PARAMETER, "w")
    cache = Place(F3, Role.STATE)
    program, _ = Program.capture([leaf(w), leaf(cache)])
    assert program.inputs == (Input(F2, Role.PARAMETER, "w"), Input(F3, Role.STATE))
    assert program.states == 1


def test_equal_graphs_over_new_data_are_the_same_program():
    def build():
        a, b = Place(F2), Place(F2)
        return Program.capture([ops.sub(leaf(a), leaf(b))])[0]

    assert build() == build()
    assert hash(build()) == hash(build())


def test_swapped_operands_are_another_program():
    a, b = Place(F2), Place(F2)
    straight, _ = Program.capture([ops.sub(leaf(a), leaf(b))], [a, b])
    swapped, _ = Program.capture([ops.sub(leaf(b), leaf(a))], [a, b])
    assert straight != swapped


def test_names_of_parameters_are_part_of_a_program():
    programs = {Program.capture([leaf(Place(F2, Role.PARAMETER, n))])[0] for n in "vw"}
    assert len(programs) == 2


def test_dead_nodes_are_no_part_of_a_program():
    program = Program.of([F2], lambda x: (ops.exp(x), ops.neg(x))[0])
    assert [n.op.name for n in program.nodes] == ["param", "exp"]


def test_inlining_puts_operands_in_place_of_inputs():
    body = Program.of([F2, F2], lambda x, y: (ops.sub(x, y), x))
    a, b = param(3, F2), param(4, F2)
    assert body.inline([b, a]) == (ops.sub(b, a), b)


def test_substitution_reaches_inputs_attributes_and_regions():
    row = tensor_type((S,), "f32")
    body = Program.of([row], lambda x: ops.add(x, ops.iota(shape=(S,), dtype="f32", axis=0)))
    program = Program.of([row], lambda x: ops.call(x, body=body)).verify()
    known = program.substitute({"S": 3}).verify()
    assert known.symbols == frozenset()
    assert program.symbols == {"S"}
    (answer,) = evaluate(known, [np.ones(3, "f4")])
    assert answer.tolist() == [1, 2, 3]


def test_substitution_visits_a_shared_region_once():
    row = tensor_type((S,), "f32")
    program = Program.of([row], ops.neg)
    for _ in range(60):  # 2^60 regions, if each call had its own
        program = Program.of([row], lambda x, p=program: ops.call(ops.call(x, body=p), body=p))
    known = program.substitute({"S": 3}).verify()
    depth = 0
    while known.results[0].op is ops.call:
        (known,) = set(known.regions)
        depth += 1
    assert (depth, known) == (60, Program.of([tensor_type((3,), "f32")], ops.neg))


def refused(program, code, words):
    with pytest.raises(SpecError, match=words) as caught:
        program.verify()
    assert caught.value.code == code


def test_a_program_over_data_is_refused():
    refused(Program((), (leaf(Place(F2)),)), "leaf", "capture it first")


def test_an_undeclared_input_is_refused():
    refused(Program((Input(F2),), (param(1, F2),)), "input", "not declared")


def test_an_input_of_another_type_is_refused():
    refused(Program((Input(F2),), (param(0, F3),)), "input", r"is f32\[2\], used as f32\[3\]")


def test_state_without_a_new_value_is_refused():
    refused(Program((Input(F2, Role.STATE),), ()), "state", "needs a result")


def test_a_new_state_of_another_type_is_refused():
    inputs = (Input(F2, Role.STATE), Input(F3))
    refused(Program(inputs, (param(1, F3),)), "state", "its new value")
    Program(inputs, (param(1, F3), param(0, F2))).verify()  # the last results are the states


def test_a_forged_type_is_refused():
    wrong = forged(ops.exp, (param(0, F2),), {}, F3)
    refused(Program((Input(F2),), (wrong,)), "type", r"declared f32\[3\], inferred f32\[2\]")


def test_attributes_that_are_not_canonical_are_refused():
    spec = dict(ops.reduce(param(0, F2), kind="sum", axes=0).attrs) | {"axes": (-1,)}
    wrong = forged(ops.reduce, (param(0, F2),), spec, tensor_type((), "f32"))
    refused(Program((Input(F2),), (wrong,)), "attribute", "not canonical")


def test_an_unregistered_op_is_refused():
    op = Op("test_only", infer=lambda x: x)
    made = op(param(0, F2))
    del OPS["test_only"]
    refused(Program((Input(F2),), (made,)), "op", "not a registered op")


def test_a_symbol_that_no_input_binds_is_refused():
    made = ops.iota(shape=(S,), dtype="f32", axis=0)
    refused(Program((), (made,)), "dim", r"no input binds \?S")
    wide = ops.broadcast_to(constant(1, "f32"), shape=(S,))
    refused(Program((), (wide,)), "dim", r"no input binds \?S")
    Program((Input(tensor_type((S,), "f32")),), (made, wide)).verify()


def test_a_broken_region_is_refused_however_deep():
    broken = Program((Input(F2),), (forged(ops.neg, (param(1, F2),), {}, F2),))
    inner = Program.of([F2], lambda x: ops.call(x, body=broken))
    refused(Program.of([F2], lambda x: ops.call(x, body=inner)), "input", "not declared")


def test_a_region_that_does_not_fit_its_operands_is_refused():
    body = Program.of([F2], ops.exp)
    with pytest.raises(SpecError, match="region operand 0"):
        Program.of([F3], lambda x: ops.call(x, body=body))


def test_a_valid_program_verifies_to_itself():
    program = Program.of([F2, F2], lambda x, y: ops.add(x, y))
    assert program.verify() is program
