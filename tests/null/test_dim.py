"""Symbolic sizes: linear algebra held against its own values at random points."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import Dim, SpecError, known_le
from ptir.ir.dim import cancel, product, solve, substitute

NAMES = ("A", "B", "C")
small = st.integers(-8, 8)
points = st.fixed_dictionaries({name: st.integers(0, 50) for name in NAMES})


@st.composite
def sizes(draw):
    """An int or a `Dim` over A, B and C, and its coefficients."""
    coefficients = {name: draw(small) for name in NAMES}
    constant = draw(st.integers(-100, 100))
    size = constant
    for name, c in coefficients.items():
        size = size + Dim.symbol(name) * c
    return size, (coefficients, constant)


def at(size, point):
    """The value of a size, worked out from its coefficients."""
    coefficients, constant = size
    return constant + sum(c * point[name] for name, c in coefficients.items())


@given(sizes(), points)
def test_substituting_every_symbol_gives_the_value(size, point):
    found = substitute(size[0], point)
    assert type(found) is int
    assert found == at(size[1], point)


@given(sizes(), sizes(), small, points)
def test_arithmetic_is_that_of_the_values(a, b, k, point):
    x, y = at(a[1], point), at(b[1], point)
    assert substitute(a[0] + b[0], point) == x + y
    assert substitute(a[0] - b[0], point) == x - y
    assert substitute(a[0] * k, point) == x * k
    assert substitute(k - a[0], point) == k - x


@given(sizes(), sizes())
def test_equal_expressions_are_equal_however_they_are_written(a, b):
    assert a[0] + b[0] == b[0] + a[0]
    assert (a[0] + b[0]) - b[0] == a[0]
    assert (a[0] == b[0]) == (a[1] == b[1])
    assert hash(a[0] + b[0]) == hash(b[0] + a[0])


@given(sizes(), st.integers(1, 9))
def test_division_undoes_multiplication(a, k):
    assert a[0] * k // k == a[0]


def test_a_remainder_that_may_not_be_zero_is_refused():
    with pytest.raises(SpecError, match="divisible by 2"):
        (Dim.symbol("S") * 2 + 1) // 2
    with pytest.raises(SpecError, match="divisible by 0"):
        Dim.symbol("S") // 0


def test_a_product_of_two_symbols_is_not_linear():
    with pytest.raises(SpecError, match="not linear"):
        Dim.symbol("S") * Dim.symbol("T")


def test_a_dim_without_symbols_is_an_int():
    S = Dim.symbol("S")
    assert type(S - S) is int
    assert type(S * 0 + 3) is int


@pytest.mark.parametrize("name", ["", "1a", "a b", "é", "a-b"])
def test_a_symbol_is_an_ascii_identifier(name):
    with pytest.raises(SpecError, match="identifier"):
        Dim.symbol(name)


@given(sizes(), points)
def test_a_value_is_within_the_bounds(size, point):
    if not isinstance(size[0], Dim):
        return
    low, high = size[0].bounds(dict.fromkeys(NAMES, (0, 50)))
    assert low is not None
    assert high is not None
    assert low <= at(size[1], point) <= high
    ends = [
        at(size[1], {"A": a, "B": b, "C": c}) for a in (0, 50) for b in (0, 50) for c in (0, 50)
    ]
    assert (low, high) == (min(ends), max(ends))


@given(sizes(), sizes(), points)
def test_what_is_known_to_be_less_is_less(a, b, point):
    known = known_le(a[0], b[0])
    if known is not None:
        assert (at(a[1], point) <= at(b[1], point)) is known


def test_comparison_knows_what_it_can():
    S, T = Dim.symbol("S"), Dim.symbol("T")
    assert known_le(S, S + 1) is True
    assert known_le(S + 1, S) is False
    assert known_le(0, S) is True
    assert known_le(S, T) is None


@given(sizes(), points)
def test_solving_for_one_symbol_finds_its_value(size, point):
    rest = substitute(size[0], {"B": point["B"], "C": point["C"]})
    bindings: dict[str, int] = {}
    assert solve(rest, at(size[1], point), bindings)
    assert bindings in ({}, {"A": point["A"]})
    assert bool(bindings) == isinstance(rest, Dim)


def test_solving_refuses_fractions_and_negative_sizes():
    S = Dim.symbol("S")
    assert not solve(S * 2, 3, {})
    assert not solve(S + 5, 3, {})
    assert not solve(S, 3, {"S": 4})
    assert not solve(3, 4, {})


def test_two_unbound_symbols_bind_nothing_yet():
    bindings: dict[str, int] = {}
    assert solve(Dim.symbol("S") + Dim.symbol("T"), 3, bindings)
    assert bindings == {}


@given(st.lists(sizes(), max_size=4), st.lists(sizes(), max_size=4), points)
def test_cancelling_keeps_the_ratio(left, right, point):
    def value(factors):
        total: Any = 1
        for factor in factors:
            total *= substitute(factor, point)
        return total

    a, b = [s for s, _ in left], [s for s, _ in right]
    x, y = cancel(a, b)
    assert value(a) * value(y) == value(b) * value(x) or 0 in (value(a), value(b))
    assert not any(factor in y for factor in x)


def test_a_product_with_zero_is_zero_though_it_is_not_linear():
    S = Dim.symbol("S")
    assert product([S, S, 0]) == 0
    assert product([2, S, 3]) == S * 6


def test_a_dim_prints_as_the_text_form_reads_it():
    S, T = Dim.symbol("S"), Dim.symbol("T")
    assert str(S * 4 - T + 1) == "4*?S-?T+1"
    assert str(-S) == "-?S"
