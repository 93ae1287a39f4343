"""Rewriting: named rules, and one driver that applies them bottom-up until none fires. Knows no
rule.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from .error import SpecError
from .node import Node, rebuild
from .op import Op
from .pattern import Call, Pattern
from .program import Program

Replace = Callable[..., Node | None]

Watch = Callable[[str, Node, Node], None]
"""Told of each firing: the rule's name, the node before, the node after."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watching(note: Watch) -> Iterator[None]:
    """Tell `note` of every firing inside of this block."""
    token = _watch.set(note)
    try:
        yield
    finally:
        _watch.reset(token)


@dataclass(frozen=True)
class Rule:
    """A named replacement: where it may fire (`ops`; none named: anywhere) and what it puts there.

    `apply` gets a node whose operands are rewritten already and returns its replacement, of the
    same type, or `None`. `before` are the patterns of which each match is replaced. The values stay
    bit for bit, NaN payloads and the rounding of sums aside (in which order terms are added is the
    backend's own), unless `tolerance` says by how many units in the last place of the largest
    value they may differ.
    """

    name: str
    apply: Callable[[Node], Node | None]
    ops: frozenset[Op] = frozenset()
    before: tuple[Pattern, ...] = ()
    tolerance: float = 0.0


def rule(*where: Op | Pattern, tolerance: float = 0.0) -> Callable[[Replace], Rule]:
    """Make a function a rule.

    `@rule(pattern, …)`: for a match of any of the patterns the function gets what wildcards, rests
    and attribute variables found, by keyword, and the node itself if it has a parameter `root`.
    `@rule(ops.cast, ops.reshape)`: it gets each node of these ops.
    """
    patterns = tuple(p for p in where if isinstance(p, Pattern))
    plain = frozenset(o for o in where if isinstance(o, Op))

    def decorate(replace: Replace) -> Rule:
        name = replace.__name__
        if not patterns:
            return Rule(name, replace, plain)
        calls = [p.op for p in patterns if isinstance(p, Call)]
        roots = frozenset(calls) if len(calls) == len(patterns) else frozenset[Op]()
        return Rule(name, _matching(patterns, replace), roots, patterns, tolerance)

    return decorate


def _matching(patterns: Sequence[Pattern], replace: Replace) -> Callable[[Node], Node | None]:
    wants_root = "root" in signature(replace).parameters
    by_op: dict[Op, list[Pattern]] = {}
    for pattern in patterns:
        if isinstance(pattern, Call):
            by_op.setdefault(pattern.op, []).append(pattern)
    anywhere = [p for p in patterns if not isinstance(p, Call)]

    def apply(node: Node) -> Node | None:
        for pattern in (*by_op.get(node.op, ()), *anywhere):
            match = pattern.match(node)
            if match is not None:
                found: dict[str, Any] = match.found
                new = replace(root=node, **found) if wants_root else replace(**found)
                if new is not None:
                    return new
        return None

    return apply


@dataclass
class Rewriting:
    """A run of the driver. `done` says what each node became, `fired` how often each rule fired."""

    rules: Sequence[Rule]
    done: dict[Node, Node] = field(default_factory=dict)
    fired: Counter[str] = field(default_factory=Counter)
    limit: int = 10_000  # of firings in all, for rules that never undo but always grow
    # What is in work: each node that waits for what became of it, and by which rule.
    _pending: dict[Node, tuple[Node, str]] = field(default_factory=dict)
    _by_op: dict[Op, list[Rule]] = field(default_factory=dict)
    _watch: Watch | None = field(default_factory=_watch.get)

    def settle(self, root: Node) -> Node:
        """`root` rewritten until no rule fires on it or on anything below it; no recursion."""
        stack = [root]
        while stack:
            node = stack[-1]
            if node in self.done:
                stack.pop()
            elif waiting := [x for x in node.operands if x not in self.done]:
                self._push(stack, reversed(waiting))
            else:
                self._step(node, stack)
        return self.done[root]

    def _step(self, node: Node, stack: list[Node]) -> None:
        """All operands are settled: rebuild `node` on them, or fire a rule, or call it settled."""
        if node in self._pending:  # its replacement is settled by now
            self.done[node] = self.done[self._pending.pop(node)[0]]
            return
        target, cause = rebuild(node, tuple(self.done[x] for x in node.operands)), ""
        if target is node:
            target, cause = self._fire(node)
        if target is node or target in self.done:
            self.done[node] = self.done.get(target, node)
        else:
            self._pending[node] = (target, cause)
            self._push(stack, (target,))

    def _push(self, stack: list[Node], nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node in self._pending:
                chain = list(self._pending)
                causes = [self._pending[n][1] for n in chain[chain.index(node) :]]
                names = ", ".join(dict.fromkeys(c for c in causes if c))
                raise SpecError("rewrite", names, f"the rules undo each other at {node}")
            stack.append(node)

    def _fire(self, node: Node) -> tuple[Node, str]:
        for one in self._candidates(node.op):
            new = one.apply(node)
            if new is None or new is node:
                continue
            if new.type != node.type:
                raise SpecError("rewrite", one.name, f"turned {node.type} into {new.type}")
            self.fired[one.name] += 1
            if self._watch is not None:
                self._watch(one.name, node, new)
            if self.fired.total() > self.limit:
                often = ", ".join(f"{name} ({n})" for name, n in self.fired.most_common(3))
                raise SpecError("rewrite", one.name, f"no fixed point; fired most: {often}")
            return new, one.name
        return node, ""

    def _candidates(self, op: Op) -> Sequence[Rule]:
        found = self._by_op.get(op)
        if found is None:
            found = [r for r in self.rules if not r.ops or op in r.ops]
            self._by_op[op] = found
        return found


def rewrite(program: Program, rules: Sequence[Rule]) -> Program:
    """`program` with the rules applied until none fires; the same object if none did."""
    run = Rewriting(rules, limit=10_000 + 20 * len(program.nodes))
    results = tuple(run.settle(r) for r in program.results)
    return program if results == program.results else Program(program.inputs, results)
