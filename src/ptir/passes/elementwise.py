"""Chains of elementwise ops become one composite, `elementwise`, for backends that run its body in
one go.
"""

from ptir import ops
from ptir.ir import CONSTANT, Input, Node, Program, param, rebuild

from .derive import decided_by_parameters
from .facts import ELEMENTWISE, shape

NAME = "elementwise"
LEAST = 2  # ops that are worth a group


def group_elementwise(program: Program) -> Program:
    """Put maximal groups of elementwise ops into composites, each with one result.

    Built backward from the results: an op joins the group of its users if they are all in one group
    and have its shape. Constants and broadcasts come along with each group that reads them: they
    cost nothing there. What two groups use is computed once, by itself; so is what parameters alone
    decide, for `fold_parameters` to find it.
    """
    groups = _groups(program)
    members: dict[Node, list[Node]] = {}
    for node in program.nodes:
        if node in groups:
            members.setdefault(groups[node], []).append(node)
    done: dict[Node, Node] = {}
    for node in program.nodes:
        if node in groups and len(members[groups[node]]) >= LEAST:
            if groups[node] is node:
                body, operands = chain_of(members[node])
                done[node] = ops.composite(*[done[n] for n in operands], name=NAME, body=body)
        else:
            done[node] = rebuild(node, tuple(done[x] for x in node.operands))
    return Program(program.inputs, tuple(done[r] for r in program.results))


def _groups(program: Program) -> dict[Node, Node]:
    """For each elementwise node, the last node of its group."""
    users: dict[Node, list[Node]] = {}
    for node in program.nodes:
        for operand in set(node.operands):
            users.setdefault(operand, []).append(node)
    results = set(program.results)
    fixed = decided_by_parameters(program)  # computed once, if no group mixes it with the rest
    groups: dict[Node, Node] = {}
    for node in reversed(program.nodes):
        if node.op not in ELEMENTWISE:
            continue
        ends = {groups.get(user) for user in users.get(node, ())}
        (end,) = ends if len(ends) == 1 else (None,)
        joins = end is not None and shape(end) == shape(node) and (end in fixed) == (node in fixed)
        groups[node] = end if joins and end is not None and node not in results else node
    return groups


def chain_of(group: list[Node]) -> tuple[Program, list[Node]]:
    """A group of elementwise ops that stands in order as a program, and the operands of that."""
    body, operands = _body(group, spread=True)
    if not body.symbols <= body.bound:  # sizes that only broadcasts know, which then stay outside
        body, operands = _body(group, spread=False)
    return body, operands


def _body(group: list[Node], spread: bool) -> tuple[Program, list[Node]]:
    """The group as a program and what it reads; with `spread`, broadcasts are part of it."""
    operands: list[Node] = []
    inner: dict[Node, Node] = {}

    def read(node: Node) -> Node:
        if node.op is CONSTANT:
            inner[node] = node
        elif spread and node not in inner and node.op is ops.broadcast_to:
            inner[node] = rebuild(node, (read_operand(node.operands[0]),))
        return inner[node] if node in inner else read_operand(node)

    def read_operand(node: Node) -> Node:
        if node.op is CONSTANT:
            return node
        if node not in inner:
            inner[node] = param(len(operands), node.type)
            operands.append(node)
        return inner[node]

    for node in group:
        inner[node] = rebuild(node, tuple([read(x) for x in node.operands]))
    return Program(tuple(Input(n.type) for n in operands), (inner[group[-1]],)), operands
