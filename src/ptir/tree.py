"""Nested structures of values: taken apart into leaves and put together again. Knows no tensor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

Rebuild = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Shape:
    """What a structure looks like without its leaves. Equal structures compare equal."""

    kind: Any  # a container type, or `Leaf`
    names: tuple[str, ...] = ()
    parts: tuple["Shape", ...] = ()
    static: Any = None

    def build(self, leaves: list[Any]) -> Any:
        """The structure with `leaves` (consumed from the front) in their places."""
        if self.kind is LEAF:
            return leaves.pop(0)
        if self.kind is STATIC:
            return self.static.value
        parts = [p.build(leaves) for p in self.parts]
        if self.kind in (list, tuple):
            return self.kind(parts)
        if self.names:  # a dict or a dataclass
            return self.kind(**dict(zip(self.names, parts, strict=True)))
        return self.kind(*parts)  # a named tuple


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


LEAF, STATIC = _Mark("LEAF"), _Mark("STATIC")
_LEAF = Shape(LEAF)


def flatten(value: Any, is_leaf: Callable[[Any], bool]) -> tuple[list[Any], Shape]:
    """The leaves of lists, tuples, dicts, named tuples and dataclasses, in order, and the shape.

    What is neither a leaf nor a container is static: part of the shape, compared by `==`.
    """
    leaves: list[Any] = []
    return leaves, _shape(value, is_leaf, leaves)


def _shape(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Shape:
    if is_leaf(value):
        leaves.append(value)
        return _LEAF
    if isinstance(value, (list, tuple)):
        return Shape(type(value), (), tuple(_shape(v, is_leaf, leaves) for v in value))
    if isinstance(value, Mapping):
        items = tuple(_shape(v, is_leaf, leaves) for v in value.values())
        return Shape(dict, tuple(value), items)
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(f.name for f in fields(value) if f.init)
        parts = tuple(_shape(getattr(value, n), is_leaf, leaves) for n in names)
        return Shape(type(value), names, parts)
    return Shape(STATIC, static=_Typed(type(value), value))


@dataclass(frozen=True)
class _Typed:
    """Tells `1` from `True` and `1.0` when shapes are compared."""

    kind: type
    value: Any
