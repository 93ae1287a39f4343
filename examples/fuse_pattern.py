"""A backend pass: a computation written by hand becomes one kernel, and no model code changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import ptir
from ptir import engine, ops
from ptir.backends import reference
from ptir.ir import Node, Wildcard, rewrite, rule, tensor_type
from ptir.passes import Pass, Point

Array = np.ndarray[Any, Any]
TARGET = "example.quick_gelu.v1"
x = Wildcard("x")


@reference.custom_call(TARGET)
def kernel(x: Array) -> Array:
    """What the custom call means. A faster backend would claim the target and run its own."""
    result: Array = x / (1 + np.exp(x.dtype.type(-1.702) * x))
    return result


@rule(ops.mul(x, ops.logistic(ops.mul(x, 1.702))), tolerance=2.0)  # operands in either order
def quick_gelu(x: Node) -> Node:
    fused: Node = ops.custom_call(x, target=TARGET, type=x.type, attributes={})
    return fused


def fuse(program: ptir.Program) -> ptir.Program:
    return rewrite(program, [quick_gelu])


class Backend(reference.Backend):
    """The reference with one more pass, at the point where kernels are fused."""

    name = "fusing"

    def pipeline(self) -> Mapping[Point, Sequence[Pass]]:
        return {"fuse": [fuse]}


def model(x: ptir.Tensor, weight: ptir.Tensor) -> ptir.Tensor:
    """The activation of CLIP's feed-forward network, in plain arithmetic."""
    hidden = x @ weight
    return ops.logistic(1.702 * hidden) * hidden


program = ptir.trace(model, [tensor_type((2, 3), "f32"), tensor_type((3, 4), "f32")]).program
plain, _ = engine.plan_of(program, reference.Backend())
fused, _ = engine.plan_of(program, Backend())
print(f"before\n{plain.program}\nafter\n{fused.program}")

random = np.random.default_rng(0)
arrays = [random.normal(size=shape).astype("f4") for shape in ((2, 3), (3, 4))]
(expected,), (got,) = plain.executable(*arrays), fused.executable(*arrays)
print("largest difference:", np.abs(got - expected).max())
np.testing.assert_allclose(got, expected, rtol=1e-6)
