"""Activations. Each is computed in f32 for narrower floats and gives the dtype of its operand."""

from math import pi, sqrt

from ptir import ops
from ptir.ir import SpecError
from ptir.ir.attr import normal_axis
from ptir.tensor import Tensor

from . import check
from .define import functional


@functional
def relu(x: Tensor) -> Tensor:
    """`max(x, 0)` of x [...]; NaN stays NaN."""
    return x.maximum(0)


@functional
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """`x · Φ(x)`, x [...]: `0.5 x (1 + erf(x/√2))`, or with `approximate="tanh"` the form that
    GPT-2 was trained with, `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))` (Hendrycks, Gimpel 2016).
    """
    check.floating("gelu", x=x)
    if approximate not in ("none", "tanh"):
        message = f"approximate is {approximate!r}, wanted 'none' or 'tanh'"
        raise SpecError("attribute", "gelu", message)
    y = check.wide(x)
    gate = _tanh_gate(y) if approximate == "tanh" else ops.erf(y * (1 / sqrt(2)))
    return (0.5 * y * (1.0 + gate)).astype(x.dtype)


@gelu.implementation("tanh", exact=False)
def _tanh_gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """The tanh form in the place of either: up to 5e-4 from the erf form."""
    y = check.wide(x)
    return (0.5 * y * (1.0 + _tanh_gate(y))).astype(x.dtype)


def _tanh_gate(y: Tensor) -> Tensor:
    gate: Tensor = ops.tanh(sqrt(2 / pi) * (y + 0.044715 * (y * y * y)))
    return gate


@functional
def silu(x: Tensor) -> Tensor:
    """`x / (1 + e⁻ˣ)`, x [...] (Elfwing et al. 2017)."""
    check.floating("silu", x=x)
    y = check.wide(x)
    return (y * ops.logistic(y)).astype(x.dtype)


@functional
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """`silu(gate) · up`, both [...] of one shape (Shazeer 2020)."""
    check.floating("swiglu", gate=gate, up=up)
    if gate.shape != up.shape:
        raise SpecError("shape", "swiglu", f"gate is {gate.type} but up is {up.type}")
    g = check.wide(gate)
    return (g * ops.logistic(g) * check.wide(up)).astype(gate.dtype)


@functional
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """`exp(x − max x) / Σ exp(x − max x)` along an axis of x [...]; a row of −inf alone gives
    NaN.
    """
    check.floating("softmax", x=x)
    axis = _axis("softmax", x, axis)
    y = check.wide(x)
    e = ops.exp(y - y.max(axis, keepdims=True))
    return (e / e.sum(axis, keepdims=True)).astype(x.dtype)


@functional
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """`x − max x − ln Σ exp(x − max x)` along an axis of x [...]."""
    check.floating("log_softmax", x=x)
    axis = _axis("log_softmax", x, axis)
    y = check.wide(x)
    centred = y - y.max(axis, keepdims=True)
    return (centred - ops.log(ops.exp(centred).sum(axis, keepdims=True))).astype(x.dtype)


def _axis(op: str, x: Tensor, axis: int) -> int:
    check.at_least_rank(op, 1, x=x)
    try:
        return normal_axis(axis, x.ndim)
    except ValueError as error:
        raise SpecError("attribute", op, f"x is {x.type}: {error}") from None


for _one in (relu, gelu, silu, softmax, log_softmax):
    _one.example(x="f32[3, 5]")
    _one.example(x="f32[2, 1, 1]")
gelu.example(x="f32[7]", approximate="tanh")
softmax.example(x="f32[3, 5]", axis=0)
log_softmax.example(x="f32[3, 5]", axis=0)
swiglu.example(gate="f32[3, 5]", up="f32[3, 5]")
swiglu.example(gate="f32[0, 4]", up="f32[0, 4]")
