"""What this machine can do at most through a backend: measured, in under two seconds."""

from collections.abc import Callable
from time import perf_counter

import numpy as np

from ptir import compiled
from ptir.functional import linear
from ptir.ir import DTYPES
from ptir.nn.module import parameter
from ptir.params import base_param_id, new_namespace, param_key
from ptir.profile import Ceilings
from ptir.tensor import Tensor, as_tensor

ROWS, WIDTH = 1 << 14, 1 << 12  # of the matrix that is read: 256 MiB, more than caches hold
SIDE = 1024  # of the matrices that are multiplied
MULTIPLIED = ("f32", "bf16", "f16")
TRIES, ENOUGH = 6, 0.5  # calls; seconds after which two must do


def ceilings(backend: str | None = None, dtype: str = "f32") -> Ceilings:
    """The best of some tries: one row times a large weight of f32 for bytes read, a product of two
    square matrices of `dtype` for operations. Types that no product is fast in stand for f32.
    """
    dtype = dtype if dtype in MULTIPLIED else "f32"
    read = _seconds(_times(_ones(ROWS, WIDTH), backend), _ones(1, ROWS))
    square = _ones(SIDE, SIDE, dtype=dtype)
    computed = _seconds(_times(square, backend), square)
    return Ceilings(4 * ROWS * WIDTH / read, 2 * SIDE**3 / computed, dtype)


def _times(matrix: Tensor, backend: str | None) -> Callable[[Tensor], Tensor]:
    """The product with a matrix that is a weight: in whatever form the backend keeps those."""
    weight = parameter(matrix, "matrix", param_key(new_namespace(), base_param_id("matrix")))
    return compiled.compile(lambda x: linear(x, weight), backend=backend)


def _ones(*shape: int, dtype: str = "f32") -> Tensor:
    return as_tensor(np.ones(shape, DTYPES[dtype].numpy))


def _seconds(call: Callable[..., Tensor], *operands: Tensor) -> float:
    """The least time of a call until its result can be read, of as many as there is time for."""
    times = list[float]()
    begun = perf_counter()
    while len(times) < TRIES and (len(times) < 2 or perf_counter() - begun < ENOUGH):
        start = perf_counter()
        call(*operands).numpy()
        times.append(perf_counter() - start)
    return min(times)
