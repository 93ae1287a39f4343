"""Programs on a backend the way the engine runs them, and what a result is held against."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ptir import engine, ops, passes
from ptir.backends import Backend
from ptir.ir import OPS, DType, Node, Program, TupleType, Type, dtype, make, type_of
from ptir.ops.evaluate import evaluate
from tests.exact import Array, same, within

# What picks elements gives them exactly, whatever bound the sums of the op have.
PICKING = ("max", "min", "and", "or", "replace")


def run(program: Program, arrays: Sequence[Array], backend: Backend) -> list[Array]:
    """The results on one backend, after its passes and legalization."""
    plan, hit = engine.plan_of(program, backend)
    handles = engine.execute(plan, [backend.put(a) for a in arrays], hit)
    return [backend.get(x) for x in handles]


def no_passes(backend: Backend) -> str:
    """The value of `PTIR_PASSES` that leaves out every pass of a backend's pipeline."""
    chosen = passes.pipeline(backend.pipeline())
    return ",".join(f"-{name}" for name in sorted({passes.name(p) for p in chosen}))


def one_op(name: str, types: Sequence[Type], attrs: Mapping[str, Any]) -> Program:
    """A program of one call; each tensor of a tuple is a result of its own."""
    return Program.of(types, lambda *nodes: unpacked(make(OPS[name], nodes, attrs)))


def unpacked(node: Node) -> list[Node]:
    """A node, or each tensor of a tuple."""
    if not isinstance(node.type, TupleType):
        return [node]
    return [leaf for i in range(len(node.type.items)) for leaf in unpacked(ops.item(node, index=i))]


def meaning(name: str, operands: Sequence[Any], attrs: Mapping[str, Any]) -> list[Array]:
    """What an op says it does: its NumPy reference, or what it is written with if it has none."""
    op, types = OPS[name], [type_of(x) for x in operands]
    known = op.canonical(types, attrs)
    if op.reference is None:
        assert op.decompose is not None
        written = Program.of(types, partial(op.decompose, **known))
        return list(evaluate(written, operands))
    return tensors(op.reference(*operands, **known))


def tensors(value: Any) -> list[Array]:
    """An array, or each array of a tuple."""
    return [x for item in value for x in tensors(item)] if isinstance(value, tuple) else [value]


def precisely(name: str, operands: Sequence[Array], attrs: Mapping[str, Any]) -> list[Array]:
    """The meaning of a call with every float in f64, operands and dtype attributes alike."""
    if not any(dtype(x.dtype).kind in ("float", "complex") for x in operands):
        return meaning(name, operands, attrs)
    known = OPS[name].canonical([type_of(x) for x in operands], attrs)
    wide = [x.astype(_wide(dtype(x.dtype)).numpy) for x in operands]
    return meaning(
        name, wide, {k: _wide(v) if isinstance(v, DType) else v for k, v in known.items()}
    )


def _wide(element: DType) -> DType:
    return {"float": dtype("f64"), "complex": dtype("c128")}.get(element.kind, element)


def check(got: Sequence[Array], want: Sequence[Array], truth: Sequence[Array], ulp: float) -> None:
    """Hold results against the reference bit by bit, or against f64 within `ulp`."""
    assert len(got) == len(want)
    for one, reference, wide in zip(got, want, truth, strict=True):
        if not ulp or dtype(reference.dtype).kind not in ("float", "complex"):
            same(one, reference)
        else:
            assert isinstance(one, np.ndarray)
            assert (one.dtype, one.shape) == (reference.dtype, reference.shape)
            within(one, np.asarray(wide), ulp)


def bound(ulp: float, attrs: Mapping[str, Any]) -> float:
    """The error that a call may have: none where it only picks elements."""
    return 0.0 if attrs.get("kind") in PICKING else ulp
