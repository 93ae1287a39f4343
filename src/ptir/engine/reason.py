"""Why a program had to be compiled, in words: the nearest known key and what differs from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ptir.ir import CONSTANT, PARAM, Node, Program, TensorType

if TYPE_CHECKING:
    from .cache import PlanKey


def explain_miss(key: PlanKey, known: Iterable[PlanKey]) -> str:
    """The reason in words; `known` keys come with the most recently used first."""
    nearest: PlanKey | None = None
    structure = _structure(key.program)
    for other in known:
        if other.program == key.program:
            return _other_setting(key, other)
        if nearest is None and other.backend == key.backend:
            nearest = other if _structure(other.program) == structure else None
    if nearest is None:
        nodes, inputs = len(key.program.nodes), len(key.program.inputs)
        return f"new graph: {nodes} nodes, {inputs} inputs"
    return _other_program(key.program, nearest.program)


def _structure(program: Program) -> Any:
    """Which op uses which values; no types, attributes or data."""
    place = {node: i for i, node in enumerate(program.nodes)}
    edges = tuple((n.op.name, tuple(place[x] for x in n.operands)) for n in program.nodes)
    return edges, tuple(place[r] for r in program.results)


def _other_setting(key: PlanKey, other: PlanKey) -> str:
    for field, name in (
        ("backend", "backend"), ("version", "backend version"),
        ("options", "backend options"), ("passes", "pipeline"),
    ):  # fmt: skip
        new, old = getattr(key, field), getattr(other, field)
        if new != old:
            return f"{name}: {_words(old)} → {_words(new)}"
    return "a thread compiled it at the same time"


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


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
