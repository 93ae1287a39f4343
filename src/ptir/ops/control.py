"""Control flow: ops whose attributes are programs. Knows nothing of what those programs compute."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ptir.ir import Op, Program, Size, SpecError, TensorType, Type, attr, region

from .evaluate import evaluate, input_bindings
from .shape import checked_type
from .structure import as_one, checked_region, same_types

_PREDICATE = "a predicate is i1[]"


def _predicate(type: Type) -> bool:
    return isinstance(type, TensorType) and type.dtype.kind == "bool" and type.shape == ()


def _as_value(results: Sequence[Any]) -> Any:
    return results[0] if len(results) == 1 else tuple(results)


# --- cond ---


def _cond(predicate: Type, *operands: Type, on_true: Program, on_false: Program) -> Type:
    if not _predicate(predicate):
        raise SpecError("operand", "cond", f"operand 0 is {predicate}; {_PREDICATE}")
    results = checked_region("cond", on_true, operands)
    same_types("cond", "on_false result", checked_region("cond", on_false, operands), results)
    return as_one(results)


def _run_cond(predicate: Any, *operands: Any, on_true: Program, on_false: Program) -> Any:
    return _as_value(evaluate(on_true if predicate else on_false, operands))


cond = Op(
    "cond",
    infer=_cond,
    attrs={"on_true": region(), "on_false": region()},
    reference=_run_cond,
    doc="The results of one of two regions on the operands; the other one is not run.",
)


# --- while ---


def _while(*carries: Type, condition: Program, body: Program) -> Type:
    decided = checked_region("while", condition, carries)
    if len(decided) != 1 or not _predicate(decided[0]):
        came = ", ".join(map(str, decided))
        raise SpecError("region", "while", f"condition gives ({came}); {_PREDICATE}")
    same_types("while", "carried result", checked_region("while", body, carries), carries)
    return as_one(carries)


def _run_while(*carries: Any, condition: Program, body: Program) -> Any:
    while evaluate(condition, carries)[0]:
        carries = evaluate(body, carries)
    return _as_value(carries)


while_ = Op(
    "while",
    infer=_while,
    attrs={"condition": region(), "body": region()},
    reference=_run_while,
    doc="Carries, replaced by the body's results as long as the condition holds of them.",
)


# --- scan ---


def _scan(
    *operands: Type, body: Program, carries: int, inputs: int, length: Size | None, reverse: bool
) -> Type:
    if carries + inputs > len(operands):
        message = f"{len(operands)} operands came, wanted {carries} carries and {inputs} inputs"
        raise SpecError("arity", "scan", message)
    carried, scanned = operands[:carries], operands[carries : carries + inputs]
    steps = _steps(scanned, carries, length)
    slices = tuple(x.with_shape(x.shape[1:]) for x in scanned if isinstance(x, TensorType))
    results = checked_region("scan", body, (*carried, *slices, *operands[carries + inputs :]))
    same_types("scan", "carried result", results[:carries], carried)
    return as_one([*carried, *(_stacked(r, steps) for r in results[carries:])])


def _steps(scanned: Sequence[Type], first: int, length: Size | None) -> Size:
    """The one length that the attribute and every scanned input agree on."""
    if length is None and not scanned:
        raise SpecError("attribute", "scan", "no input to scan over; pass length=")
    for slot, x in enumerate(scanned, first):
        if not isinstance(x, TensorType) or x.rank == 0:
            raise SpecError("rank", "scan", f"operand {slot} is {x}, which has no axis to scan")
        length = x.shape[0] if length is None else length
        if x.shape[0] != length:
            raise SpecError("shape", "scan", f"operand {slot} is {x}, wanted {length} steps")
    assert length is not None
    return length


def _stacked(output: Type, steps: Size) -> TensorType:
    if not isinstance(output, TensorType):
        raise SpecError("region", "scan", f"an output is {output}; only tensors can be stacked")
    return checked_type("scan", (steps, *output.shape), output.dtype)


def _run_scan(
    *operands: Any, body: Program, carries: int, inputs: int, length: int | None, reverse: bool
) -> Any:
    carried, scanned = operands[:carries], operands[carries : carries + inputs]
    constants = operands[carries + inputs :]
    steps = len(scanned[0]) if length is None else length
    for slot, x in enumerate(scanned, carries):
        if len(x) != steps:
            raise SpecError("shape", "scan", f"operand {slot} has {len(x)} steps, wanted {steps}")
    # Types come from the program, not from a first step: there may be none.
    like = [np.empty(x.shape[1:], x.dtype) for x in scanned]
    stacks = _stacks(body, carries, steps, (*carried, *like, *constants))
    for step in reversed(range(steps)) if reverse else range(steps):
        slices = [x[step, ...] for x in scanned]
        results = evaluate(body, (*carried, *slices, *constants))
        carried = results[:carries]
        for stack, output in zip(stacks, results[carries:], strict=True):
            stack[step] = output
    return _as_value((*carried, *stacks))


def _stacks(body: Program, carries: int, steps: int, values: Sequence[Any]) -> list[Any]:
    symbols = input_bindings(body, values)
    types = [r.type.substitute(symbols) for r in body.results[carries:]]
    return [
        np.empty((steps, *t.static_shape), t.dtype.numpy)
        for t in types
        if isinstance(t, TensorType)
    ]


scan = Op(
    "scan",
    infer=_scan,
    attrs={
        "body": region(),
        "carries": attr.integer(minimum=0),
        "inputs": attr.integer(minimum=0),
        "length": attr.size().optional(),
        "reverse": attr.flag(False),
    },
    reference=_run_scan,
    doc="Operands are carries, inputs with a leading time axis, constants. The body maps (carries, "
    "one slice of each input, constants) to (carries, outputs); results are the last carries and "
    "the outputs stacked by time step, in whichever direction it runs.",
)
