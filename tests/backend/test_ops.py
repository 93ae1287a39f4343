"""Every sample of every op on every backend: bit by bit, or within the op's bound of f64 truth."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest

from ptir import engine
from ptir.backends import Backend, reference
from ptir.ir import (
    OPS,
    Dim,
    Node,
    Program,
    SpecError,
    TensorType,
    TupleType,
    Type,
    make,
    parse_program,
    print_program,
    type_of,
)
from tests.backend.running import bound, check, meaning, no_passes, one_op, precisely, run
from tests.exact import Array
from tests.samples import Case, Refused, by_op

SAMPLES = by_op()
B = Dim.symbol("B")

every_op = pytest.mark.parametrize("op", sorted(op for op in SAMPLES if SAMPLES[op].cases))


class Sample:
    """One case as a program, with what the op's reference gives, in its dtype and in f64."""

    def __init__(self, op: str, case: Case) -> None:
        self.op, self.case = op, case
        self.operands = [np.asarray(x) for x in case.operands]
        self.types = [type_of(x) for x in self.operands]
        self.program = one_op(op, self.types, case.attrs)
        self.ulp = bound(SAMPLES[op].ulp, case.attrs)
        self.want = meaning(op, self.operands, case.attrs)
        self.truth = self.want
        if self.ulp:
            self.truth = precisely(op, self.operands, case.attrs)

    def check(self, got: list[Array], exact: bool = False) -> None:
        check(got, self.want, self.truth, 0 if exact else self.ulp)

    @contextmanager
    def named(self) -> Iterator[None]:
        """A failure inside says which sample it was."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"{self.op}, sample {self.case.note!r}:\n{self.program}")
            raise


@cache
def samples(op: str) -> list[Sample]:
    return [Sample(op, case) for case in SAMPLES[op].cases]


def is_reference(backend: Any) -> bool:
    return bool(backend.name == "reference")


@every_op
def test_a_sample_gives_what_its_reference_says(op, backend):
    for sample in samples(op):
        with sample.named():
            sample.check(run(sample.program, sample.operands, backend), is_reference(backend))


@every_op
def test_a_sample_gives_the_same_without_passes(op, backend, monkeypatch):
    monkeypatch.setenv("PTIR_PASSES", no_passes(backend))
    for sample in samples(op):
        with sample.named():
            sample.check(run(sample.program, sample.operands, backend), is_reference(backend))


@every_op
def test_the_type_rule_says_what_the_reference_returns(op):
    for sample in samples(op):
        with sample.named():
            assert [type_of(x) for x in sample.want] == [r.type for r in sample.program.results]


@every_op
def test_the_reference_is_within_the_bound_that_backends_have(op):
    for sample in samples(op):
        with sample.named():
            sample.check(sample.want)


@every_op
def test_a_program_that_was_read_back_gives_the_same(op, backend):
    for sample in samples(op):
        with sample.named():
            again = parse_program(print_program(sample.program, literals=True)).verify()
            sample.check(run(again, sample.operands, backend), is_reference(backend))


# --- what is written with simpler ops ---


class Expanding(reference.Backend):
    """A backend that claims no op that can be written with others."""

    def claims(self, node: Node) -> bool:
        return node.op.decompose is None and super().claims(node)


@pytest.mark.parametrize("op", [op for op in sorted(SAMPLES) if OPS[op].decompose])
def test_an_op_means_what_it_is_written_with(op):
    backend = Expanding()
    for sample in samples(op):
        with sample.named():
            lowered, _ = engine.lower(sample.program, backend, ())
            assert all(node.op.name != op for node in lowered.nodes)
            sample.check(list(backend.compile(lowered)(*sample.operands)), exact=True)


# --- a symbolic leading axis ---

# Bodies name their sizes; the others have no operand whose leading axis could be longer.
NEVER_SYMBOLIC = {
    "call", "composite", "cond", "constant", "iota", "random_bits", "random_normal",
    "random_uniform", "while",
}  # fmt: skip


def symbolic(sample: Sample) -> Iterator[tuple[Program, int]]:
    """The sample with a symbol for the leading size of its operands, where the op takes that."""
    first = sample.types[0] if sample.types else None
    if first is None or not first.rank:
        return
    size = first.static_shape[0]
    shared = [_led_by(t, size) for t in sample.types]
    for types in (shared, [shared[0], *sample.types[1:]]):
        for attrs in (sample.case.attrs, _sized(sample.case.attrs, size)):
            try:
                yield one_op(sample.op, types, attrs), size
                return
            except SpecError:
                continue


def _led_by(type: TensorType, size: int) -> TensorType:
    leads = type.rank and type.shape[0] == size
    return type.with_shape((B, *type.shape[1:])) if leads else type


def _sized(attrs: Any, size: int) -> dict[str, Any]:
    """Shapes and limits that begin with the leading size follow it."""
    return {
        name: (B, *value[1:]) if isinstance(value, tuple) and value[:1] == (size,) else value
        for name, value in attrs.items()
    }


@every_op
def test_a_symbolic_leading_axis_gives_the_same(op, backend):
    tried = 0
    for sample in samples(op):
        for program, size in symbolic(sample):
            with sample.named():
                results = [r.type.substitute({"B": size}) for r in program.results]
                assert results == [r.type for r in sample.program.results]
                got = run(program.verify(), sample.operands, backend)
                sample.check(got, is_reference(backend))
            tried += 1
    assert (tried == 0) == (op in NEVER_SYMBOLIC)


# --- what is refused ---


def refusals() -> Iterator[Any]:
    for op in sorted(SAMPLES):
        for number, refused in enumerate(SAMPLES[op].refused):
            yield pytest.param(op, refused, id=f"{op}-{number}")


def _type(operand: Type | Array) -> Type:
    return operand if isinstance(operand, TensorType | TupleType) else type_of(np.asarray(operand))


def _attempt(op: str, refused: Refused, backend: Backend) -> None:
    """Build the call; if its types are fine, run it on the arrays."""
    types = [_type(x) for x in refused.operands]
    program = Program.of(types, lambda *nodes: make(OPS[op], nodes, refused.attrs))
    run(program, [np.asarray(x) for x in refused.operands], backend)


@pytest.mark.parametrize("op, refused", list(refusals()))
def test_what_an_op_refuses_has_its_code(op: str, refused: Refused, backend):
    with pytest.raises(SpecError) as caught:
        _attempt(op, refused, backend)
    assert (caught.value.code, caught.value.op.split()[0]) == (refused.code, op)
    assert refused.message in str(caught.value)
