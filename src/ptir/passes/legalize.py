"""Expand what a backend does not claim, in regions too: composites and calls into bodies, ops into
decompositions.
"""

from collections.abc import Callable

from ptir import ops
from ptir.ir import PARAM, Node, Program, Rule, SpecError, make, rewrite


def legalizer(claims: Callable[[Node], bool], backend: str) -> Callable[[Program], Program]:
    """The pass that makes `claims` say yes to every node; a `SpecError` where that cannot be."""

    def expand(node: Node) -> Node | None:
        if node.op is PARAM:
            return None
        if claims(node):
            return None if node.op is ops.composite else _on_bodies(node, legalize)
        if node.op is ops.composite or node.op is ops.call:
            return ops.inline(node)
        if node.op.decompose is not None:
            expanded: Node = node.op.decompose(*node.operands, **node.attrs)
            return expanded
        raise SpecError(
            "unclaimed",
            node.op.name,
            f"backend {backend!r} does not claim {_named(node)} and it has no decomposition; "
            f"extend ptir/backends/{backend} or run it with backend='reference'",
        )

    def legalize(program: Program) -> Program:
        return rewrite(program, (Rule("expand", expand),))

    return legalize


def _on_bodies(node: Node, change: Callable[[Program], Program]) -> Node:
    """A control-flow node with its regions changed: they run as they stand, like the node."""
    bodies = {name: change(v) for name, v in node.attrs.items() if isinstance(v, Program)}
    return make(node.op, node.operands, {**node.attrs, **bodies}) if bodies else node


def _named(node: Node) -> str:
    return f"target {node.attrs['target']!r}" if node.op is ops.custom_call else "it"
