"""The contract's page prints programs as they are printed and knows every code of a refusal."""

import re
from pathlib import Path

import pytest

from ptir.ir import parse_program, print_program
from tests.samples import by_op

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ptir.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```\n(program.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_the_form_that_is_printed(text):
    assert print_program(parse_program(text).verify()) == text


def test_every_code_of_a_refused_sample_is_explained():
    rows = re.findall(
        r"^\| (`[^|]*) \|", PAGE[PAGE.index("## Errors") : PAGE.index("## Text")], re.M
    )
    explained = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert {
        refused.code for samples in by_op().values() for refused in samples.refused
    } <= explained
