"""Matrix products and table look-up."""

from ptir import ops
from ptir.ir import SpecError
from ptir.tensor import Tensor

from . import check
from .define import functional


@functional
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b`: [..., M, K] and [..., K, N] give [..., M, N]; batch axes broadcast.

    Narrow floats accumulate in f32. Both operands have one dtype.
    """
    if a.dtype is not b.dtype:
        raise SpecError("dtype", "matmul", f"a is {a.dtype} but b is {b.dtype}; cast one of them")
    return a @ b


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
