"""Nested structures: what goes in comes out, and only equal structures are equal."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import SpecError
from ptir.tree import flatten


class Leaf:
    pass


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Box:
    content: Any
    label: str = ""


def is_leaf(value):
    return isinstance(value, Leaf)


leaves = st.builds(Leaf)
static = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
structures = st.recursive(
    leaves | static,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Box, inner, st.text())
    ),
    max_leaves=20,
)


@given(structures)
def test_a_structure_is_rebuilt_as_it_was(value):
    found, shape = flatten(value, is_leaf)
    assert all(map(is_leaf, found))
    again = shape.build(found)
    assert again == value
    assert type(again) is type(value)


@given(structures)
def test_equal_structures_have_equal_shapes(value):
    _, shape = flatten(value, is_leaf)
    _, other = flatten(shape.build([Leaf() for _ in flatten(value, is_leaf)[0]]), is_leaf)
    assert shape == other
    assert hash(shape) == hash(other)
    assert flatten([value], is_leaf)[1] != shape


@pytest.mark.parametrize(
    "a, b",
    [
        (1, True), (1, 1.0), (0.0, -0.0), ((1,), [1]), ({"a": 1}, {"b": 1}), ("a", b"a"),
        ((), []), ((), None), (Pair(1, 2), (1, 2)), (Box(1), Box(1, "x")), ({"a": 1}, {"a": True}),
    ],
    ids=repr,
)  # fmt: skip
def test_different_structures_have_different_shapes(a, b):
    assert flatten(a, is_leaf)[1] != flatten(b, is_leaf)[1]


def test_nan_is_the_same_static_value_each_time():
    assert flatten(float("nan"), is_leaf)[1] == flatten(float("nan"), is_leaf)[1]


def test_leaves_come_in_order():
    a, b, c = Leaf(), Leaf(), Leaf()
    assert flatten({"x": [a, 1], "y": Box(Pair(b, c))}, is_leaf)[0] == [a, b, c]


def test_what_has_no_hash_is_refused():
    with pytest.raises(SpecError, match="neither a tensor nor hashable"):
        flatten([{1, 2}], is_leaf)
