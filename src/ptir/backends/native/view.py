"""Where a value lies: a buffer, and the strides by which a value is read out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, final

from ptir.ir import DType

from .size import Extent, product

Place = Literal["arena", "constant", "input", "output"]
Shape = tuple[Extent, ...]


@final
@dataclass(frozen=True, eq=False)
class Buffer:
    """A run of bytes. In the arena it lives for as long as steps use it; `number` is that of the
    input or output which it is.
    """

    place: Place
    nbytes: Extent
    number: int = 0


@final
@dataclass(frozen=True, slots=True)
class View:
    """A tensor in a buffer: strides and offset are in elements, a stride may be zero or less."""

    buffer: Buffer
    dtype: DType
    shape: Shape
    strides: Shape
    offset: Extent = 0

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements stand one after another, in row-major order."""
        wanted = row_major(self.shape)
        axes = zip(self.shape, self.strides, wanted, strict=True)
        return all(have == want or size == 1 for size, have, want in axes)

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its buffer, in row-major order."""
        nbytes = product(self.shape) * itemsize(self.dtype)
        return self.is_contiguous and self.offset == 0 and nbytes == self.buffer.nbytes

    def transpose(self, perm: Sequence[int]) -> "View":
        return replace(
            self,
            shape=tuple(self.shape[p] for p in perm),
            strides=tuple(self.strides[p] for p in perm),
        )

    def broadcast_to(self, shape: Shape) -> "View":
        """Leading axes are new; an axis of size 1 may become longer."""
        new = len(shape) - self.rank
        kept = zip(self.shape, self.strides, shape[new:], strict=True)
        strides = [0 if have == 1 and want != 1 else stride for have, stride, want in kept]
        return replace(self, shape=shape, strides=(*[0] * new, *strides))

    def slice(
        self, starts: Sequence[Extent], shape: Shape, steps: Sequence[int] | None = None
    ) -> "View":
        """`shape` elements from `starts` on, every `steps`-th."""
        offset = self.offset
        for start, stride in zip(starts, self.strides, strict=True):
            offset = offset + start * stride
        steps = steps or [1] * self.rank
        strides = tuple(s * step for s, step in zip(self.strides, steps, strict=True))
        return replace(self, shape=shape, strides=strides, offset=offset)

    def item(self, index: int) -> "View":
        """What stands at an index of the first axis."""
        found = self.slice((index, *[0] * (self.rank - 1)), (1, *self.shape[1:]))
        return replace(found, shape=self.shape[1:], strides=self.strides[1:])

    def reverse(self, axes: Sequence[int]) -> "View":
        starts = [n - 1 if i in axes else 0 for i, n in enumerate(self.shape)]
        steps = [-1 if i in axes else 1 for i in range(self.rank)]
        return self.slice(starts, self.shape, steps)

    def reshape(self, shape: Shape) -> "View | None":
        """The same elements in another shape, if strides can say that."""
        if shape == self.shape:
            return self
        if self.is_contiguous or 0 in shape:
            return replace(self, shape=shape, strides=row_major(shape))
        strides = _regrouped(self, shape)
        return None if strides is None else replace(self, shape=shape, strides=strides)


def itemsize(dtype: DType) -> int:
    """Bytes of an element in memory: 4-bit ones take a whole byte there."""
    return dtype.numpy.itemsize


def row_major(shape: Shape) -> Shape:
    """The strides of a tensor without gaps."""
    strides: list[Extent] = []
    step: Extent = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


def _regrouped(view: View, shape: Shape) -> Shape | None:
    """Strides for `shape`: axes fall into groups of equal products, and the old axes of a group
    must run into each other.
    """
    old = [(n, s) for n, s in zip(view.shape, view.strides, strict=True) if n != 1]
    new = [n for n in shape if n != 1]
    ends = {product(n for n, _ in old[:end]): end for end in range(1, len(old) + 1)}
    strides: list[Extent] = []
    group = start = 0
    for end in range(1, len(new) + 1):
        group_end = ends.get(product(new[:end]), 0)
        if group_end <= group:
            continue
        for (_, outer), (n, inner) in pairwise(old[group:group_end]):
            if outer != inner * n:
                return None
        step = old[group_end - 1][1]
        strides += [s * step for s in row_major(tuple(new[start:end]))]
        group, start = group_end, end
    if (group, start) != (len(old), len(new)):
        return None
    rest = iter(strides)
    return tuple(1 if n == 1 else next(rest) for n in shape)
