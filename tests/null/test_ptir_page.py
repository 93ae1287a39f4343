"""The contract's page prints programs as they are printed and knows every code of a refusal."""

import re
from pathlib import Path

import pytest

from ptir.ir import parse_program, print_program
from tests.samples import by_op

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ptir.md").read_text(encoding="utf-8")
SAMPLES = by_op()
EXAMPLES = re.findall(r"```\n(program.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_the_form_that_is_printed(text):
    assert print_program(parse_program(text).verify()) == text


def test_the_bounds_are_those_that_the_samples_are_held_to():
    rows = re.findall(r"^\| (\d+|2?N) \| (`[^`]*`)", PAGE, re.M)
    written = {op: bound for bound, ops in rows for op in ops.strip("`").split()}
    held = {op: samples.ulp for op, samples in SAMPLES.items() if samples.ulp}
    assert set(written) == set(held)
    fixed = {op: float(bound) for op, bound in written.items() if "N" not in bound}
    assert fixed == {op: held[op] for op in fixed}


def test_every_code_of_a_refused_sample_is_explained():
    rows = re.findall(
        r"^\| (`[^|]*) \|", PAGE[PAGE.index("## Errors") : PAGE.index("## Text")], re.M
    )
    explained = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert {
        refused.code for samples in SAMPLES.values() for refused in samples.refused
    } <= explained
