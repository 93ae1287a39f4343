"""The scheduler: who is served in a turn, without any model."""

from dataclasses import dataclass

import pytest

from ptir.runtime import Limits
from ptir.runtime.scheduler import Turn, next_turn

LIMITS = Limits(batch=2, chunk=10)


@dataclass
class Waits:
    length: int
    past: int = 0


def test_with_nothing_to_do_there_is_nothing_to_do():
    assert next_turn([], 0, LIMITS) == Turn(None, 0, decodes=False)


def test_prompts_are_read_in_the_order_in_which_they_came():
    first, second = Waits(5), Waits(3)
    assert next_turn([first, second], 0, LIMITS) == Turn(first, 5, decodes=False)


@pytest.mark.parametrize("past, tokens", [(0, 10), (10, 10), (20, 5), (24, 1)])
def test_a_long_prompt_is_read_in_chunks(past, tokens):
    prompt = Waits(25, past)
    assert next_turn([prompt], 0, LIMITS) == Turn(prompt, tokens, decodes=False)


def test_those_that_run_get_a_token_in_every_turn_while_a_prompt_is_read():
    prompt = Waits(25)
    assert next_turn([prompt], 1, LIMITS) == Turn(prompt, 10, decodes=True)


def test_a_prompt_waits_for_a_place():
    assert next_turn([Waits(5)], 2, LIMITS) == Turn(None, 0, decodes=True)


def test_a_chunk_does_not_depend_on_who_else_runs():
    prompt = Waits(25)
    assert {next_turn([prompt], n, LIMITS).tokens for n in (0, 1)} == {10}


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"chunk": 0}, {"kept": -1}, {"batch": 1.5}])
def test_limits_that_make_no_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} is"):
        Limits(**wrong)
