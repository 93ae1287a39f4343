"""Sliding windows: reduce_window, extract_patches. Knows no weights, and no rule for padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ptir.ir import (
    Dim,
    Literal,
    Op,
    Size,
    SpecError,
    TensorType,
    Type,
    attr,
    dtype,
    known_le,
    type_of,
)  # fmt: skip

from .accumulate import COMBINE, TAKES, neutral, restored, sum_accumulator, widened
from .numeric import Array, convert
from .rule import accepted, tensor

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Slide:
    """How a window moves along one axis: `base` and `dilation` are the distances between neighbours
    in the axis and in the window (1: they touch)."""

    window: int
    stride: int
    padding: tuple[int, int]
    dilation: int
    base: int = 1

    def count(self, op: str, axis: int, size: Size) -> Size:
        """How many windows an axis of this size holds; a `SpecError` where that is not linear."""
        reach = (self.window - 1) * self.dilation + 1
        spare = self._spread(op, axis, size) + sum(self.padding) - reach
        found = _floor(op, axis, spare, self.stride) + 1
        if known_le(0, found) is False:
            raise SpecError(
                "shape", op, f"a window that reaches over {reach} does not fit in axis {axis} of"
                f" size {size} with padding {self.padding}; pad more"
            )  # fmt: skip
        return found

    def _spread(self, op: str, axis: int, size: Size) -> Size:
        """The size of the axis with its gaps."""
        if self.base == 1 or size == 0:
            return size
        if not known_le(1, size):
            raise SpecError(
                "dim", op, f"axis {axis} of size {size} may be empty: with a base dilation its size"
                " is not linear; bind it"
            )  # fmt: skip
        return (size - 1) * self.base + 1

    def cuts(self, count: int) -> Iterator[slice]:
        """For each window element, its positions in the padded axis."""
        for at in range(0, self.window * self.dilation, self.dilation):
            yield slice(at, at + (count - 1) * self.stride + 1 if count else at, self.stride)

    def core(self, size: int) -> tuple[int, slice]:
        """The size of the padded axis, and where the elements stand in it."""
        low, high = self.padding
        end = low + ((size - 1) * self.base + 1 if size else 0)
        return end + high, slice(low, end, self.base)


def _floor(op: str, axis: int, spare: Size, stride: int) -> Size:
    """`spare / stride` rounded down, which is linear where each coefficient divides."""
    if isinstance(spare, int):
        return spare // stride
    if any(c % stride for _, c in spare.terms):
        raise SpecError(
            "dim", op, f"axis {axis} has room for {spare} in strides of {stride}, which is not"
            " linear; bind the size"
        )  # fmt: skip
    return Dim(spare.terms) // stride + spare.constant // stride


def _slides(op: str, x: TensorType, axes: int, **entries: Sequence[Any]) -> list[Slide]:
    """One slide for each windowed axis; every attribute has an entry for each."""
    for name, values in entries.items():
        if len(values) != axes:
            raise SpecError("attribute", op, f"{name}={values} for {x}; wanted {axes} entries")
    return [Slide(*of_axis) for of_axis in zip(*entries.values(), strict=True)]


def _per_axis(kind: "attr.Attr", value: Any, fixed: int = 0) -> "attr.Attr":
    """An attribute that is by default `value` for each axis of operand 0 but `fixed`."""
    return kind.derived(lambda types: (value,) * max(tensor("window", types[0]).rank - fixed, 0))


# --- reduce_window ---


def _window_slides(
    x: TensorType,
    window: Ints,
    strides: Ints,
    padding: Pairs,
    base_dilation: Ints,
    window_dilation: Ints,
) -> list[Slide]:
    return _slides(
        "reduce_window", x, x.rank, window=window, strides=strides, padding=padding,
        window_dilation=window_dilation, base_dilation=base_dilation,
    )  # fmt: skip


def _reduce_window(x: Type, *, kind: str, **geometry: Any) -> TensorType:
    data = accepted("reduce_window", x, TAKES[kind])
    slides = enumerate(_window_slides(data, **geometry))
    return data.with_shape([s.count("reduce_window", a, data.shape[a]) for a, s in slides])


def _run_reduce_window(x: Array, *, kind: str, **geometry: Any) -> Array:
    counts = _reduce_window(type_of(x), kind=kind, **geometry).static_shape
    element = dtype(x.dtype)
    accum = sum_accumulator(element)
    total, fill = widened(x, kind, accum), neutral(kind, element, accum)
    slides = _window_slides(type_of(x), **geometry)
    # A window is a box, so its axes are combined one by one: their sum of steps, not the product.
    for axis, (slide, count) in enumerate(zip(slides, counts, strict=True)):
        total = _reduce_axis(total, axis, slide, count, kind, fill)
    return convert(restored(total, kind, element), element)


def _reduce_axis(x: Array, axis: int, slide: Slide, count: int, kind: str, fill: Array) -> Array:
    before = (slice(None),) * axis
    size, core = slide.core(x.shape[axis])
    padded = np.full((*x.shape[:axis], size, *x.shape[axis + 1 :]), fill, x.dtype)
    padded[(*before, core)] = x
    with np.errstate(all="ignore"):
        return reduce(COMBINE[kind], (padded[(*before, cut)] for cut in slide.cuts(count)))


_STEPS = attr.integers(minimum=1)
_PADDING = attr.pairs(minimum=0)

reduce_window = Op(
    "reduce_window",
    infer=_reduce_window,
    attrs={
        "kind": attr.choice("sum", "prod", "max", "min"),
        "window": _STEPS,
        "strides": _per_axis(_STEPS, 1),
        "padding": _per_axis(_PADDING, (0, 0)),
        "base_dilation": _per_axis(_STEPS, 1),
        "window_dilation": _per_axis(_STEPS, 1),
    },
    reference=_run_reduce_window,
    doc="reduce of each window; an attribute entry for each axis of x. Padding, and the gaps that"
    " base_dilation opens between elements, hold reduce's value over nothing. floor((padded size −"
    " reach) / stride) + 1 windows, reach = (window − 1) · window_dilation + 1; accumulation as"
    " reduce.",
)


# --- extract_patches ---


def _extract_patches(x: Type, *, value: Literal, **geometry: Any) -> TensorType:
    data = tensor("extract_patches", x)
    shape, slides = data.shape, _patch_slides(data, **geometry)
    counts = [s.count("extract_patches", a, shape[a]) for a, s in enumerate(slides, 1)]
    return data.with_shape((shape[0], *counts, shape[-1] * prod(geometry["window"])))


def _patch_slides(
    x: TensorType, window: Ints, strides: Ints, dilation: Ints, padding: Pairs
) -> list[Slide]:
    if x.rank < 2:
        raise SpecError("rank", "extract_patches", f"operand 0 is {x}, wanted [N, spatial..., C]")
    return _slides(
        "extract_patches", x, x.rank - 2, window=window, strides=strides, padding=padding,
        dilation=dilation,
    )  # fmt: skip


def _run_extract_patches(x: Array, *, value: Literal, **geometry: Any) -> Array:
    declared = _extract_patches(type_of(x), value=value, **geometry).static_shape
    slides = _patch_slides(type_of(x), **geometry)
    N, *counts, _ = declared
    C = x.shape[-1]
    cores = [slide.core(size) for slide, size in zip(slides, x.shape[1:-1], strict=True)]
    padded = np.full((N, *(size for size, _ in cores), C), value.array, x.dtype)
    padded[(slice(None), *(core for _, core in cores))] = x
    patches = np.empty((N, *counts, prod(geometry["window"]), C), x.dtype)
    cuts = product(*(slide.cuts(n) for slide, n in zip(slides, counts, strict=True)))
    for place, cut in enumerate(cuts):
        patches[..., place, :] = padded[(slice(None), *cut)]
    return patches.reshape(declared)


extract_patches = Op(
    "extract_patches",
    infer=_extract_patches,
    attrs={
        "window": _STEPS,
        "strides": _per_axis(_STEPS, 1, 2),
        "dilation": _per_axis(_STEPS, 1, 2),
        "padding": _per_axis(_PADDING, (0, 0), 2),
        "value": attr.scalar().derived(lambda types: 0),
    },
    reference=_run_extract_patches,
    doc="[N, spatial..., C] to [N, windows..., P · C]: P window elements in row-major order,"
    " C minor; an attribute entry for each spatial axis. Padding holds value (0); as many windows"
    " as in reduce_window.",
)
