"""Rules reach into loop bodies and branches. Knows no rule."""

from collections.abc import Sequence

from ptir import ops
from ptir.ir import Node, Program, Rule, make, rewrite

CONTROL = frozenset((ops.cond, ops.while_, ops.scan))


def within(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules, and one that applies them to the regions of control-flow ops.

    A composite's body is left alone: it is what the composite means, and runs only when expanded.
    """

    done: dict[Program, Program] = {}  # a region that many share is rewritten once

    def body(region: Program) -> Program:
        if region not in done:
            after = done[region] = rewrite(region, everywhere)
            done[after] = after
        return done[region]

    def bodies(node: Node) -> Node | None:
        changed = {
            name: body(region) for name, region in node.attrs.items() if isinstance(region, Program)
        }
        if all(changed[name] is node.attrs[name] for name in changed):
            return None
        return make(node.op, node.operands, {**node.attrs, **changed})

    everywhere = (*rules, Rule("bodies", bodies, CONTROL))
    return everywhere
