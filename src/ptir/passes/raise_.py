"""Find functionals in graphs that were written with bare ops, and put their composites there.

Knows no functional: those that can be found enter themselves in `RAISABLE`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from typing import Any

from ptir.ir import CONSTANT, Node, Op, Program, SpecError, postorder, rebuild, uniform_value

from .normal import same_value
from .template import Bound, Graph, Template

PROOFS = 64  # proposals for one node that are put to the proof


@dataclass(frozen=True)
class Variant:
    """One structure that a functional's body can have.

    `template` stands for it; its inputs are the operands of these names. `attributes` have the
    values that make this structure; those that change no structure are not among them.
    """

    template: Template
    operands: tuple[str, ...]
    attributes: Mapping[str, Any]
    composite: Node
    """An example: the functional called on the operands of its template."""
    read: Mapping[str, "Place"]
    """Where the values of the other attributes stand in the body."""

    @property
    def size(self) -> int:
        return self.template.size

    @property
    def ops(self) -> int:
        """How many ops the body has, besides those that only change a value's form."""
        return sum(bool(node.operands) for node in self.template.nodes)


@dataclass(frozen=True)
class Place:
    """Where an attribute's value can be read in a match: in an op's attribute (in a list: at
    `index`), or as the number that fills a constant (`name` is empty).
    """

    node: Node
    name: str = ""
    index: int | None = None

    def read(self, bound: Bound) -> Any:
        node: Node = bound[self.node]
        if node.op is CONSTANT:
            return uniform_value(node)
        value = node.attrs[self.name]
        if self.index is None:
            return value
        return value[self.index] if self.index < len(value) else None


class Raisable(ABC):
    """A functional that can be found in a graph: all its variants, and how it is called."""

    name: str
    parameters: tuple[str, ...]

    @property
    @abstractmethod
    def core(self) -> frozenset[Op]:
        """Ops that every variant has: without them there is nothing to look for."""

    @property
    @abstractmethod
    def variants(self) -> Sequence[Variant]:
        """The structures of its body."""

    @abstractmethod
    def values(self, attribute: str, read: Any) -> Iterable[Any]:
        """What an attribute may have been if `read` stands where its value shows."""

    @abstractmethod
    def call(self, operands: Mapping[str, Node], attributes: Mapping[str, Any]) -> Node:
        """The composite that calling it gives; `SpecError` where it refuses."""

    @abstractmethod
    def fields(self, operands: Mapping[str, Node], attributes: Mapping[str, Any]) -> Any:
        """An object with one field for each parameter, `None` for operands that are not given."""


RAISABLE: dict[str, Raisable] = {}
"""What `raise` looks for. Of two that have one body, the one with more parameters is meant."""


@dataclass(frozen=True)
class Found:
    """A functional found in a graph: `composite` is `root`, proved to be the same value.

    `fields` are the functional's parameters by name: operands as nodes, attributes as values.
    """

    functional: str
    root: Node
    composite: Node
    fields: Any

    @cached_property
    def interior(self) -> frozenset[Node]:
        """What lies between the operands and the root, the root included."""
        return frozenset(postorder(self.root, skip=frozenset(self.composite.operands)))

    def escapes(self, program: Program) -> tuple[Node, ...]:
        """Interior values that `program` also uses outside: they are still computed when the root
        is replaced. Constants and counts, which anyone may have, are not reported.
        """
        outside = set(program.results)
        for node in program.nodes:
            if node not in self.interior:
                outside.update(node.operands)
        inner = self.interior - {self.root}
        return tuple(n for n in program.nodes if n in inner and n in outside and n.operands
                     and uniform_value(n) is None)  # fmt: skip


def raise_(program: Program) -> Program:
    """Replace what functionals compute by their composites, largest first; outside of composites
    only. The same object if nothing is found.
    """
    found = {one.root: one.composite for one in find(program)}
    if not found:
        return program
    done: dict[Node, Node] = {}
    for node in program.nodes:
        new = found.get(node, node)
        done[node] = rebuild(new, tuple(done[x] for x in new.operands))
    return Program(program.inputs, tuple(done[root] for root in program.results))


def find(program: Program, *names: str) -> tuple[Found, ...]:
    """The functionals (all, or those named) that `program` computes with bare ops, largest first.

    No root of one lies inside another that is smaller.
    """
    graph = Graph(program)
    wanted = [RAISABLE[name] for name in names] if names else RAISABLE.values()
    present = [one for one in wanted if all(op in graph.by_op for op in one.core)]
    pairs = [(one, variant) for one in present for variant in one.variants]
    taken: dict[Node, Found] = {}
    buried = set[Node]()
    pairs.sort(key=lambda pair: (-pair[1].size, -len(pair[0].parameters)))
    for one, variant in pairs:
        for root in variant.template.roots(graph):
            found = None if root in buried else _prove_any(one, variant, graph, root)
            if found is None or found.root in taken:
                continue
            if taken.keys().isdisjoint(found.interior):
                taken[found.root] = found
                buried |= _buried(found, graph)
    return tuple(taken.values())


def _buried(found: Found, graph: Graph) -> set[Node]:
    """The interior values that nothing needs once the root is replaced."""
    gone = {found.root}
    for node in reversed(list(postorder(found.root, skip=frozenset(found.composite.operands)))):
        if node not in graph.results and gone.issuperset(graph.users[node]):
            gone.add(node)
    return gone - {found.root}


def _prove_any(one: Raisable, variant: Variant, graph: Graph, root: Node) -> Found | None:
    for operands, attributes in islice(_proposals(one, variant, root), PROOFS):
        found = _prove(one, operands, attributes, variant, graph.tops(root))
        if found is not None:
            return found
    return None


def _proposals(
    one: Raisable, variant: Variant, root: Node
) -> Iterator[tuple[dict[str, Node], dict[str, Any]]]:
    """The calls that may be meant, likeliest first."""
    slots = {node.attrs["slot"]: node for node in variant.template.nodes if "slot" in node.attrs}
    for bound in variant.template.fits(root):
        values = [one.values(name, place.read(bound)) for name, place in variant.read.items()]
        choices = [bound[slots[slot]] for slot in range(len(variant.operands))]
        for nodes in product(*choices):
            for read in product(*values):
                attributes = {**variant.attributes, **dict(zip(variant.read, read, strict=True))}
                yield dict(zip(variant.operands, nodes, strict=True)), attributes


def _prove(
    one: Raisable,
    operands: Mapping[str, Node],
    attributes: Mapping[str, Any],
    variant: Variant,
    tops: Iterable[Node],
) -> Found | None:
    """The call, if its body on these operands says what stands in the graph."""
    try:
        composite = one.call(operands, attributes)
    except SpecError:
        return None
    (meant,) = composite.attrs["body"].inline(composite.operands)
    limit = 4 * variant.size + 32  # forms included
    for top in tops:
        if top.type == meant.type and same_value(meant, top, composite.operands, limit):
            return Found(one.name, top, composite, one.fields(operands, attributes))
    return None
