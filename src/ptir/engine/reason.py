"""Why a program had to be compiled, in words: the nearest known key and what differs from it."""

from collections.abc import Iterable
from typing import Any

from ptir.ir import CONSTANT, PARAM, Node, Program, TensorType

from .plan import PlanKey


def explain_miss(key: PlanKey, known: Iterable[PlanKey]) -> str:
    """The reason in words; `known` keys come with the most recently used first."""
    nearest: PlanKey | None = None
    for other in known:
        if other.program == key.program:
            return _other_setting(key, other)
        if nearest is None and other.backend == key.backend:
            nearest = other if _alike(key.program, other.program) else None
    if nearest is None:
        nodes, inputs = len(key.program.nodes), len(key.program.inputs)
        return f"new graph: {nodes} nodes, {inputs} inputs"
    return _other_program(key.program, nearest.program)


def _alike(program: Program, other: Program) -> bool:
    return len(program.nodes) == len(other.nodes) and _structure(program) == _structure(other)


def _structure(program: Program) -> Any:
    """Which op uses which values; no types, attributes or data."""
    place = {node: i for i, node in enumerate(program.nodes)}
    edges = tuple((n.op.name, tuple(place[x] for x in n.operands)) for n in program.nodes)
    return edges, tuple(place[r] for r in program.results)


def _other_setting(key: PlanKey, other: PlanKey) -> str:
    changes = (
        ("backend", other.backend, key.backend),
        ("backend version", other.version, key.version),
        ("backend options", other.options, key.options),
        ("pipeline", other.passes, key.passes),
    )
    return next(
        f"{what}: {_words(old)} → {_words(new)}" for what, old, new in changes if old != new
    )


def _words(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _other_program(program: Program, other: Program) -> str:
    for slot, (new, old) in enumerate(zip(program.inputs, other.inputs, strict=False)):
        if new.role != old.role:
            return f"role of input {slot}: {old.role} → {new.role}"
        if new.name != old.name:
            return f"parameter: input {slot} is {new.name!r}, was {old.name!r}"
        if new.type != old.type:
            return f"{_kind(new.type, old.type)} of input {slot}: {old.type} → {new.type}"
    for new_node, old_node in zip(program.nodes, other.nodes, strict=True):
        if new_node.op is not PARAM and new_node.attrs != old_node.attrs:
            return _other_attribute(new_node, old_node)
        if new_node.op is PARAM and new_node.attrs != old_node.attrs:
            return "order of inputs: the same graph on other inputs"
    return "number of inputs or results"


def _kind(new: Any, old: Any) -> str:
    tensors = isinstance(new, TensorType) and isinstance(old, TensorType)
    return "shape" if tensors and new.dtype == old.dtype else "dtype" if tensors else "type"


def _other_attribute(new: Node, old: Node) -> str:
    if new.op is CONSTANT:
        return f"literal: {new.type} of another value"
    names = [k for k in new.attrs if new.attrs[k] != old.attrs.get(k)]
    if any(isinstance(new.attrs[k], Program) for k in names):
        return f"region of {new.op.name}"
    changes = ", ".join(f"{k} {old.attrs.get(k)} → {new.attrs[k]}" for k in names)
    return f"attribute of {new.op.name}: {changes}"
