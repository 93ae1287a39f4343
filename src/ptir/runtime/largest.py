"""The k largest of an array without sorting it. Knows nothing of what they are."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

FEWEST_GROUPS = 8  # for each one that is sought: few besides them then pass the first sieve
LARGEST_GROUP = 64


def largest(values: Array, k: int) -> Array:
    """Indices of the `k` largest of `values` [n], ascending; of equals the first come in.

    All if there are no more than k. There must be no NaN.
    """
    n = len(values)
    if k >= n:
        return np.arange(n)
    if k == 1:
        return np.array([values.argmax()])
    pool = _sieve(values, k)
    found = values if pool is None else values[pool]
    smallest = np.partition(found, len(found) - k)[len(found) - k]
    chosen = found > smallest
    equals = np.flatnonzero(found == smallest)
    chosen[equals[: k - np.count_nonzero(chosen)]] = True
    indices = np.flatnonzero(chosen)
    return indices if pool is None else pool[indices]


def descending(values: Array, k: int) -> Array:
    """Indices of the `k` largest of `values` [n], largest first; of equals the first is ahead."""
    indices = largest(values, k)
    return indices[np.argsort(-values[indices], kind="stable")]


def _sieve(values: Array, k: int) -> Array | None:
    """Indices, ascending, that hold the k largest and few others; None if it would not pay.

    Put the values into groups: the k-th largest of the groups' maxima has k values at or above it,
    so whatever is below it is not among the k largest. Maxima are found at the speed of memory.
    """
    size = min(LARGEST_GROUP, len(values) // (FEWEST_GROUPS * k))
    if size < 2:
        return None
    groups = len(values) // size
    maxima = values[: size * groups].reshape(size, groups).max(axis=0)
    bound = np.partition(maxima, groups - k)[groups - k]
    return np.flatnonzero(values >= bound)
