"""New tensors: from data, filled, counted, joined, chosen, random."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ptir import ops
from ptir.engine import Data
from ptir.ir import DTypeLike, Size, SpecError, constant, dtype, leaf

from .core import Operand, Tensor, lift
from .promote import common_dtype, common_shape

__all__ = ["arange", "as_tensor", "concat", "full", "ones", "stack", "where", "zeros"]


def as_tensor(data: Any, dtype: DTypeLike | None = None, *, backend: str | None = None) -> Tensor:
    """A tensor of data: a nested list, a NumPy array, anything with `__array__`.

    The data is copied; a tensor stays what it is. Python floats become f32 and ints si64 unless
    `dtype` says otherwise; an array is cast as `astype` does.
    """
    if isinstance(data, Tensor):
        cast = data if dtype is None else data.astype(dtype)
        return cast if backend is None else cast.to(backend)
    array = np.array(data)
    if isinstance(data, (bool, int, float, complex, list, tuple)):
        array = _converted(data, array, dtype)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    made = Tensor(leaf(Data(array)), backend)
    return made if dtype is None else made.astype(dtype)


def _converted(data: Any, array: np.ndarray[Any, Any], to: DTypeLike | None) -> Any:
    """Python numbers in the dtype that is wanted, or that they have by default."""
    if to is not None:
        try:
            return np.array(data, dtype(to).numpy)
        except OverflowError as error:
            raise SpecError("value", "as_tensor", f"{error}; choose a wider dtype") from None
    # An array among the numbers keeps its precision only if it is given alone.
    return array.astype(np.float32) if array.dtype == np.float64 else array


def full(shape: Sequence[Size], value: bool | float, dtype: DTypeLike = "f32") -> Tensor:
    """A tensor of this shape, which may be symbolic, with `value` everywhere."""
    return Tensor(constant(value, dtype)).broadcast_to(tuple(shape))


def zeros(shape: Sequence[Size], dtype: DTypeLike = "f32") -> Tensor:
    """A tensor of zeros."""
    return full(shape, 0, dtype)


def ones(shape: Sequence[Size], dtype: DTypeLike = "f32") -> Tensor:
    """A tensor of ones."""
    return full(shape, 1, dtype)


def arange(stop: Size, dtype: DTypeLike = "si64") -> Tensor:
    """0, 1, … stop − 1; `stop` may be symbolic."""
    return Tensor(ops.iota(shape=(stop,), dtype=dtype, axis=0))


def concat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors joined along an axis, cast to their common dtype."""
    if not tensors:
        raise SpecError("arity", "concat", "no tensors came; the dtype would be unknown")
    to = tensors[0].dtype
    for t in tensors[1:]:
        to = common_dtype("concat", to, t.dtype)
    return ops.concat(*(t.astype(to) for t in tensors), axis=axis)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return concat([t.expand_dims(axis) for t in tensors], axis)


def where(condition: Operand, a: Operand, b: Operand) -> Tensor:
    """`a` where the condition holds, else `b`; all three broadcast."""
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else None
    chosen, x, y = lift(condition), lift(a, like), lift(b, like)
    to = common_dtype("where", x.dtype, y.dtype)
    shape = common_shape("where", chosen.shape, x.shape, y.shape)
    x, y = (t.astype(to).broadcast_to(shape) for t in (x, y))
    return ops.select(chosen.broadcast_to(shape), x, y)
