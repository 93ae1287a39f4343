"""Comparing and choosing: constant predicates, equal branches, pairs of comparisons."""

from ptir import ops
from ptir.ir import Node, Variable, Wildcard, dtype, rule

from .facts import element, filled, is_exact

p, x, y, z = (Wildcard(name) for name in "pxyz")
b = Wildcard("b", dtype("i1"))
exact = Wildcard("x", where=is_exact)
op, first, second = Variable("op"), Variable("first"), Variable("second")

# A comparison as the outcomes (less, equal, greater) for which it is true; without NaN.
_TRUE = {"lt": "l", "le": "le", "eq": "e", "ge": "eg", "gt": "g", "ne": "lg"}
_NAME = {frozenset(outcomes): name for name, outcomes in _TRUE.items()}
_SWAPPED = {"lt": "gt", "le": "ge", "eq": "eq", "ge": "le", "gt": "lt", "ne": "ne"}


@rule(ops.select(p, x, x))
def select_of_equals(p: Node, x: Node) -> Node:
    return x


@rule(ops.select(True, x, y))
def select_of_true(x: Node, y: Node) -> Node:
    return x


@rule(ops.select(False, x, y))
def select_of_false(x: Node, y: Node) -> Node:
    return y


@rule(ops.select(ops.not_(p), x, y))
def select_of_not(p: Node, x: Node, y: Node) -> Node:
    return ops.select(p, y, x)


@rule(ops.select(p, ops.select(p, x, y), z), ops.select(p, x, ops.select(p, y, z)))
def select_of_select(root: Node, p: Node, x: Node, y: Node, z: Node) -> Node:
    """Under its own predicate a choice is made already."""
    return ops.select(p, x, z)


@rule(ops.select(p, True, False))
def select_of_truth(root: Node, p: Node) -> Node | None:
    return p if element(root) is dtype("i1") else None


@rule(ops.select(p, False, True))
def select_of_opposites(root: Node, p: Node) -> Node | None:
    return ops.not_(p) if element(root) is dtype("i1") else None


@rule(ops.compare(x, x, op=op))
def compare_with_itself(root: Node, x: Node, op: str) -> Node | None:
    """NaN is not equal to itself; less or greater nothing is."""
    if op in ("lt", "gt"):
        return filled(False, root)
    return filled(op != "ne", root) if is_exact(x) else None


@rule(ops.compare(b, True, op="eq"), ops.compare(b, False, op="ne"), ops.compare(b, False, op="gt"))
def is_true(b: Node) -> Node:
    return b


@rule(ops.compare(b, False, op="eq"), ops.compare(b, True, op="ne"), ops.compare(b, True, op="lt"))
def is_false(b: Node) -> Node:
    return ops.not_(b)


@rule(ops.not_(ops.compare(x, y, op=op)))
def not_of_compare(x: Node, y: Node, op: str) -> Node | None:
    """With NaN, only eq and ne are each other's negation."""
    if not (is_exact(x) or op in ("eq", "ne")):
        return None
    return ops.compare(x, y, op=_NAME[frozenset("leg") - frozenset(_TRUE[op])])


@rule(
    *(
        combine(ops.compare(x, y, op=first), ops.compare(*pair, op=second))
        for combine in (ops.and_, ops.or_)
        for pair in ((x, y), (y, x))
    )
)
def compare_pair(root: Node, x: Node, y: Node, first: str, second: str) -> Node | None:
    """Two comparisons of the same two values are one, or have one answer."""
    if root.operands[0].operands != root.operands[1].operands:
        second = _SWAPPED[second]
    one, other = frozenset(_TRUE[first]), frozenset(_TRUE[second])
    both = one & other if root.op is ops.and_ else one | other
    if not is_exact(x):  # for a NaN, all are false but ne, which must not go or come
        nan = [first == "ne", second == "ne"]
        holds = all(nan) if root.op is ops.and_ else any(nan)
        if holds != (_NAME.get(both) == "ne") or len(both) == 3:
            return None
    if both in _NAME:
        return ops.compare(*root.operands[0].operands, op=_NAME[both])
    return filled(bool(both), root)


@rule(ops.minimum(ops.maximum(exact, y), y), ops.maximum(ops.minimum(exact, y), y))
def absorbed(x: Node, y: Node) -> Node:
    """A NaN in x would not be absorbed."""
    return y


RULES = (
    select_of_equals,
    select_of_true,
    select_of_false,
    select_of_not,
    select_of_select,
    select_of_truth,
    select_of_opposites,
    compare_with_itself,
    is_true,
    is_false,
    not_of_compare,
    compare_pair,
    absorbed,
)
