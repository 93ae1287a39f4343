"""Nested structures of values: taken apart into leaves and put together again. Knows no tensor."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from ptir.ir import SpecError


@dataclass(frozen=True)
class Shape:
    """What a structure looks like without its leaves. Equal structures compare equal."""

    kind: Any  # a container type, or `Leaf`
    names: tuple[Any, ...] = ()
    parts: tuple["Shape", ...] = ()
    static: Any = None

    def build(self, leaves: Iterable[Any]) -> Any:
        """The structure with `leaves` in their places."""
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is LEAF:
            return next(leaves)
        if self.kind is STATIC:
            return self.static.value
        parts = [p._build(leaves) for p in self.parts]
        if self.kind in (list, tuple):
            return self.kind(parts)
        if self.kind is dict:
            return dict(zip(self.names, parts, strict=True))
        if self.names:  # a dataclass
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

    What is neither a leaf nor a container is static: part of the shape, compared exactly: `1`,
    `True` and `1.0` differ, as do zeros of either sign. Raises `SpecError` if it has no hash.
    """
    leaves: list[Any] = []
    return leaves, _shape(value, is_leaf, leaves)


def _shape(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any]) -> Shape:
    if is_leaf(value):
        leaves.append(value)
        return _LEAF
    if isinstance(value, list):
        return Shape(list, (), tuple(_shape(v, is_leaf, leaves) for v in value))
    if isinstance(value, tuple):
        return Shape(type(value), (), tuple(_shape(v, is_leaf, leaves) for v in value))
    if isinstance(value, Mapping):
        items = tuple(_shape(v, is_leaf, leaves) for v in value.values())
        return Shape(dict, tuple(value), items)
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(f.name for f in fields(value) if f.init)
        parts = tuple(_shape(getattr(value, n), is_leaf, leaves) for n in names)
        return Shape(type(value), names, parts)
    return Shape(STATIC, static=_Static(value))


class _Static:
    """A value that compares by type and exactly, so that it can be part of a key."""

    __slots__ = ("_hash", "_key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._key = (type(value), value.hex() if isinstance(value, float) else value)
        try:
            self._hash = hash(self._key)
        except TypeError:
            raise SpecError(
                "static", type(value).__name__, f"{value!r} is neither a tensor nor hashable"
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash
