"""New tensors: from data, filled, counted, joined, chosen, random."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ptir import ops
from ptir.engine import Data
from ptir.ir import DTypeLike, Size, constant, dtype, leaf

from .core import Operand, Tensor, as_tensor
from .promote import common_dtype, common_shape

__all__ = ["arange", "concat", "full", "ones", "stack", "tensor", "where", "zeros"]


def tensor(data: Any, dtype_: DTypeLike | None = None, *, backend: str | None = None) -> Tensor:
    """A tensor of data: a nested list, a NumPy array, anything with `__array__` or `__dlpack__`.

    The data is copied. Python floats become f32 and ints si64 unless `dtype_` says otherwise.
    """
    if isinstance(data, Tensor):
        return data if dtype_ is None else data.astype(dtype_)
    array = np.array(data)
    plain = not isinstance(data, (np.ndarray, np.generic))
    if dtype_ is None and plain and array.dtype == np.float64:
        dtype_ = "f32"
    if dtype_ is not None:
        array = array.astype(dtype(dtype_).numpy)
    array.flags.writeable = False
    return Tensor(leaf(Data(array)), backend)


def full(shape: Sequence[Size], value: bool | float, dtype_: DTypeLike = "f32") -> Tensor:
    return Tensor(constant(value, dtype_)).broadcast_to(tuple(shape))


def zeros(shape: Sequence[Size], dtype_: DTypeLike = "f32") -> Tensor:
    return full(shape, 0, dtype_)


def ones(shape: Sequence[Size], dtype_: DTypeLike = "f32") -> Tensor:
    return full(shape, 1, dtype_)


def arange(stop: Size, dtype_: DTypeLike = "si64") -> Tensor:
    """0, 1, … stop − 1; `stop` may be symbolic."""
    return Tensor(ops.iota(shape=(stop,), dtype=dtype_, axis=0))


def concat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors joined along an axis, cast to their common dtype."""
    first, *rest = tensors
    to = first.dtype
    for t in rest:
        to = common_dtype("concat", to, t.dtype)
    return ops.concat(*(t.astype(to) for t in tensors), axis=axis)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return concat([t.expand_dims(axis) for t in tensors], axis)


def where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """`a` where the condition holds, else `b`; all three broadcast."""
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else None
    x, y = as_tensor(a, like), as_tensor(b, like)
    to = common_dtype("where", x.dtype, y.dtype)
    shape = common_shape("where", condition.shape, x.shape, y.shape)
    x, y = (t.astype(to).broadcast_to(shape) for t in (x, y))
    return ops.select(condition.broadcast_to(shape), x, y)
