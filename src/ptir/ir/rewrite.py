"""Rewriting: named rules, and one driver that applies them bottom-up until none fires. Knows no
rule.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .error import SpecError
from .node import Node, rebuild
from .op import Op
from .pattern import Call, Pattern
from .program import Program

Replace = Callable[..., Node | None]


@dataclass(frozen=True)
class Rule:
    """A named replacement: where it may fire (`ops`; none named: anywhere) and what it puts there.

    `apply` gets a node whose operands are rewritten already and returns its replacement, of the
    same type, or `None`.
    """

    name: str
    apply: Callable[[Node], Node | None]
    ops: frozenset[Op] = frozenset()


def rule(*where: Op | Pattern) -> Callable[[Replace], Rule]:
    """Make a function a rule.

    `@rule(ops.cast, ops.reshape)`: the function gets each node of these ops. `@rule(pattern)`: it
    gets what the pattern's wildcards and attribute variables found, by keyword.
    """

    def decorate(replace: Replace) -> Rule:
        first = where[0] if where else None
        if isinstance(first, Pattern):
            roots = frozenset({first.op}) if isinstance(first, Call) else frozenset[Op]()
            return Rule(replace.__name__, _matching(first, replace), roots)
        return Rule(replace.__name__, replace, frozenset(o for o in where if isinstance(o, Op)))

    return decorate


def _matching(pattern: Pattern, replace: Replace) -> Callable[[Node], Node | None]:
    def apply(node: Node) -> Node | None:
        found = pattern.match(node)
        return None if found is None else replace(**found.nodes, **found.attrs)

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
