"""Rotary position embedding, half-split as in GPT-NeoX, and its tables. Su and others 2021."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ptir.ir import SpecError
from ptir.tensor import Tensor, concat

from . import check
from .define import functional


@functional
def rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first r channels of each head: `(x₁ cos − x₂ sin, x₂ cos + x₁ sin)`, x₁ and x₂ the
    halves of those channels; the others pass.

    x [B, H, T, D]; cos and sin [T, r/2] or [B, T, r/2], r ≤ D. Computed in f32 for narrower x.
    """
    check.floating("rotary", x=x)
    check.floating("rotary", cos=cos, sin=sin)
    check.rank("rotary", 4, x=x)
    if cos.shape != sin.shape or cos.ndim not in (2, 3):
        message = f"cos is {cos.type}, sin {sin.type}; wanted both [T, r/2] or [B, T, r/2]"
        raise SpecError("shape", "rotary", message)
    check.size("rotary", "cos", cos, -2, x.shape[2], "axis 2 of x")
    half, depth = cos.type.shape[-1], x.type.shape[-1]
    if not isinstance(half, int) or not isinstance(depth, int) or 2 * half > depth:
        raise SpecError("shape", "rotary", f"cos {cos.type} rotates more channels than x {x.type}")
    y = check.wide(x)
    c, s = (t.astype(y.dtype).expand_dims(-3) for t in (cos, sin))  # one table for all heads
    first, second = y[..., :half], y[..., half : 2 * half]
    parts = [first * c - second * s, second * c + first * s]
    if 2 * half < depth:
        parts.append(y[..., 2 * half :])
    return concat(parts, axis=3).astype(x.dtype)


rotary.example(x="f32[2, 3, 5, 6]", cos="f32[5, 3]", sin="f32[5, 3]")
rotary.example(x="f32[2, 1, 5, 8]", cos="f32[2, 5, 3]", sin="f32[2, 5, 3]")


@dataclass(frozen=True)
class RopeScaling:
    """How frequencies are stretched for contexts longer than those of the training.

    `linear` divides them by `factor`; `yarn` (Peng et al. 2023) blends by wavelength.
    """

    kind: Literal["none", "linear", "yarn"] = "none"
    factor: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    original_max_position_embeddings: int | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("none", "linear", "yarn"):
            raise SpecError("attribute", "rope_scaling", f"unknown kind {self.kind!r}")
        check.positive(
            "rope_scaling",
            factor=self.factor,
            beta_fast=self.beta_fast,
            beta_slow=self.beta_slow,
            original_max_position_embeddings=self.original_max_position_embeddings,
        )
        if self.kind == "yarn" and self.original_max_position_embeddings is None:
            message = "yarn needs original_max_position_embeddings"
            raise SpecError("attribute", "rope_scaling", message)


def rotary_tables(
    length: int, rotary_dim: int, theta: float = 10000.0, scaling: RopeScaling | None = None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """cos and sin of `position · frequency`, each f32 [length, rotary_dim/2], computed in f64."""
    if rotary_dim <= 0 or rotary_dim % 2:
        message = f"rotary_dim is {rotary_dim}, wanted an even number above 0"
        raise SpecError("attribute", "rotary_tables", message)
    if not (math.isfinite(theta) and theta > 0):
        raise SpecError(
            "attribute", "rotary_tables", f"theta is {theta}, wanted a finite number > 0"
        )
    if length < 0:
        message = f"length is {length}, wanted a number of positions"
        raise SpecError("attribute", "rotary_tables", message)
    scaling = scaling or RopeScaling()
    if scaling.kind == "yarn" and theta <= 1:  # its wavelengths would not grow
        raise SpecError("attribute", "rotary_tables", f"theta is {theta}, yarn wants more than 1")
    base = theta ** (-np.arange(0, rotary_dim, 2, dtype=np.float64) / rotary_dim)
    frequencies, magnitude = base, 1.0
    if scaling.kind == "linear":
        frequencies = base / scaling.factor
    elif scaling.kind == "yarn":
        frequencies, magnitude = _yarn(base, rotary_dim, theta, scaling)
    angles = np.arange(length, dtype=np.float64)[:, None] * frequencies
    cos, sin = np.cos(angles) * magnitude, np.sin(angles) * magnitude
    return cos.astype(np.float32), sin.astype(np.float32)


def _yarn(
    base: np.ndarray[Any, Any], rotary_dim: int, theta: float, scaling: RopeScaling
) -> tuple[np.ndarray[Any, Any], float]:
    original = scaling.original_max_position_embeddings or 1

    def correction(rotations: float) -> float:
        turns = original / (rotations * 2 * math.pi)
        return rotary_dim * math.log(turns) / (2 * math.log(theta))

    low, high = correction(scaling.beta_fast), correction(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary_dim - 1)
    if low == high:
        high += 0.001
    ramp = np.clip((np.arange(rotary_dim // 2) - low) / (high - low), 0, 1)
    return base / scaling.factor * ramp + base * (1 - ramp), _magnitude(scaling)


def _magnitude(scaling: RopeScaling) -> float:
    def mscale(m: float) -> float:
        return 1.0 if scaling.factor <= 1 else 0.1 * m * math.log(scaling.factor) + 1.0

    if scaling.mscale and scaling.mscale_all_dim:
        return mscale(scaling.mscale) / mscale(scaling.mscale_all_dim)
    return mscale(1.0)
