"""Division, remainder and matrix product written with ops. Knows tensors only by their methods."""

from typing import TYPE_CHECKING

from ptir import ops
from ptir.ir import SpecError

from .promote import common_dtype, common_shape

if TYPE_CHECKING:
    from .core import Tensor


def divide(x: "Tensor", y: "Tensor") -> "Tensor":
    """`x / y` of two tensors of one type; integers divide in f32."""
    if x.dtype.kind not in ("float", "complex"):
        x, y = x.astype("f32"), y.astype("f32")
    return ops.div(x, y)


def modulo(x: "Tensor", y: "Tensor") -> "Tensor":
    """The remainder with the sign of the divisor, as Python's."""
    rest, wrong = _remainder(x, y)
    return ops.select(wrong, rest + y, rest)


def floor_divide(x: "Tensor", y: "Tensor") -> "Tensor":
    """⌊x / y⌋ such that `x // y * y + x % y` is `x`: found from the exact remainder, as Python's.

    The floor of a rounded quotient would be wrong: 1.0 / 0.1 is 10, but 1.0 // 0.1 is 9.
    """
    rest, wrong = _remainder(x, y)
    if not x.dtype.is_float:
        quotient: Tensor = ops.div(x, y)
        return quotient - wrong.astype(x.dtype)
    quotient = ops.round_(ops.div(x - rest, y) - wrong.astype(x.dtype))
    return ops.select(y == 0, ops.div(x, y), quotient)


def _remainder(x: "Tensor", y: "Tensor") -> "tuple[Tensor, Tensor]":
    """The remainder with the sign of `x`, and where that is not the sign of `y`."""
    rest: Tensor = ops.rem(x, y)
    return rest, (rest != 0) & ((rest < 0) ^ (y < 0))


def matmul(a: "Tensor", b: "Tensor") -> "Tensor":
    """`a @ b`: batch axes broadcast, f32 accumulation for narrow floats, the dtype of `a` and `b`.

    Shapes [..., M, K] and [..., K, N] give [..., M, N]; a vector is a matrix of one row (left) or
    one column (right) that is dropped again.
    """
    to = common_dtype("matmul", a.dtype, b.dtype)
    x = a.astype(to) if a.ndim != 1 else a.astype(to).expand_dims(0)
    y = b.astype(to) if b.ndim != 1 else b.astype(to).expand_dims(1)
    if 0 in (a.ndim, b.ndim) or x.shape[-1] != y.shape[-2]:
        raise SpecError(
            "shape", "matmul", f"{a.type} @ {b.type}: the last axis of a must equal axis −2 of b"
        )
    product = _batched(x, y)
    if a.ndim == 1:
        product = product.squeeze(-2)
    return product if b.ndim > 1 else product.squeeze(-1)


def _batched(x: "Tensor", y: "Tensor") -> "Tensor":
    if y.ndim == 2:  # the common case needs no batch axes: rows of x stay where they are
        return ops.dot_general(x, y, contract_lhs=(x.ndim - 1,), contract_rhs=(0,))
    batch = common_shape("matmul", x.shape[:-2], y.shape[:-2])
    x, y = (t.broadcast_to(*batch, *t.shape[-2:]) for t in (x, y))
    axes = tuple(range(len(batch)))
    return ops.dot_general(
        x,
        y,
        batch_lhs=axes,
        batch_rhs=axes,
        contract_lhs=(len(axes) + 1,),
        contract_rhs=(len(axes),),
    )
