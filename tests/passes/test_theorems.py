"""Every rule is a theorem: both sides mean the same, whatever the shapes, dtypes and values.

Rules are found; a new one is tried without a further line. Wrong ones are caught.
"""

from importlib import import_module
from itertools import count
from pkgutil import iter_modules

import pytest

from ptir import passes
from ptir.ir import Call, Pattern, Rule
from tests.passes.theorem import prove

MODULES = [import_module(f"ptir.passes.{m.name}") for m in iter_modules(passes.__path__)]
RULES = list(dict.fromkeys(r for m in MODULES for r in vars(m).get("RULES", ())))


def named(rule: Rule, pattern: Pattern, number: int) -> str:
    place = f"-{number}" if len(rule.before) > 1 else ""
    return f"{rule.name}{place}{f'-{pattern.op}' if isinstance(pattern, Call) else ''}"


CASES = [
    pytest.param(rule, pattern, id=named(rule, pattern, number))
    for rule in RULES
    for pattern, number in zip(rule.before, count())
]


@pytest.mark.parametrize("rule, pattern", CASES)
def test_both_sides_of_the_rule_mean_the_same(rule: Rule, pattern: Pattern):
    prove(rule, pattern, examples=max(10, 100 // len(rule.before)))


def test_every_rule_that_a_module_declares_is_tried_and_runs():
    declared = {one.name for m in MODULES for one in vars(m).values() if isinstance(one, Rule)}
    assert declared == {one.name for one in RULES}
    assert [one.name for one in RULES if not one.before] == []
