"""Structure: named bodies, opaque kernels, several results."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ptir.ir import (
    Attrs,
    Node,
    Op,
    Program,
    SpecError,
    TupleType,
    Type,
    attr,
    nearest,
    region,
    type_of,
)

from .evaluate import evaluate

_TARGET = re.compile(r"\w+(\.\w+)+\.v\d+", re.ASCII)


def checked_region(op: str, body: Program, types: Sequence[Type]) -> tuple[Type, ...]:
    """The result types of `body` on operands of `types`; a body takes exactly what it declares."""
    same_types(op, "region operand", types, [i.type for i in body.inputs])
    return tuple(r.type for r in body.results)


def same_types(op: str, what: str, came: Sequence[Type], wanted: Sequence[Type]) -> None:
    """Refuse values that differ from the types that must stand in their place."""
    if len(came) != len(wanted):
        raise SpecError("region", op, f"{len(came)} {what}s came, wanted {len(wanted)}")
    for slot, (has, want) in enumerate(zip(came, wanted, strict=True)):
        if has != want:
            raise SpecError("region", op, f"{what} {slot} is {has}, wanted {want}")


def as_one(types: Sequence[Type]) -> Type:
    """The type of an op with these results: one stands for itself, several are a tuple."""
    return types[0] if len(types) == 1 else TupleType(tuple(types))


def _composite(*operands: Type, name: str, attributes: Attrs, body: Program) -> Type:
    return as_one(checked_region(f"composite {name}", body, operands))


def _run_body(*values: Any, body: Program, **ignored: Any) -> Any:
    results = evaluate(body, values)
    return results[0] if len(results) == 1 else results


def inline(node: Node) -> Node:
    """The meaning of a `composite` or `call` node written out: its body on its operands."""
    results = node.attrs["body"].inline(node.operands)
    one: Node = results[0] if len(results) == 1 else tuple_(*results)
    return one


composite = Op(
    "composite",
    infer=_composite,
    attrs={"name": attr.string(), "attributes": attr.free(), "body": region()},
    reference=_run_body,
    doc="A functional: runs as its name where a backend claims it, as its body elsewhere.",
)

call = Op(
    "call",
    infer=lambda *operands, body: as_one(checked_region("call", body, operands)),
    attrs={"body": region()},
    reference=_run_body,
    doc="A program applied to operands; always expanded.",
)


def _custom_call(*operands: Type, target: str, type: Type, attributes: Attrs) -> Type:
    if not _TARGET.fullmatch(target):
        raise SpecError(
            "attribute",
            "custom_call",
            f"target {target!r} is not namespaced and versioned, like ptir.native.conv2d.v1",
        )
    return type


KERNELS: dict[str, Callable[..., Any]] = {}
"""NumPy meanings of custom calls, by target: arrays by position, attributes by keyword."""


def kernel_of(target: str) -> Callable[..., Any]:
    """The NumPy meaning of a target; a `SpecError` names the nearest one that there is."""
    if target not in KERNELS:
        raise SpecError(
            "op",
            "custom_call",
            f"target {target!r} has no NumPy meaning{nearest(target, KERNELS)};"
            " a backend must claim it",
        )
    return KERNELS[target]


def _run_custom_call(*arrays: Any, target: str, type: Type, attributes: Attrs) -> Any:
    result = _arrays(kernel_of(target)(*arrays, **attributes))
    came = _type(result)
    if came != type:
        raise SpecError("type", target, f"the kernel gave {came}, declared is {type}")
    return result


def _arrays(value: Any) -> Any:
    return tuple(map(_arrays, value)) if isinstance(value, tuple) else np.asarray(value)


def _type(value: Any) -> Type:
    return TupleType(tuple(map(_type, value))) if isinstance(value, tuple) else type_of(value)


custom_call = Op(
    "custom_call",
    infer=_custom_call,
    attrs={"target": attr.string(), "type": attr.typed(), "attributes": attr.free()},
    reference=_run_custom_call,
    doc="An opaque, pure kernel of one backend. Its declared type is authoritative.",
)

tuple_ = Op(
    "tuple",
    infer=lambda *values: TupleType(values),
    reference=lambda *values: values,
    doc="Several values as one.",
)


def _item(x: Type, *, index: int) -> Type:
    if not isinstance(x, TupleType):
        raise SpecError("type", "item", f"operand is {x}, wanted a tuple")
    if index >= len(x.items):
        raise SpecError("attribute", "item", f"index {index} of a tuple of {len(x.items)}")
    return x.items[index]


def _pick(x: tuple[np.ndarray[Any, Any], ...], *, index: int) -> Any:
    return x[index]


item = Op(
    "item",
    infer=_item,
    attrs={"index": attr.integer(minimum=0)},
    reference=_pick,
    doc="One value of several.",
)
