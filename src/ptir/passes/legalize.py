"""Expand what a backend does not claim, in regions too: composites and calls into bodies, ops into
decompositions.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ptir import ops
from ptir.ir import PARAM, Node, Program, Rule, SpecError, make, rewrite

Kernels = Mapping[str, Callable[[Node], Node | None]]
"""By functional, what a kernel makes of its composite: the call that runs in its place, if any."""


def legalize(program: Program) -> Program:
    """The place of legalization in a list of passes, where a backend's own is put."""
    return program


def legalizer(
    claims: Callable[[Node], bool], backend: str, kernels: Kernels = MappingProxyType({})
) -> Callable[[Program], Program]:
    """The pass that makes `claims` say yes to every node; a `SpecError` where that cannot be."""
    done: dict[Program, Program] = {}  # a region that many share is legalized once

    def expand(node: Node) -> Node | None:
        if node.op is PARAM:
            return None
        if node.op is ops.composite and node.attrs["name"] in kernels:
            called = kernels[node.attrs["name"]](node)
            if called is not None:
                return called
        if claims(node):
            return None if node.op is ops.composite else _on_bodies(node, body)
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

    def body(region: Program) -> Program:
        if region not in done:
            after = done[region] = claimed(region)
            done[after] = after
        return done[region]

    def claimed(program: Program) -> Program:
        return rewrite(program, (Rule("expand", expand),))

    claimed.__name__ = legalize.__name__
    return claimed


def _on_bodies(node: Node, change: Callable[[Program], Program]) -> Node:
    """A control-flow node with its regions changed: they run as they stand, like the node."""
    bodies = {name: change(v) for name, v in node.attrs.items() if isinstance(v, Program)}
    return make(node.op, node.operands, {**node.attrs, **bodies}) if bodies else node


def _named(node: Node) -> str:
    return f"target {node.attrs['target']!r}" if node.op is ops.custom_call else "it"
