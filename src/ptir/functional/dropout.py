"""Dropout with an explicit key: the same key drops the same elements on every backend."""

from ptir import ops
from ptir.ir import SpecError, dtype
from ptir.tensor import Tensor, where

from . import check
from .define import functional


@functional
def dropout(x: Tensor, key: Tensor, *, p: float) -> Tensor:
    """Zero each element of x [...] with probability p, scale the others by 1/(1 − p).

    key is ui32[2] (Philox4x32-10). Srivastava et al. 2014.
    """
    check.floating("dropout", x=x)
    if key.type.shape != (2,) or key.dtype is not dtype("ui32"):
        raise SpecError("operand", "dropout", f"key is {key.type}, wanted ui32[2]")
    if not 0 <= p < 1:
        raise SpecError("attribute", "dropout", f"p is {p}, wanted 0 ≤ p < 1")
    if p == 0:
        return x
    uniform = ops.random_uniform(key, shape=x.shape, dtype="f32")
    return where(uniform >= p, x * (1 / (1 - p)), 0)


dropout.example(x="f32[3, 5]", key="ui32[2]", p=0.25)
dropout.example(x="f32[3, 5]", key="ui32[2]", p=0.0)
