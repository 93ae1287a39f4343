"""NumPy-like indexing written with ops: integers, slices, `None`, `...`, and one integer tensor."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ptir import ops
from ptir.ir import Dim, Size, SpecError

if TYPE_CHECKING:
    from .core import Tensor


def select(x: "Tensor", key: Any, lift: Callable[[Any], "Tensor"]) -> "Tensor":
    """`x[key]`, as NumPy: slices may have any step, an integer tensor selects along its axis.

    `lift` makes a list or an array an index tensor. Negative indices count from the end (in a
    tensor, not along a symbolic axis).
    """
    given = [_plain(k) for k in (key if isinstance(key, tuple) else (key,))]
    keys = _complete(x, given)
    places = [i for i, k in enumerate(keys) if not isinstance(k, (int, slice, type(None)))]
    if len(places) > 1:
        raise SpecError("index", "getitem", "one integer tensor at most; use ops.gather_nd")
    x = _slice(x, [k for k in keys if k is not None])
    if not places:
        return _reshape(x, keys)
    (place,) = places
    indices = lift(keys[place])
    x = _take(x, indices, sum(k is not None for k in keys[:place]))
    keys[place : place + 1] = [slice(None)] * indices.ndim
    x = _reshape(x, keys)
    if not _goes_first(given):
        return x
    begin = sum(not isinstance(k, int) for k in keys[:place])
    moved = range(begin, begin + indices.ndim)
    return x.transpose(*moved, *(i for i in range(x.ndim) if i not in moved))


def _plain(key: Any) -> Any:
    """Any integer as an `int`; booleans, which NumPy takes for masks, are refused."""
    if isinstance(key, (bool, np.bool_)):
        raise SpecError("index", "getitem", "a bool is no index; use ptir.where for a mask")
    return int(key) if isinstance(key, np.integer) else key


def _goes_first(keys: list[Any]) -> bool:
    """Whether the axes of an index tensor come first: NumPy's rule where a slice, `None` or `...`
    (even one that stands for no axis) lies between it and an integer.
    """
    between = (slice, type(None), type(Ellipsis))
    chosen = [i for i, k in enumerate(keys) if not isinstance(k, between)]
    return chosen[-1] - chosen[0] >= len(chosen)


def _complete(x: "Tensor", keys: list[Any]) -> list[Any]:
    """One key for each axis of `x` (and the `None`s between): `...` written out."""
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > x.ndim:
        raise SpecError("index", "getitem", f"{used} indices for {x.type}")
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(dots) > 1:
        raise SpecError("index", "getitem", "'...' may stand once")
    at = dots[0] if dots else len(keys)
    rest = [slice(None)] * (x.ndim - used)
    return [*keys[:at], *rest, *keys[at + 1 :]]


def _slice(x: "Tensor", keys: list[Any]) -> "Tensor":
    """Integers become slices of one; negative steps a slice and a reversal."""
    starts, limits, strides, backwards = [], [], [], []
    for axis, (key, size) in enumerate(zip(keys, x.shape, strict=True)):
        start, limit, stride = _bounds(key, size)
        starts.append(start)
        limits.append(limit)
        strides.append(abs(stride))
        if stride < 0:
            backwards.append(axis)
    whole = all(s == 0 for s in starts) and tuple(limits) == x.shape and set(strides) <= {1}
    if not whole:
        x = ops.slice_(x, starts=starts, limits=limits, strides=strides)
    return ops.reverse(x, axes=backwards) if backwards else x


def _bounds(key: Any, size: Size) -> tuple[Size, Size, int]:
    if isinstance(key, int):
        start = _from_end(key, size)
        if isinstance(size, int) and isinstance(start, int) and not 0 <= start < size:
            raise SpecError("index", "getitem", f"index {key} is out of range for size {size}")
        return start, start + 1, 1
    if not isinstance(key, slice):
        return 0, size, 1
    if isinstance(size, int) and not any(isinstance(e, Dim) for e in (key.start, key.stop)):
        return _static_bounds(key, size)
    if key.step not in (None, 1):
        raise SpecError("dim", "getitem", f"a step over the symbolic size {size}")
    start = 0 if key.start is None else _from_end(key.start, size)
    return start, size if key.stop is None else _from_end(key.stop, size), 1


def _static_bounds(key: slice, size: int) -> tuple[int, int, int]:
    start, stop, step = key.indices(size)
    count = len(range(start, stop, step))
    if step > 0:
        return start, max(stop, start) if count else start, step
    last = start + (count - 1) * step  # the smallest index that is taken
    return (last, start + 1, step) if count else (0, 0, step)


def _from_end(index: Size, size: Size) -> Size:
    return index + size if isinstance(index, int) and index < 0 else index


def _take(x: "Tensor", indices: "Tensor", axis: int) -> "Tensor":
    if not indices.dtype.is_integer:
        raise SpecError("index", "getitem", f"a tensor index is {indices.type}, wanted integers")
    size = x.shape[axis]
    if indices.dtype.kind == "int" and isinstance(size, int):
        indices = indices.astype("si64")  # wide enough for the size that is added
        indices = ops.select(indices < 0, indices + size, indices)
    return ops.take(x, indices, axis=axis)


def _reshape(x: "Tensor", keys: list[Any]) -> "Tensor":
    """Drop the axes that integers indexed and put in those that `None` asks for."""
    sizes = iter(x.shape)
    shape: list[Size] = []
    for key in keys:
        if key is None:
            shape.append(1)
        elif isinstance(key, int):
            next(sizes)
        else:
            shape.append(next(sizes))
    return x if tuple(shape) == x.shape else x.reshape(shape)
