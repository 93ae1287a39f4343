"""The meaning of a program: each node's NumPy reference, in order. Knows no backend, no op by name.

An op without a reference means what it decomposes to.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ptir.ir import PARAM, Node, Program, SpecError, TensorType, bind


def evaluate(
    program: Program, values: Sequence[Any], bindings: Mapping[str, int] | None = None
) -> tuple[Any, ...]:
    """The results of `program` on NumPy arrays; `bindings` gives symbols that no input binds.

    Raises `SpecError` when a value does not fit its input or an op has no NumPy meaning.
    """
    symbols = dict(bindings or {}) | input_bindings(program, values)
    known: dict[Node, Any] = {}
    last_use = uses(program)
    for node in program.nodes:
        known[node] = _value(node, known, values, symbols)
        for operand in last_use.get(node, ()):
            del known[operand]
    return tuple(known[r] for r in program.results)


def input_bindings(program: Program, values: Sequence[Any]) -> dict[str, int]:
    """The values of the symbols in the types of a program's inputs."""
    if len(values) != len(program.inputs):
        wanted = len(program.inputs)
        raise SpecError("arity", "program", f"{len(values)} inputs came, wanted {wanted}")
    pairs = [
        (i.type, v.shape)
        for i, v in zip(program.inputs, values, strict=True)
        if isinstance(i.type, TensorType)
    ]
    return bind([t for t, _ in pairs], [s for _, s in pairs], "program")


def uses(program: Program) -> dict[Node, list[Node]]:
    """For each node, the operands that nothing needs after it (results are always needed)."""
    kept = set(program.results)
    seen: set[Node] = set()
    last: dict[Node, list[Node]] = {}
    for node in reversed(program.nodes):
        for operand in dict.fromkeys(node.operands):
            if operand not in seen and operand not in kept:
                seen.add(operand)
                last.setdefault(node, []).append(operand)
    return last


def _value(
    node: Node, known: Mapping[Node, Any], values: Sequence[Any], symbols: Mapping[str, int]
) -> Any:
    if node.op is PARAM:
        return values[node.attrs["slot"]]
    attrs = node.attrs.substitute(symbols) if symbols else node.attrs
    operands = [known[x] for x in node.operands]
    if node.op.reference is not None:
        return node.op.reference(*operands, **attrs)
    if node.op.decompose is None:
        raise SpecError("op", node.op.name, "has no NumPy meaning; a backend must claim it")
    types = [x.type.substitute(symbols) for x in node.operands]
    (result,) = evaluate(Program.of(types, partial(node.op.decompose, **attrs)), operands)
    return result
