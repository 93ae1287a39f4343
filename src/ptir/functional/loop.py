"""Loops over an axis, for functionals that carry something along it."""

from collections.abc import Callable, Sequence
from typing import Any

from ptir import ops
from ptir.tensor import Tensor
from ptir.trace import trace


def fold(
    step: Callable[..., Sequence[Tensor]], carries: Sequence[Tensor], inputs: Sequence[Tensor]
) -> Sequence[Tensor]:
    """The last carries of `carries = step(*carries, *slices)` along axis 0 of the inputs.

    `step` may use tensors from outside; it gives the carries in their own types.
    """
    slices = [x.type.with_shape(x.shape[1:]) for x in inputs]
    traced = trace(step, [*(c.type for c in carries), *slices])
    made: Any = ops.scan(
        *carries,
        *inputs,
        *traced.outside,
        body=traced.program,
        carries=len(carries),
        inputs=len(inputs),
    )
    unpacked: Sequence[Tensor] = made.unpack()
    return unpacked
