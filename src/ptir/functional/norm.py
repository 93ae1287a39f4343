"""Normalisation over the last axis, computed in f32 for narrower floats."""

from ptir import ops
from ptir.tensor import Tensor

from . import check
from .define import functional


@functional
def layer_norm(
    x: Tensor, gamma: Tensor, beta: Tensor | None = None, *, eps: float = 1e-5
) -> Tensor:
    """`(x − mean) / √(var + eps) · gamma + beta`, var biased; x [..., D], gamma and beta [D].

    Ba, Kiros and Hinton 2016.
    """
    _check("layer_norm", x, eps, gamma=gamma, beta=beta)
    y = check.wide(x)
    centred = y - y.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    scaled = centred * ops.rsqrt(variance + eps) * check.wide(gamma)
    return (scaled if beta is None else scaled + check.wide(beta)).astype(x.dtype)


@functional
def rms_norm(x: Tensor, gamma: Tensor, *, eps: float = 1e-6) -> Tensor:
    """`x / √(mean(x²) + eps) · gamma`; x [..., D], gamma [D] (Zhang and Sennrich 2019)."""
    _check("rms_norm", x, eps, gamma=gamma)
    y = check.wide(x)
    mean_square = (y * y).mean(-1, keepdims=True)
    return (y * ops.rsqrt(mean_square + eps) * check.wide(gamma)).astype(x.dtype)


def _check(op: str, x: Tensor, eps: float, **weights: Tensor | None) -> None:
    check.floating(op, x=x, **weights)
    check.at_least_rank(op, 1, x=x)
    check.rank(op, 1, **weights)
    check.positive(op, eps=eps)
    for name, weight in weights.items():
        if weight is not None:
            check.size(op, name, weight, 0, x.shape[-1], "the last axis of x")
