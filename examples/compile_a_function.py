"""Bind a function to one executable: one program for every length, its state updated in place."""

import numpy as np

import ptir
from ptir import functional


@ptir.compile(state=["mean"], symbolic={"x": {0: "T"}})
def smoothed(x: ptir.Tensor, mean: ptir.Tensor) -> tuple[ptir.Tensor, ptir.Tensor]:
    """Each row of x [T, D] as weights that sum to 1, and the running mean [D] after them."""
    weights = functional.softmax(x)
    return weights, 0.9 * mean + 0.1 * weights.mean(0)


mean = ptir.zeros((4,))
for length in (3, 8, 1000):
    x = np.random.default_rng(length).normal(size=(length, 4)).astype("f4")
    weights, mean = smoothed(x, mean)  # an array serves as a tensor; the old mean is given up
    print(weights.shape, mean.numpy().round(3))

print(smoothed.program(x, mean).program)  # one program, whatever T is
