"""Normalisation over the last axis, computed in f32 for narrower floats."""

from ptir import ops
from ptir.tensor import Tensor, zeros

from . import check
from .define import functional
from .loop import fold


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


@layer_norm.implementation("welford")
def _welford(x: Tensor, gamma: Tensor, beta: Tensor | None = None, *, eps: float = 1e-5) -> Tensor:
    """Mean and variance in one pass over the axis (Welford 1962)."""
    y = check.wide(x)
    rows = y.shape[:-1]
    zero = zeros(rows, y.dtype)

    def step(
        count: Tensor, mean: Tensor, squares: Tensor, column: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = count + 1
        gap = column - mean
        mean = mean + gap / count
        return count, mean, squares + gap * (column - mean)

    columns = y.transpose(y.ndim - 1, *range(y.ndim - 1))
    count, mean, squares = fold(step, [zeros((), y.dtype), zero, zero], [columns])
    centred = y - mean.expand_dims(-1)
    variance = (squares / count).expand_dims(-1)
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


layer_norm.example(x="f32[3, 5]", gamma="f32[5]", beta="f32[5]")
layer_norm.example(x="f32[2, 0, 7]", gamma="f32[7]", beta="f32[7]", eps=1e-3)
rms_norm.example(x="f32[3, 5]", gamma="f32[5]")
rms_norm.example(x="f32[2, 3, 1]", gamma="f32[1]", eps=1e-3)
rms_norm.example(x="f32[0, 7]", gamma="f32[7]")
