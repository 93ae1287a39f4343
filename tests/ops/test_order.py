"""Order along an axis means what Torch and Python's stable sort say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import DTYPES, Dim, SpecError, param, tensor_type
from ptir.ops.order import sort, top_k
from tests.ops.calling import call, decomposed, reference

RNG = np.random.default_rng(2)
REAL = [d for d in DTYPES.values() if not d.is_complex]
few = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -2.0, 3.5])
rows = st.integers(0, 9).flatmap(
    lambda n: st.lists(st.lists(few, min_size=n, max_size=n), max_size=3)
)


@pytest.mark.parametrize("descending", [False, True])
@given(rows)
def test_sort_equals_torch_stable_sort(descending, rows):
    x = np.array(rows, np.float32).reshape(len(rows), -1 if rows else 0)
    values, indices = call(sort, x, descending=descending)
    want = torch.sort(torch.tensor(x), dim=-1, descending=descending, stable=True)
    np.testing.assert_array_equal(values, want.values.numpy())
    np.testing.assert_array_equal(indices, want.indices.numpy())


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("descending", [False, True])
def test_every_real_dtype_sorts_as_python_does(dtype, descending):
    low, high = dtype.range if not dtype.is_float else (-8, 8)
    x = RNG.integers(max(low, -(2**62)), min(high, 2**62), 20, endpoint=True).astype(dtype.numpy)
    x = np.concatenate((x, x[:10]))
    values, indices = call(sort, x, axis=0, descending=descending, stable=False)
    exact = x.tolist()
    want = sorted(range(30), key=exact.__getitem__, reverse=descending)  # stable both ways
    assert indices.tolist() == want
    assert values.tobytes() == x[want].tobytes()


def test_integers_beyond_f64_sort_exactly():
    x = np.array([2**63 + 1, 2**63, 2**64 - 1, 2**64 - 2], np.uint64)
    assert call(sort, x)[1].tolist() == [1, 0, 3, 2]


def test_sort_runs_along_each_axis():
    x = RNG.standard_normal((3, 4, 5)).astype(np.float32)
    for axis in (0, 1, 2, -2):
        values, indices = call(sort, x, axis=axis)
        want = torch.sort(torch.tensor(x), dim=axis)
        np.testing.assert_array_equal(values, want.values.numpy())
        np.testing.assert_array_equal(indices, want.indices.numpy())


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("largest", [False, True])
def test_top_k_of_distinct_values_equals_torch(axis, largest):
    x = RNG.permutation(24).reshape(4, 6).astype(np.float32)
    for k in (0, 1, 3, 4):
        values, indices = call(top_k, x, k=k, axis=axis, largest=largest)
        want = torch.topk(torch.tensor(x), k, axis, largest)
        np.testing.assert_array_equal(values, want.values.numpy())
        np.testing.assert_array_equal(indices, want.indices.numpy())


@pytest.mark.parametrize("largest", [False, True])
@given(st.lists(few, max_size=9), st.data())
def test_top_k_prefers_the_smallest_index_and_NaN_is_largest(largest, row, data):
    k = data.draw(st.integers(0, len(row)))
    x = np.array(row, np.float32)

    def rank(i: int) -> tuple[bool, float, int]:
        nan = math.isnan(row[i])
        value = 0.0 if nan else row[i]
        return (not nan, -value, i) if largest else (nan, value, i)

    want = sorted(range(len(row)), key=rank)[:k]
    values, indices = call(top_k, x, k=k, largest=largest)
    assert indices.tolist() == want
    np.testing.assert_array_equal(values, x[want])
    simpler = decomposed(top_k, x, k=k, largest=largest)
    assert [a.tobytes() for a in simpler] == [values.tobytes(), indices.tobytes()]


def test_symbolic_sizes_pass_through_the_rules():
    B = Dim.symbol("B")
    x = param(0, tensor_type((B, 50), "f32"))
    assert str(top_k(x, k=5).type) == "(f32[?B, 5], si64[?B, 5])"
    assert str(top_k(x, k=5, axis=0).type) == "(f32[5, 50], si64[5, 50])"
    assert sort(x).attrs["axis"] == 1
    with pytest.raises(SpecError, match="k=5 of 3 elements on axis 0"):
        reference(top_k, np.zeros((3, 50)), k=5, axis=0, largest=True)
