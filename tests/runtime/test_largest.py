"""The k largest, against a stable sort of everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptir.runtime.largest import descending, largest


def by_sorting(values: np.ndarray, k: int) -> list[int]:
    return [int(i) for i in np.argsort(-values, kind="stable")[:k]]


@pytest.mark.parametrize("n", [1, 2, 63, 1000, 50_257])
@pytest.mark.parametrize("k", [1, 2, 7, 50, 999, 1000, 40_000, 1 << 40])
@pytest.mark.parametrize("kind", ["distinct", "many equals", "all equal", "ascending", "ends"])
def test_the_k_largest_are_the_head_of_a_stable_sort(n, k, kind):
    random = np.random.default_rng(n + k)
    values = {
        "distinct": random.permutation(n),
        "many equals": random.integers(0, 5, n),
        "all equal": np.zeros(n),
        "ascending": np.arange(n),
        "ends": random.choice([-np.inf, 0, np.inf], n),
    }[kind].astype(np.float32)
    assert descending(values, k).tolist() == by_sorting(values, k)
    assert largest(values, k).tolist() == sorted(by_sorting(values, k))


@given(
    st.lists(st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 2.0]), min_size=1, max_size=200), st.data()
)
def test_equals_come_in_from_the_first(values, data):
    k = data.draw(st.integers(1, len(values)))
    assert descending(np.array(values), k).tolist() == by_sorting(np.array(values), k)
