"""A region that many nodes share is worked on once by each pass, however deep regions lie."""

from collections.abc import Callable

import pytest

from ptir import backends, ops, passes
from ptir.ir import Node, Program, constant, tensor_type

SCALAR = tensor_type((), "f32")
DEPTH = 60  # 4^60 regions, if each use had its own


def nested(innermost: Callable[[Node], Node]) -> Program:
    """Branches whose branches are the same program, four times on each level."""
    truth = constant(True, "i1")
    program = Program.of([SCALAR], innermost)
    for _ in range(DEPTH):
        program = Program.of(
            [SCALAR],
            lambda x, p=program: ops.cond(
                truth, ops.cond(truth, x, on_true=p, on_false=p), on_true=p, on_false=p
            ),
        )
    return program.verify()


def innermost(program: Program) -> Program:
    for _ in range(DEPTH):
        (program,) = set(program.regions)
    return program


def pipeline() -> tuple[passes.Pass, ...]:
    reference = backends.find("reference")
    legalize = passes.legalizer(reference.claims, reference.name)
    return passes.legalizing(passes.pipeline({}), legalize)


@pytest.mark.parametrize("one", dict.fromkeys(map(passes.name, pipeline())))
def test_a_pass_works_on_a_shared_region_once(one):
    (found,) = passes.named([one], pipeline())
    program = nested(lambda x: ops.neg(ops.exp(x)))
    assert found(program).verify() == program  # nothing to do, but to look


def test_what_passes_do_reaches_the_innermost_region():
    before = nested(lambda x: ops.neg(ops.neg(ops.mul(x, ops.neg(constant(-2, "f32"))))))
    after = before
    for one in pipeline():
        after = one(after)
    assert innermost(after.verify()) == Program.of(
        [SCALAR], lambda x: ops.mul(x, constant(2, "f32"))
    )
