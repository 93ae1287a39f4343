"""Random programs over the whole op set: written forms, backends and passes all agree."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from ptir import engine
from ptir.ir import OPS, PARAM, Node, Program, from_json, parse_program, print_program, to_json
from ptir.ops.evaluate import evaluate
from tests.backend.running import bound, check, meaning, no_passes, one_op, precisely, run, tensors
from tests.exact import Array, same
from tests.samples import by_op
from tests.steps import STEPS, programs

# A custom call has no meaning but its backend's; leaves and inputs are what programs begin with.
WITHOUT_STEPS = {"leaf", "param", "custom_call"}

often = settings(max_examples=150, suppress_health_check=list(HealthCheck))
seldom = settings(max_examples=6, suppress_health_check=list(HealthCheck))


def one_by_one(program: Program, arrays: list[Array]) -> dict[Node, Any]:
    """Every value of a program, each op applied on its own."""
    known: dict[Node, Any] = {}
    for node in program.nodes:
        operands = [known[x] for x in node.operands]
        if node.op is PARAM:
            known[node] = arrays[node.attrs["slot"]]
        elif node.op.reference is not None:
            known[node] = node.op.reference(*operands, **node.attrs)
        else:
            (known[node],) = meaning(node.op.name, operands, node.attrs)
    return known


def agree(case: tuple[Program, list[Array]], backend: Any) -> None:
    """Hold one program against everything that says the same."""
    program, arrays = case
    note(print_program(program.verify(), literals=True))
    known = one_by_one(program, arrays)
    want = [known[r] for r in program.results]
    for got, expected in zip(evaluate(program, arrays), want, strict=True):
        same(got, expected)
    if backend.name == "reference":
        for got, expected in zip(run(program, arrays, backend), want, strict=True):
            same(got, expected)
    else:
        _each_call(program, known, backend)


def _each_call(program: Program, known: dict[Node, Any], backend: Any) -> None:
    """Each call on its own, so that no error is multiplied by what comes after it."""
    for node in program.nodes:
        if node.op is PARAM or not _bounded(node):
            continue
        operands = [known[x] for x in node.operands]
        ulp = bound(by_op()[node.op.name].ulp, node.attrs)
        call = one_op(node.op.name, [x.type for x in node.operands], node.attrs)
        wide = ulp and node.op.name not in BY_DEFINITION
        truth = precisely(node.op.name, operands, node.attrs) if wide else tensors(known[node])
        check(run(call, operands, backend), tensors(known[node]), truth, ulp)


# Said to compute in f32, where steps between integers of 32 bits may cancel: f64 is no truth then.
BY_DEFINITION = frozenset({"quantize", "dequantize", "requantize"})


def _bounded(node: Node) -> bool:
    """Whether a call's error is bounded by its own result: no sums that may cancel, no bodies."""
    sums = node.attrs.get("kind") in ("sum", "prod", "add", "mul")
    bodies = any(isinstance(value, Program) for value in node.attrs.values())
    return not (sums or bodies) and node.op.name not in ("dot_general", "tuple", "item")


def test_every_op_has_a_step():
    assert set(OPS) - WITHOUT_STEPS == set(STEPS)


@often
@given(programs())
def test_every_way_to_run_a_program_gives_the_same(backend, case):
    agree(case, backend)


@pytest.mark.parametrize("op", sorted(STEPS))
def test_a_program_with_the_op_gives_the_same_every_way(backend, op):
    @seldom
    @given(programs(must=op))
    def every_way(case):
        agree(case, backend)

    every_way()


@often
@given(programs())
def test_what_was_read_back_is_the_same_program(case):
    program, _ = case
    text = print_program(program, literals=True)
    note(text)
    assert parse_program(text) == program
    assert from_json(to_json(program)) == program


@often
@given(programs(without=["bitcast"]))  # which would show the payload of a NaN
def test_passes_change_no_result(backend, case):
    program, arrays = case
    note(print_program(program, literals=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTIR_PASSES", no_passes(backend))
        plain = run(program, arrays, backend)
        assert [p.name for p in engine.plan_of(program, backend)[0].passes] == ["legalize"]
        # These bring in arithmetic of others: the reference's, and that of functionals.
        patch.setenv("PTIR_PASSES", "" if backend.name == "reference" else "-fold_constants,-raise")
        changed = run(program, arrays, backend)
    for got, want in zip(changed, plain, strict=True):
        same(got, want)
