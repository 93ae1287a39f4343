"""Elementwise chains that follow a product are computed while its tile lies in L1."""

from collections import Counter

from ptir import ops
from ptir.ir import CONSTANT, PARAM, Input, Node, Program, TensorType, param, rebuild
from ptir.passes.elementwise import NAME, chain_of
from ptir.passes.facts import ELEMENTWISE, may_refuse, tensor

from .fuse import LINEAR_ADD, NARROW
from .pack import PACKED

THEN = "_then"  # behind the name of a functional that a chain follows
PRODUCTS = (f"{PACKED}linear", f"{PACKED}{LINEAR_ADD}")
MOST_NODES = 24  # of a chain: the kernel has a register for each


def fuse_epilogue(program: Program) -> Program:
    """A packed product and the elementwise chain that alone reads it become one composite, if all
    else that the chain reads are numbers.
    """
    uses = Counter([*(x for node in program.nodes for x in node.operands), *program.results])
    done: dict[Node, Node] = {}
    for node in program.nodes:
        operands = tuple(done[x] for x in node.operands)
        done[node] = rebuild(node, operands)
        found = _chain(done[node])
        if found is None:
            continue
        product, body = found
        if uses[node.operands[operands.index(product)]] == 1:
            done[node] = _joined(product, body)
    return Program(program.inputs, tuple(done[r] for r in program.results))


def _chain(node: Node) -> tuple[Node, Program] | None:
    """The product that an elementwise node or composite alone reads, and what it computes of it."""
    if node.op is ops.composite and node.attrs["name"] == NAME:
        body, operands = node.attrs["body"], list(node.operands)
    elif node.op in ELEMENTWISE:
        body, operands = chain_of([node])
    else:
        return None
    reads_product = len(operands) == 1 and _is_product(operands[0]) and operands[0] in node.operands
    return (operands[0], body) if reads_product and _fits(body) else None


def _is_product(node: Node) -> bool:
    return node.op is ops.composite and node.attrs["name"] in PRODUCTS


def _fits(body: Program) -> bool:
    """Whether it makes as many floats as it takes, of them and of numbers, and refuses none."""
    given, made = body.inputs[0].type, body.results[0].type
    assert isinstance(given, TensorType)
    assert isinstance(made, TensorType)
    if given.shape != made.shape or made.dtype.name not in NARROW:
        return False
    if len(body.nodes) > MOST_NODES:
        return False
    return all(map(_is_taken, body.nodes))


def _is_taken(x: Node) -> bool:
    """Whether the kernel takes a node of a chain: the product, a number, or an op on those."""
    if x.op is CONSTANT:
        return tensor(x).size == 1
    if x.op is ops.broadcast_to:
        return x.operands[0].op is CONSTANT
    return x.op is PARAM or not may_refuse(x)


def _joined(product: Node, chain: Program) -> Node:
    """A product and what follows it as a composite on the operands of the product."""
    inner = [param(slot, x.type) for slot, x in enumerate(product.operands)]
    value = ops.composite(*inner, **product.attrs)
    made: Node = ops.composite(
        *product.operands,
        name=product.attrs["name"] + THEN,
        attributes={},
        body=Program(
            tuple(Input(x.type) for x in product.operands),
            (ops.composite(value, name=NAME, body=chain),),
        ),
    )
    return made
