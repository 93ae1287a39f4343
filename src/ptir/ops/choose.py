"""Comparing and choosing elements: type rule and NumPy meaning of each op."""

from typing import Any

import numpy as np

from ptir.ir import Node, Op, SpecError, Type, attr
from ptir.ir.dtype import i1

from .binary import maximum, minimum
from .numeric import Array, compute
from .rule import REAL, accepted, alike, tensor

_COMPARE = {
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "ne": np.not_equal,
}


def _infer_compare(x: Type, y: Type, *, op: str) -> Type:
    found = alike("compare", x, y)
    if found.dtype.is_complex and op not in ("eq", "ne"):
        raise SpecError(
            "dtype", "compare", f"{found} has no order for {op!r}, only eq and ne; compare abs"
        )
    return found.with_dtype(i1)


def _compare(x: Array, y: Array, *, op: str) -> Array:
    with np.errstate(invalid="ignore"):  # an ordered comparison with NaN is false, no fault
        return np.asarray(_COMPARE[op](compute(x), compute(y)))


compare = Op(
    "compare",
    infer=_infer_compare,
    attrs={"op": attr.choice(*_COMPARE)},
    reference=_compare,
    doc="x op y as i1, by IEEE 754: with NaN only ne is true, −0 equals +0; false is below true.",
)


def _infer_select(predicate: Type, on_true: Type, on_false: Type) -> Type:
    found, chosen = alike("select", on_true, on_false), tensor("select", predicate)
    if chosen.dtype != i1:
        raise SpecError("dtype", "select", f"predicate is {chosen}, wanted i1; use compare")
    if chosen.shape != found.shape:
        raise SpecError(
            "shape", "select", f"predicate is {chosen}, operands are {found}; use broadcast_to"
        )
    return found


def _select(predicate: Array, on_true: Array, on_false: Array) -> Array:
    return np.where(predicate, on_true, on_false)


select = Op(
    "select",
    infer=_infer_select,
    reference=_select,
    doc="Operand 1 where operand 0 (i1, of the full shape) is true, operand 2 elsewhere.",
)


def _infer_clamp(x: Type, low: Type, high: Type) -> Type:
    return accepted("clamp", alike("clamp", x, low, high), REAL)


def _clamp(x: Node, low: Node, high: Node) -> Any:
    return minimum(maximum(x, low), high)


clamp = Op(
    "clamp",
    infer=_infer_clamp,
    decompose=_clamp,
    doc="minimum(maximum(x, low), high): where low is above high, high; NaN in any gives NaN.",
)
