"""What this machine can do at most through a backend: measured, in under two seconds."""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from ptir import compiled
from ptir.functional import linear
from ptir.profile import Ceilings
from ptir.tensor import Tensor, as_tensor

ROWS, WIDTH = 1 << 14, 1 << 12  # of the matrix that is read: 256 MiB, more than caches hold
SIDE = 1024  # of the matrices that are multiplied
TRIES, ENOUGH = 6, 0.5  # calls; seconds after which two must do


def ceilings(backend: str | None = None) -> Ceilings:
    """The best of some tries: one row times a large matrix for bytes read, a product of two square
    matrices for operations.
    """
    product = compiled.compile(_product, backend=backend)
    read = _seconds(product, _ones(1, ROWS), _ones(ROWS, WIDTH))
    computed = _seconds(product, _ones(SIDE, SIDE), _ones(SIDE, SIDE))
    return Ceilings(4 * ROWS * WIDTH / read, 2 * SIDE**3 / computed)


def _product(x: Tensor, y: Tensor) -> Tensor:
    return linear(x, y)


def _ones(*shape: int) -> Tensor:
    return as_tensor(np.ones(shape, np.float32))


def _seconds(call: Callable[..., Tensor], *operands: Tensor) -> float:
    """The least time of a call until its result can be read, of as many as there is time for."""
    times = list[float]()
    begun = perf_counter()
    while len(times) < TRIES and (len(times) < 2 or perf_counter() - begun < ENOUGH):
        start = perf_counter()
        call(*operands).numpy()
        times.append(perf_counter() - start)
    return min(times)
