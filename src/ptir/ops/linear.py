"""Contraction: dot_general. Convolution and every matrix product are written with it."""

from math import prod

import numpy as np

from ptir.ir import DType, Op, SpecError, TensorType, Type, attr, dtype, type_of

from .accumulate import accumulation, sum_accumulator
from .numeric import Array, convert
from .rule import NUMBER, accepted
from .shape import checked_type

Axes = tuple[int, ...]


def dot_accumulator(element: DType) -> DType:
    """What a contraction accumulates in: si32 for integers up to 8 bits, wider ones as they are."""
    if element.is_integer:
        return dtype("si32") if element.bits <= 8 else element
    return sum_accumulator(element)


def free_axes(rank: int, batch: Axes, contract: Axes) -> Axes:
    """The axes that are neither batch nor contracted, in order."""
    return tuple(axis for axis in range(rank) if axis not in batch and axis not in contract)


def _dot_general(
    lhs: Type,
    rhs: Type,
    *,
    batch_lhs: Axes,
    batch_rhs: Axes,
    contract_lhs: Axes,
    contract_rhs: Axes,
    accum_dtype: DType | None,
    out_dtype: DType | None,
) -> TensorType:
    left, right = (accepted("dot_general", x, NUMBER, slot) for slot, x in enumerate((lhs, rhs)))
    if left.dtype is not right.dtype:
        raise SpecError("dtype", "dot_general", f"operands are {lhs} and {rhs}; cast one of them")
    _check_pairs("batch", left, batch_lhs, right, batch_rhs)
    _check_pairs("contract", left, contract_lhs, right, contract_rhs)
    for side, batch, contract in (
        ("lhs", batch_lhs, contract_lhs),
        ("rhs", batch_rhs, contract_rhs),
    ):
        if set(batch) & set(contract):
            raise SpecError(
                "attribute", "dot_general", f"{side}: batch {batch} and contract {contract} overlap"
            )
    default = dot_accumulator(left.dtype)
    _, out = accumulation("dot_general", left.dtype, default, accum_dtype, out_dtype)
    shape = (
        *(left.shape[axis] for axis in batch_lhs),
        *(left.shape[axis] for axis in free_axes(left.rank, batch_lhs, contract_lhs)),
        *(right.shape[axis] for axis in free_axes(right.rank, batch_rhs, contract_rhs)),
    )
    return checked_type("dot_general", shape, out)


def _check_pairs(
    what: str, left: TensorType, left_axes: Axes, right: TensorType, right_axes: Axes
) -> None:
    if len(left_axes) != len(right_axes):
        raise SpecError(
            "attribute",
            "dot_general",
            f"{what}_lhs={left_axes} and {what}_rhs={right_axes} are pairs; want equally many",
        )
    for a, b in zip(left_axes, right_axes, strict=True):
        if left.shape[a] != right.shape[b]:
            raise SpecError(
                "shape",
                "dot_general",
                f"{what}: lhs axis {a} of {left} has size {left.shape[a]}, rhs axis {b} of {right}"
                f" has {right.shape[b]}",
            )


def _run_dot_general(
    lhs: Array,
    rhs: Array,
    *,
    batch_lhs: Axes,
    batch_rhs: Axes,
    contract_lhs: Axes,
    contract_rhs: Axes,
    accum_dtype: DType | None,
    out_dtype: DType | None,
) -> Array:
    result = _dot_general(
        type_of(lhs),
        type_of(rhs),
        batch_lhs=batch_lhs,
        batch_rhs=batch_rhs,
        contract_lhs=contract_lhs,
        contract_rhs=contract_rhs,
        accum_dtype=accum_dtype,
        out_dtype=out_dtype,
    )
    accum = accum_dtype or dot_accumulator(dtype(lhs.dtype))
    left_free = free_axes(lhs.ndim, batch_lhs, contract_lhs)
    right_free = free_axes(rhs.ndim, batch_rhs, contract_rhs)
    left = _stacked(convert(lhs, accum), batch_lhs, left_free, contract_lhs)  # (B, M, K)
    right = _stacked(convert(rhs, accum), batch_rhs, contract_rhs, right_free)  # (B, K, N)
    with np.errstate(all="ignore"):
        product = np.matmul(left, right)
    return convert(product.reshape(result.static_shape), result.dtype)


def _stacked(array: Array, *groups: Axes) -> Array:
    """`array` with each group of axes as one axis."""
    sizes = [prod(array.shape[axis] for axis in group) for group in groups]
    return array.transpose([axis for group in groups for axis in group]).reshape(sizes)


dot_general = Op(
    "dot_general",
    infer=_dot_general,
    attrs={
        "batch_lhs": attr.axes((), of=0, ordered=True),
        "batch_rhs": attr.axes((), of=1, ordered=True),
        "contract_lhs": attr.axes(of=0, ordered=True),
        "contract_rhs": attr.axes(of=1, ordered=True),
        "accum_dtype": attr.element().optional(),
        "out_dtype": attr.element().optional(),
    },
    reference=_run_dot_general,
    doc="Products summed over pairs of contracted axes, for each pair of batch axes; result axes:"
    " batch, lhs free, rhs free. Runs in accum_dtype (f8, bf16, f16 in f32; integers, wrapping, in"
    " si32 up to 8 bits and in their own width above) and is cast to out_dtype (as x; integers"
    " saturate). A contraction of size 0 gives zeros.",
)
