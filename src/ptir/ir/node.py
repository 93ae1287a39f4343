"""The graph: immutable, interned nodes. Equal nodes are one object, so common subexpressions cost
nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from enum import StrEnum
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary, ref

from . import attr
from .attr import Attrs
from .error import SpecError
from .literal import Literal
from .op import BUILD, Op, Value
from .type import Type


class Role(StrEnum):
    """What a program input is: data of one call, a parameter known by name, or donated state."""

    ARGUMENT = "argument"
    PARAMETER = "parameter"
    STATE = "state"


class Source(ABC):
    """Data that a lazy graph stands on: known by identity, loaded only when a program runs."""

    type: Type
    role: Role = Role.ARGUMENT
    name: str | None = None
    node: "ref[Node] | None" = None  # its leaf, while somebody has it

    @abstractmethod
    def load(self) -> Any:
        """The data as a NumPy array of `type`."""


class Node(Value):
    """One value of a program: an op applied to nodes. Build with an op call; compare with `is`."""

    __slots__ = ("__weakref__", "attrs", "op", "operands", "type")

    op: Op
    operands: tuple["Node", ...]
    attrs: Attrs
    type: Type

    def emit(self, op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> "Node":
        for operand in operands:
            if not isinstance(operand, Node):
                raise SpecError(
                    "operand", op.name, f"operand {operand!r} is no node; write a constant node"
                )
        return make(op, tuple(operands), attrs)

    def __repr__(self) -> str:
        return f"<{self.op.name}: {self.type}>"


_interned: WeakValueDictionary[Any, Node] = WeakValueDictionary()
_lock = Lock()


def make(op: Op, operands: tuple[Node, ...] = (), attrs: Mapping[str, Any] | None = None) -> Node:
    """The node of a checked op call; raises `SpecError` if the op's rule refuses it."""
    types = [x.type for x in operands]
    known = op.canonical(types, attrs or {})
    key = (op, operands, known)
    found = _interned.get(key)
    return found if found is not None else _intern(key, op.infer(*types, **known))


def rebuild(node: Node, operands: tuple[Node, ...]) -> Node:
    """`node` on other operands: checked again only where an operand's type has changed."""
    if all(new is old for new, old in zip(operands, node.operands, strict=True)):
        return node
    if any(new.type != old.type for new, old in zip(operands, node.operands, strict=True)):
        return make(node.op, operands, node.attrs)
    key = (node.op, operands, node.attrs)
    found = _interned.get(key)
    return found if found is not None else _intern(key, node.type)


def _intern(key: tuple[Op, tuple[Node, ...], Attrs], type: Type) -> Node:
    node = _new(*key, type)
    with _lock:
        return _interned.setdefault(key, node)


def _new(op: Op, operands: tuple[Node, ...], attrs: Attrs, type: Type) -> Node:
    node = object.__new__(Node)
    node.op, node.operands, node.attrs, node.type = op, operands, attrs, type
    return node


BUILD.append(make)


def _source_type(*, source: Source) -> Type:
    return source.type


def _declared(*, slot: int, type: Type) -> Type:
    return type


def _source(value: Any, types: Sequence[Type]) -> Source:
    if not isinstance(value, Source):
        raise TypeError("wanted a Source")
    return value


LEAF = Op("leaf", infer=_source_type, attrs={"source": attr.Attr("source", _source)})
PARAM = Op("param", infer=_declared, attrs={"slot": attr.integer(minimum=0), "type": attr.typed()})
CONSTANT = Op(
    "constant",
    infer=lambda *, value: value.type,
    attrs={"value": attr.literal()},
    reference=lambda *, value: value.array,
    doc="A value known when the program is written, compared by bytes. Never a weight.",
)


def leaf(source: Source) -> Node:
    """A value that lies outside of the graph, known by the identity of its source."""
    with _lock:
        found = source.node() if source.node else None
        if found is None:
            found = _new(LEAF, (), Attrs({"source": source}), source.type)
            source.node = ref(found)
        return found


def param(slot: int, type: Type) -> Node:
    """Input `slot` of a program."""
    return make(PARAM, (), {"slot": slot, "type": type})


def constant(value: Any, dtype: Any = None) -> Node:
    """A literal in the graph: a number or an array, compared by its bytes."""
    literal = value if isinstance(value, Literal) else Literal(value, dtype)
    return make(CONSTANT, (), {"value": literal})


def postorder(*roots: Node, skip: Container[Node] = ()) -> Iterator[Node]:
    """Operands before users, each node once, left to right, no recursion; does not enter `skip`."""
    seen: set[Node] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if node in seen or node in skip:
            continue
        if ready or not node.operands:
            seen.add(node)
            yield node
        else:
            stack.append((node, True))
            stack.extend((x, False) for x in reversed(node.operands) if x not in seen)


def transform(roots: Sequence[Node], change: Callable[[Node], Node | None]) -> tuple[Node, ...]:
    """Rebuild a graph bottom-up: `change` names a node's replacement, or `None` to rebuild it as it
    is.
    """
    done: dict[Node, Node] = {}
    for node in postorder(*roots):
        new = change(node)
        done[node] = rebuild(node, tuple(done[x] for x in node.operands)) if new is None else new
    return tuple(done[root] for root in roots)
