"""Drop ops that change nothing: the same shape, dtype or order as before."""

from ptir import ops
from ptir.ir import Node, Program, rewrite, rule


def canonicalize(program: Program) -> Program:
    return rewrite(program, RULES)


@rule(ops.reshape, ops.broadcast_to, ops.cast)
def same_type(node: Node) -> Node | None:
    return node.operands[0] if node.type == node.operands[0].type else None


@rule(ops.transpose)
def same_order(node: Node) -> Node | None:
    perm = node.attrs["perm"]
    return node.operands[0] if perm == tuple(range(len(perm))) else None


RULES = (same_type, same_order)
