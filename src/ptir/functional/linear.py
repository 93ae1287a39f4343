"""Matrix products and table look-up."""

import itertools

import numpy as np

from ptir import ops
from ptir.ir import SpecError
from ptir.tensor import Tensor

from . import check
from .benchmark import Array
from .define import Types, functional

PARTS = 4  # of a contraction that is split


@functional
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b`: [..., M, K] and [..., K, N] give [..., M, N]; batch axes broadcast.

    Narrow floats accumulate in f32. Both operands have one dtype.
    """
    if a.dtype is not b.dtype:
        raise SpecError("dtype", "matmul", f"a is {a.dtype} but b is {b.dtype}; cast one of them")
    return a @ b


def _splits(a: Tensor, b: Tensor) -> bool:
    size = a.shape[-1]
    return a.dtype.kind in ("float", "complex") and isinstance(size, int) and size >= 2


@matmul.implementation(
    "split_k", supports=_splits, needs="floats and a contraction of a known size, 2 or more"
)
def _split_k(a: Tensor, b: Tensor) -> Tensor:
    """The sum of products over parts of the contraction, which a backend may run side by side."""
    size = a.type.static_shape[-1]
    x, y = check.wide(a), check.wide(b)
    ends = [size * part // PARTS for part in range(PARTS + 1)]
    total: Tensor | None = None
    for start, end in itertools.pairwise(sorted(set(ends))):
        rows = y[start:end] if y.ndim == 1 else y[..., start:end, :]
        product = x[..., start:end] @ rows
        total = product if total is None else total + product
    assert total is not None
    return total.astype(a.dtype)


@functional
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x · weight + bias`: x [..., I], weight [I, O], bias [O] give [..., O]."""
    check.floating("linear", x=x, weight=weight, bias=bias)
    check.at_least_rank("linear", 1, x=x)
    check.rank("linear", 2, weight=weight)
    check.rank("linear", 1, bias=bias)
    check.size("linear", "weight", weight, 0, x.shape[-1], "the last axis of x")
    y = x @ weight
    if bias is None:
        return y
    check.size("linear", "bias", bias, 0, weight.shape[1], "axis 1 of weight [in, out]")
    return y + bias


@functional
def embedding(indices: Tensor, weight: Tensor) -> Tensor:
    """Rows of weight [V, E] by integer indices [...]: [..., E]; an index outside [0, V) is an
    error.
    """
    check.integers("embedding", indices=indices)
    check.rank("embedding", 2, weight=weight)
    return ops.take(weight, indices, axis=0)


matmul.example(a="f32[7, 5]", b="f32[5, 3]")
matmul.example(a="f32[2, 1, 4, 5]", b="f32[3, 5, 2]")
matmul.example(a="f32[5]", b="f32[5, 2]")
matmul.example(a="f32[2, 0]", b="f32[0, 3]")
linear.example(x="f32[2, 3, 5]", weight="f32[5, 4]", bias="f32[4]")
linear.example(x="f32[5]", weight="f32[5, 1]", bias="f32[1]")
embedding.example(indices="si32[2, 3]", weight="f32[7, 4]")
embedding.example(indices="si64[0]", weight="f32[1, 1]")


@embedding.sampler
def _rows(types: Types, random: np.random.Generator) -> dict[str, Array]:
    indices, rows = types["indices"], types["weight"].static_shape[0]
    return {"indices": random.integers(0, max(rows, 1), indices.static_shape)}
