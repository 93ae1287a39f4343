"""Passes of the native backend: what one kernel can do in one go becomes one composite.

The body of such a composite is what it replaces, so its meaning needs no other statement.
"""

from collections import Counter

from ptir import ops
from ptir.ir import Input, Node, Program, param, rebuild

LINEAR_ADD = "linear_add"
NARROW = frozenset(("f32", "bf16", "f16"))  # what products accumulate in f32


def fuse_residual(program: Program) -> Program:
    """`linear(x, w, b) + r` becomes one composite where nothing else reads the product."""
    uses = Counter([*(x for node in program.nodes for x in node.operands), *program.results])
    done: dict[Node, Node] = {}
    for node in program.nodes:
        product = _product(node, uses)
        operands = tuple(done[x] for x in node.operands)
        if product is None:
            done[node] = rebuild(node, operands)
        else:
            other = operands[1 - node.operands.index(product)]
            done[node] = _joined(done[product], other)
    return Program(program.inputs, tuple(done[r] for r in program.results))


def _product(node: Node, uses: Counter[Node]) -> Node | None:
    """The product that only this sum reads, if it is one."""
    if node.op is not ops.add:
        return None
    return next((x for x in node.operands if _is_linear(x) and uses[x] == 1), None)


def _is_linear(node: Node) -> bool:
    return node.op is ops.composite and node.attrs["name"] == "linear"


def _joined(product: Node, other: Node) -> Node:
    """A product plus something as a composite on the operands of the product, and that."""
    operands = (*product.operands, other)
    inner = [param(slot, x.type) for slot, x in enumerate(operands)]
    total = ops.add(ops.composite(*inner[:-1], **product.attrs), inner[-1])
    made: Node = ops.composite(
        *operands,
        name=LINEAR_ADD,
        attributes={},
        body=Program(tuple(Input(x.type) for x in operands), (total,)),
    )
    return made
