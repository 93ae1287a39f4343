"""Views say by strides what NumPy does to arrays, for sizes that are known and for symbols."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ptir.backends.native.size import ceil_div, extent, product, value
from ptir.backends.native.view import Buffer, View, row_major
from ptir.ir import Dim, dtype

F4 = dtype("f32")
T, C = Dim.symbol("T"), Dim.symbol("C")


def whole(shape: tuple[int, ...]) -> View:
    return View(Buffer("arena", product(shape) * 4), F4, shape, row_major(shape))


def read(view: View, memory: np.ndarray[Any, Any], symbols: dict[str, int]) -> Any:
    shape = [value(n, symbols) for n in view.shape]
    strides = [value(s, symbols) * 4 for s in view.strides]
    return np.ndarray(shape, "f4", memory, value(view.offset, symbols) * 4, strides)


def factorings(size: int) -> list[tuple[int, ...]]:
    """All shapes of so many elements, ones left out."""
    if size == 1:
        return [()]
    return [
        (n, *rest) for n in range(2, size + 1) if size % n == 0 for rest in factorings(size // n)
    ]


@st.composite
def moved(draw) -> tuple[View, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A view after some moves, the same moves on an array, and the memory of both."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)))
    memory = np.arange(value(product(shape), {}), dtype="f4")
    view, array = whole(shape), memory.reshape(shape)
    for move in draw(st.lists(st.sampled_from("tsrb"), max_size=3)):
        if move == "t":
            perm = draw(st.permutations(range(view.rank)))
            view, array = view.transpose(perm), array.transpose(perm)
        elif move == "s":
            starts = [draw(st.integers(0, n - 1)) for n in array.shape]
            part = tuple(slice(s, None, 2) for s in starts)
            array = array[part]
            view = view.slice(starts, array.shape, [2] * view.rank)
        elif move == "r":
            view, array = view.reverse([0]), np.flip(array, 0)
        else:
            shape = (2, *(3 if n == 1 else n for n in array.shape))
            view, array = view.broadcast_to(shape), np.broadcast_to(array, shape)
    return view, array, memory


@given(moved(), st.data())
def test_moves_and_reshapes_are_those_of_numpy(case, data):
    view, array, memory = case
    assert read(view, memory, {}).tolist() == array.tolist()
    shape = data.draw(st.sampled_from(factorings(array.size)))
    found = view.reshape(shape)
    if found is None:
        assert not np.shares_memory(array.reshape(shape), memory)
    else:
        assert read(found, memory, {}).tolist() == array.reshape(shape).tolist()


@given(st.integers(1, 4), st.integers(1, 5))
def test_symbolic_reshapes_are_those_of_numpy(t, c):
    symbols = {"T": t, "C": c}
    shape = (extent(T), 2, extent(C), 3)
    view = View(Buffer("arena", product(shape) * 4), F4, shape, row_major(shape))
    memory = np.arange(t * 2 * c * 3, dtype="f4")
    array = memory.reshape(t, 2, c, 3)
    turned = view.transpose((0, 2, 1, 3))
    joined = turned.reshape((extent(T) * extent(C), 6))
    assert joined is None
    flat = view.reshape((extent(T) * 2, extent(C) * 3))
    assert flat is not None
    assert read(flat, memory, symbols).tolist() == array.reshape(t * 2, c * 3).tolist()
    heads = flat.slice((0, 3), (extent(T) * 2, 3)).reshape((extent(T), 2, 3))
    assert heads is not None
    wanted = array.reshape(t * 2, c * 3)[:, 3:6] if c > 1 else None
    if wanted is not None:
        assert read(heads, memory, symbols).tolist() == wanted.reshape(t, 2, 3).tolist()


@given(st.integers(0, 9), st.integers(0, 9), st.integers(-3, 3), st.integers(1, 4))
def test_sizes_compute_as_numbers_do(t, c, k, by):
    symbols = {"T": t, "C": c}
    size = extent(T) * (extent(C) + k) * 2 - extent(T)
    assert value(size, symbols) == t * (c + k) * 2 - t
    assert value(ceil_div(extent(C) + 3, by) * extent(T), symbols) == -(-(c + 3) // by) * t


def test_equal_sizes_are_equal():
    t, c = extent(T), extent(C)
    assert t * c + t == t * (c + 1)
    assert t - t == 0
    assert {t * c: 1}[c * t] == 1
