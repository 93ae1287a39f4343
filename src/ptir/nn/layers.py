"""Layers: parameters and the functional that uses them. Each is called on tensors."""

from dataclasses import dataclass

from ptir import functional
from ptir.ir import SpecError
from ptir.tensor import Tensor

from .module import Module


@dataclass(eq=False)
class Linear(Module):
    """`x · weight + bias`: weight [in, out], bias [out]."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(eq=False)
class Embedding(Module):
    """Rows of weight [V, E] by integer ids [...]."""

    weight: Tensor

    def __call__(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.weight)


@dataclass(eq=False)
class LayerNorm(Module):
    """Layer normalisation over the last axis: gamma [D], beta [D]."""

    gamma: Tensor
    beta: Tensor | None = None
    eps: float = 1e-5

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.gamma, self.beta, eps=self.eps)


@dataclass(eq=False)
class RMSNorm(Module):
    """Root-mean-square normalisation over the last axis: gamma [D]."""

    gamma: Tensor
    eps: float = 1e-6

    def __call__(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.gamma, eps=self.eps)


@dataclass(eq=False)
class FeedForward(Module):
    """`activation(x · w_in + b_in) · w_out + b_out`: w_in [E, F], w_out [F, E]."""

    w_in: Tensor
    b_in: Tensor | None
    w_out: Tensor
    b_out: Tensor | None
    activation: str = "gelu"  # or gelu_tanh, relu, silu

    def __post_init__(self) -> None:
        if self.activation not in ("gelu", "gelu_tanh", "relu", "silu"):
            message = f"activation {self.activation!r}, wanted gelu, gelu_tanh, relu or silu"
            raise SpecError("attribute", "FeedForward", message)

    def __call__(self, x: Tensor) -> Tensor:
        hidden = self._activate(functional.linear(x, self.w_in, self.b_in))
        return functional.linear(hidden, self.w_out, self.b_out)

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation == "relu":
            return functional.relu(x)
        if self.activation == "silu":
            return functional.silu(x)
        form = "tanh" if self.activation == "gelu_tanh" else "none"
        return functional.gelu(x, approximate=form)


@dataclass(eq=False)
class GatedFeedForward(Module):
    """`swiglu(x · w_gate, x · w_up) · w_down`: w_gate and w_up [E, F], w_down [F, E]."""

    w_gate: Tensor
    w_up: Tensor
    w_down: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        gate = functional.linear(x, self.w_gate)
        up = functional.linear(x, self.w_up)
        return functional.linear(functional.swiglu(gate, up), self.w_down)
