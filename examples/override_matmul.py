"""Another algorithm for a functional: Strassen's product, chosen without touching model code."""

import numpy as np

import ptir
from ptir import functional
from ptir.functional import matmul


def _halves(a: ptir.Tensor, b: ptir.Tensor) -> bool:
    return a.ndim == b.ndim == 2 and all(
        isinstance(size, int) and size % 2 == 0 for size in (*a.shape, *b.shape)
    )


@matmul.implementation("strassen", supports=_halves, needs="two matrices of even sizes")
def strassen(a: ptir.Tensor, b: ptir.Tensor) -> ptir.Tensor:
    """Seven products of halves instead of eight (Strassen 1969)."""
    (a11, a12), (a21, a22) = _quarters(a)
    (b11, b12), (b21, b22) = _quarters(b)
    m1, m2 = (a11 + a22) @ (b11 + b22), (a21 + a22) @ b11
    m3, m4 = a11 @ (b12 - b22), a22 @ (b21 - b11)
    m5, m6 = (a11 + a12) @ b22, (a21 - a11) @ (b11 + b12)
    m7 = (a12 - a22) @ (b21 + b22)
    upper = ptir.concat([m1 + m4 - m5 + m7, m3 + m5], axis=1)
    lower = ptir.concat([m2 + m4, m1 - m2 + m3 + m6], axis=1)
    return ptir.concat([upper, lower])


def _quarters(x: ptir.Tensor) -> tuple[tuple[ptir.Tensor, ptir.Tensor], ...]:
    rows, columns = (size // 2 for size in x.type.static_shape)
    return tuple((half[:, :columns], half[:, columns:]) for half in (x[:rows], x[rows:]))


def model(x: ptir.Tensor, weight: ptir.Tensor) -> ptir.Tensor:
    return functional.relu(functional.matmul(x, weight))


random = np.random.default_rng(0)
x, weight = (ptir.as_tensor(random.normal(size=(64, 64)), "f32") for _ in range(2))
expected = model(x, weight).numpy()

for policy in ("force=strassen", "force=split_k", "benchmark"):
    with ptir.override(matmul=policy):
        y = model(x, weight)
    product = y.node.operands[0].attrs["name"]
    error = np.abs(y.numpy() - expected).max() / np.abs(expected).max()
    print(f"{policy}: ran {product}, relative difference {error:.1e}")
    assert error < 1e-5

try:
    with ptir.override(matmul="force=strasen"):
        model(x, weight)
except ptir.SpecError as refused:
    print(refused)
