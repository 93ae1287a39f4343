"""Comparing and choosing, against Torch and Python's own order of numbers."""

import operator

import numpy as np
import pytest
import torch

from ptir import ops
from ptir.ir import DTYPES, SpecError, dtype
from tests.exact import FLOATS, INTEGERS, edges, nearest, same, squared, widened
from tests.ops.calling import call

ORDER = {
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ge": operator.ge,
    "gt": operator.gt,
    "ne": operator.ne,
}


@pytest.mark.parametrize("op", ORDER)
@pytest.mark.parametrize("of", ("i1", *FLOATS, *INTEGERS))
def test_compare_orders_every_pair_as_python(op, of):
    x, y = squared(edges(of))
    numbers = float if of in FLOATS else int
    pairs = zip(map(numbers, x), map(numbers, y), strict=True)
    same(call(ops.compare, x, y, op=op), np.array([ORDER[op](a, b) for a, b in pairs]))


def test_compare_with_nan_is_true_for_ne_only():
    nan, one = np.full(3, np.nan), np.array([1.0, np.inf, np.nan])
    for op in ORDER:
        same(call(ops.compare, nan, one, op=op), np.full(3, op == "ne"))
        same(call(ops.compare, one, nan, op=op), np.full(3, op == "ne"))


def test_complex_compares_for_equality_only():
    x, y = squared(edges("c64"))
    want = np.array([a == b for a, b in zip(x.tolist(), y.tolist(), strict=True)])
    same(call(ops.compare, x, y, op="eq"), want)
    same(call(ops.compare, x, y, op="ne"), ~want)
    for op in ("lt", "le", "ge", "gt"):
        with pytest.raises(SpecError, match=r"no order.*\[dtype\]"):
            call(ops.compare, x, y, op=op)


@pytest.mark.parametrize("of", DTYPES)
def test_select_takes_each_element_from_its_side(of):
    x, y = squared(edges(of))
    predicate = np.arange(len(x)) % 3 == 0
    want = np.array([a if p else b for p, a, b in zip(predicate, x, y, strict=True)])
    same(call(ops.select, predicate, x, y), want.astype(x.dtype))


@pytest.mark.parametrize("of", FLOATS)
def test_clamp_is_torch_clamp_between_ordered_bounds(of):
    x = edges(of)
    low, high = (nearest(np.full(x.shape, v), of) for v in (-1.5, 2.0))
    want = torch.from_numpy(widened(x)).clamp(-1.5, 2.0).numpy()
    same(call(ops.clamp, x, low, high), nearest(want, of))


@pytest.mark.parametrize("of", INTEGERS)
def test_clamp_of_integers_is_min_of_max_even_when_bounds_cross(of):
    x, low = squared(edges(of))
    high = np.full(x.shape, 3, dtype(of).numpy)
    want = [min(max(int(a), int(b)), 3) for a, b in zip(x, low, strict=True)]
    same(call(ops.clamp, x, low, high), np.array(want, dtype(of).numpy))


def test_clamp_with_a_nan_bound_is_nan():
    one, nan = np.ones(2, np.float32), np.array([np.nan, 0], np.float32)
    same(call(ops.clamp, one, nan, one), np.array([np.nan, 1], np.float32))
    same(call(ops.clamp, one, one, nan), np.array([np.nan, 0], np.float32))
