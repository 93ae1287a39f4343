"""A program as a pattern: where a graph may be computing the same, of other sizes and dtypes.

It only proposes: ops that change the form of a value are looked through, and sizes, constants and
most attributes are free. Whether a proposal is right is decided by who makes use of it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from ptir import ops
from ptir.ir import CONSTANT, PARAM, Node, Op, Program

from .normal import MIRRORED, SYMMETRIC

FORMS = frozenset({ops.reshape, ops.broadcast_to, ops.transpose, ops.cast})
MANY = 256  # ways to fit one node that are tried

Bound = Mapping[Node, Any]
"""Each node of a template's program with the node that it stands for; inputs with all that they
may stand for."""

_Pair = tuple[Node, Node]
_Agenda = Any  # a linked list of pairs: `(pair, rest)` or `None`


def essence(node: Node) -> Node:
    """The node under ops that only change shape, order or dtype."""
    while node.op in FORMS:
        node = node.operands[0]
    return node


def forms(node: Node) -> Iterator[Node]:
    """`node`, and everything down to its essence."""
    yield node
    while node.op in FORMS:
        node = node.operands[0]
        yield node


class Graph:
    """A program, asked for its nodes by op and for what uses a node."""

    def __init__(self, program: Program) -> None:
        self.results = frozenset(program.results)
        self.by_op: dict[Op, list[Node]] = defaultdict(list)
        self.users: dict[Node, list[Node]] = defaultdict(list)
        for node in program.nodes:
            self.by_op[node.op].append(node)
            for operand in node.operands:
                self.users[operand].append(node)

    def above(self, node: Node) -> Iterator[Node]:
        """What uses `node`, also through forms; the forms themselves too."""
        todo = [node]
        while todo:
            for user in self.users.get(todo.pop(), ()):
                yield user
                if user.op in FORMS:
                    todo.append(user)

    def tops(self, node: Node) -> Iterator[Node]:
        """`node` and all forms of it, nearest first."""
        yield node
        yield from (user for user in self.above(node) if user.op in FORMS)


@dataclass(frozen=True, eq=False)
class Template:
    """The one result of a program, to be found in other graphs."""

    program: Program

    @cached_property
    def root(self) -> Node:
        return essence(self.program.results[0])

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """What the template is made of, users first: no forms."""
        met = {self.root: None}
        todo = [self.root]
        for node in todo:
            for operand in map(essence, node.operands):
                if operand not in met:
                    met[operand] = None
                    todo.append(operand)
        return tuple(met)

    @cached_property
    def shaped(self) -> frozenset[Node]:
        """Inputs that the program gives another shape or dtype before it uses them."""
        operands = (x for node in self.nodes for x in node.operands)
        return frozenset(essence(x) for x in operands if x.op in FORMS)

    @cached_property
    def size(self) -> int:
        return len(self.nodes)

    @cached_property
    def climbs(self) -> dict[Op, tuple[Op, ...]]:
        """For each op: by which ops to climb from one of its nodes to the root."""
        way: dict[Node, tuple[Op, ...]] = {self.root: ()}
        for node in self.nodes:
            for operand in map(essence, node.operands):
                way.setdefault(operand, (node.op, *way[node]))
        climbs: dict[Op, tuple[Op, ...]] = {}
        for node, path in way.items():
            if node.op not in (PARAM, CONSTANT):
                climbs.setdefault(node.op, path)
        return climbs

    @cached_property
    def skeleton(self) -> tuple[Any, ...]:
        """What is compared when the template is looked for; equal skeletons fit the same graphs."""
        number = {node: index for index, node in enumerate(self.nodes)}
        return tuple(
            (
                node.op,
                node.attrs["slot"] if node.op is PARAM else _words(node),
                tuple(number[essence(x)] for x in node.operands),
            )
            for node in self.nodes
        )

    def roots(self, graph: Graph) -> Sequence[Node]:
        """Where in a graph it may end: found by climbing from its op that is rarest there."""
        if not all(op in graph.by_op for op in self.climbs):
            return ()
        rarest = min(self.climbs, key=lambda op: len(graph.by_op[op]))
        level = dict.fromkeys(graph.by_op[rarest])
        for op in self.climbs[rarest]:
            level = dict.fromkeys(u for n in level for u in graph.above(n) if u.op is op)
        return tuple(level)

    def fits(self, root: Node) -> Iterator[Bound]:
        """The ways in which the template may stand for `root`: its ops are there, in any order."""
        return islice(self._fits(root), MANY)

    def _fits(self, root: Node) -> Iterator[Bound]:
        open_: list[tuple[_Agenda, dict[Node, Any]]] = [(((self.root, root), None), {})]
        while open_:
            agenda, bound = open_.pop()
            later: list[_Pair] = []  # inputs: they fit nearly anything, so ops come first
            while agenda is not None:
                (wanted, came), agenda = agenda
                if wanted.op is PARAM:
                    later.append((wanted, came))
                    continue
                node = essence(came)
                if wanted in bound and wanted.operands:  # constants and counts may be written twice
                    if bound[wanted] is not node:
                        break
                    continue
                orders = _orders(wanted, node)
                if not orders:
                    break
                bound = {**bound, wanted: node}
                for other in orders[1:]:
                    open_.append((_push(agenda, other, later), bound))
                agenda = _push(agenda, orders[0], ())
            else:
                placed = self._placed(later, bound)
                if placed is not None:
                    yield placed

    def _placed(self, pairs: Sequence[_Pair], bound: Bound) -> Bound | None:
        """`bound` and, for each input, what it may stand for wherever it stands, likeliest first:
        under all forms if the program puts it into a form, else above reshapes.
        """
        placed = dict(bound)
        for wanted, came in pairs:
            found = list(forms(came))
            if wanted in placed:
                found = [node for node in placed[wanted] if node in found]
            if not found:
                return None
            placed[wanted] = found
        for wanted in {wanted for wanted, _ in pairs}:
            if wanted in self.shaped:
                placed[wanted].reverse()
            else:
                placed[wanted].sort(key=_fitted)
        return placed


def _push(agenda: _Agenda, pairs: Sequence[_Pair], later: Sequence[_Pair]) -> _Agenda:
    for pair in (*later, *pairs):
        agenda = (pair, agenda)
    return agenda


def _orders(wanted: Node, node: Node) -> list[list[_Pair]]:
    """The orders in which operands of `node` may be those of `wanted`; none if the ops differ."""
    if node.op is not wanted.op or len(node.operands) != len(wanted.operands):
        return []
    if wanted.op is CONSTANT:
        return [[]]
    operands, swaps = list(node.operands), node.op.commutative
    if node.op is ops.compare:
        ours, theirs = wanted.attrs["op"], node.attrs["op"]
        if _direction(ours) != _direction(theirs):
            return []
        swaps = ours in SYMMETRIC
        if ours != theirs:
            operands.reverse()
    elif _words(wanted) != _words(node):
        return []
    orders = [operands]
    if swaps and operands[0] is not operands[1]:
        orders.append([operands[1], operands[0], *operands[2:]])
    paired = [list(zip(wanted.operands, order, strict=True)) for order in orders]
    return [
        [(essence(ours), theirs) for ours, theirs in pairs]
        for pairs in paired
        if all(_may_fit(essence(ours), theirs) for ours, theirs in pairs)
    ]


def _may_fit(wanted: Node, node: Node) -> bool:
    return wanted.op is PARAM or wanted.op is essence(node).op


def _direction(op: str) -> str:
    return MIRRORED.get(op, op)


def _words(node: Node) -> tuple[str, ...]:
    """Attributes that are names, as the kind of a reduction: they are part of what the op is."""
    return tuple(v for v in node.attrs.values() if isinstance(v, str))


def _fitted(node: Node) -> int:
    """How often the value was cast or repeated to fit: more likely by the body than before it."""
    return sum(form.op in (ops.cast, ops.broadcast_to) for form in forms(node))
