"""The error function in f64, from its series and its continued fraction. Knows no op."""

import numpy as np

from .numeric import Array

_NEAR = 2.0  # up to here the series: its terms are all positive, so nothing cancels
_SERIES_TERMS = 44
_FAR = 6.0  # from here on erf rounds to 1
_FRACTION_DEPTH = 60


def erf(x: Array) -> Array:
    """erf(x) of an f64 array, within 1e-15 relative; ±inf give ±1, NaN gives NaN, −0 gives −0."""
    size = np.abs(x)
    result = np.where(np.isnan(x), x, np.copysign(1.0, x))
    near, middle = size < _NEAR, (size >= _NEAR) & (size < _FAR)
    result[near] = _series(x[near])
    result[middle] = np.copysign(1.0 - _complement(size[middle]), x[middle])
    return result


def _series(x: Array) -> Array:
    """2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!! (DLMF 7.6.2), summed from its last term."""
    step = 2.0 * x * x
    total = np.ones_like(x)
    for n in range(_SERIES_TERMS, 0, -1):
        total = 1.0 + total * step / (2 * n + 1)
    return np.asarray(2.0 / np.sqrt(np.pi) * x * (np.exp(-x * x) * total))


def _complement(x: Array) -> Array:
    """erfc(x) = exp(−x²)/√π · 1/(x + ½/(x + 1/(x + 1½/(x + …)))) for x > 0 (DLMF 7.9.3)."""
    tail = x
    for n in range(_FRACTION_DEPTH, 0, -1):
        tail = x + n / 2 / tail
    return np.asarray(np.exp(-x * x) / (np.sqrt(np.pi) * tail))
