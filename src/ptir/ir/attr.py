"""Attributes: an op's static operands. What kinds there are, how each is normalised and
compared.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dim import Dim, Size, Symbolic
from .dtype import DType, dtype
from .error import SpecError, nearest
from .literal import Literal
from .type import TensorType, Type

REQUIRED: Any = object()
DERIVED: Any = object()


class Attrs(Mapping[str, Any], Symbolic):
    """An immutable, hashable mapping. Equality is exact: `1`, `True` and `1.0` all differ, as do
    zeros.
    """

    __slots__ = ("_hash", "_items", "_key")

    def __init__(self, items: Mapping[str, Any] = {}) -> None:
        self._items = dict(sorted(items.items())) if len(items) > 1 else dict(items)
        self._key = tuple((name, _exact(value)) for name, value in self._items.items())
        self._hash = hash(self._key)

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attrs) and self._key == other._key

    def __repr__(self) -> str:
        return f"Attrs({self._items})"

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset().union(*map(_symbols, self._items.values()))

    def substitute(self, bindings: Mapping[str, Size]) -> "Attrs":
        """The same attributes with symbolic sizes replaced, in regions too."""
        return Attrs({name: _substitute(value, bindings) for name, value in self._items.items()})


def same(a: Any, b: Any) -> bool:
    """Whether two attribute values are equal as `Attrs` compares them."""
    return bool(_exact(a) == _exact(b))


def _exact(value: Any) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return (bool, bool(value))
    if isinstance(value, float):
        return (float, float(value).hex())  # tells -0.0 from 0.0, and NaN from nothing
    if isinstance(value, tuple):
        return tuple(map(_exact, value))
    return value


def _symbols(value: Any) -> frozenset[str]:
    if isinstance(value, Symbolic):
        return value.symbols
    return frozenset().union(*map(_symbols, value)) if isinstance(value, tuple) else frozenset()


def _substitute(value: Any, bindings: Mapping[str, Size]) -> Any:
    if isinstance(value, Symbolic):
        return value.substitute(bindings)
    if isinstance(value, tuple):
        return tuple(_substitute(v, bindings) for v in value)
    return value


Normalize = Callable[[Any, Sequence[Type]], Any]


@dataclass(frozen=True, slots=True)
class Attr:
    """One attribute of an op: what it may be (in words) and how a caller's value becomes canonical.

    `normalize(value, operand_types)` returns the canonical value or raises `TypeError`/`ValueError`
    with what is wrong; `default` is canonical already (`REQUIRED`: there is none; `DERIVED`:
    `normalize` finds it).
    """

    describe: str
    normalize: Normalize
    default: Any = REQUIRED

    def optional(self) -> "Attr":
        """The same attribute, or `None` when it is not given."""
        inner = self.normalize
        return Attr(
            f"{self.describe}, optional",
            lambda value, types: None if value is None else inner(value, types),
            None,
        )

    def derived(self, default: Callable[[Sequence[Type]], Any]) -> "Attr":
        """The same attribute with a default that depends on the operand types."""
        inner = self.normalize

        def normalize(value: Any, types: Sequence[Type]) -> Any:
            return inner(default(types) if value is DERIVED else value, types)

        return Attr(self.describe, normalize, DERIVED)


def canonical(
    op: str, spec: Mapping[str, Attr], given: Mapping[str, Any], types: Sequence[Type]
) -> Attrs:
    """The attributes of one op call, checked, normalised and with defaults filled in."""
    for name in given:
        if name not in spec:
            known = nearest(name, spec) or "; it takes none"
            raise SpecError("attribute", op, f"unknown attribute {name!r}{known}")
    values = {}
    for name, attr in spec.items():
        value = given.get(name, attr.default)
        if value is REQUIRED:
            raise SpecError("attribute", op, f"attribute {name!r} ({attr.describe}) is missing")
        if value is DERIVED or value is not attr.default:
            try:
                value = attr.normalize(value, types)
            except SpecError as error:  # of a dtype or a shape, which do not know the op
                raise SpecError(error.code, op, f"{name}: {error.message}") from None
            except (TypeError, ValueError, OverflowError) as error:
                raise SpecError("attribute", op, f"{name}={value!r}: {error}") from None
        values[name] = value
    return Attrs(values)


def integer(default: Any = REQUIRED, *, minimum: int | None = None) -> Attr:
    def normalize(value: Any, types: Sequence[Type]) -> int:
        return _int(value, minimum)

    return Attr("int" if minimum is None else f"int ≥ {minimum}", normalize, default)


def number(default: Any = REQUIRED) -> Attr:
    return Attr("float", lambda value, types: float(value), default)


def flag(default: Any = REQUIRED) -> Attr:
    def normalize(value: Any, types: Sequence[Type]) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError("wanted True or False")
        return bool(value)

    return Attr("bool", normalize, default)


def string(default: Any = REQUIRED) -> Attr:
    def normalize(value: Any, types: Sequence[Type]) -> str:
        if not isinstance(value, str):
            raise TypeError("wanted a string")
        return value

    return Attr("string", normalize, default)


def choice(*names: str, default: Any = REQUIRED) -> Attr:
    def normalize(value: Any, types: Sequence[Type]) -> str:
        if value not in names:
            raise ValueError(f"wanted one of {', '.join(names)}")
        return str(value)

    return Attr("one of " + ", ".join(names), normalize, default)


def axis(default: Any = REQUIRED, *, of: int = 0) -> Attr:
    """An axis of operand `of`; negative counts from the end."""

    def normalize(value: Any, types: Sequence[Type]) -> int:
        return normal_axis(value, _tensor(types, of).rank)

    return Attr("axis", normalize, default)


def axes(default: Any = REQUIRED, *, of: int = 0, ordered: bool = False) -> Attr:
    """Distinct axes of operand `of`, sorted unless `ordered`; an int stands for one axis."""

    def normalize(value: Any, types: Sequence[Type]) -> tuple[int, ...]:
        rank = _tensor(types, of).rank
        given = value if isinstance(value, (tuple, list, range)) else (value,)
        found = tuple(normal_axis(v, rank) for v in given)
        if len(set(found)) != len(found):
            raise ValueError("an axis is named twice")
        return found if ordered else tuple(sorted(found))

    return Attr("axes", normalize, default)


def integers(default: Any = REQUIRED, *, minimum: int | None = None) -> Attr:
    def normalize(value: Any, types: Sequence[Type]) -> tuple[int, ...]:
        return tuple(_int(v, minimum) for v in value)

    return Attr("ints" if minimum is None else f"ints ≥ {minimum}", normalize, default)


def size(default: Any = REQUIRED) -> Attr:
    """One size, an int or a `Dim`."""
    return Attr("size", lambda v, types: v if isinstance(v, Dim) else _int(v, 0), default)


def sizes(default: Any = REQUIRED) -> Attr:
    """A tuple of sizes, each an int or a `Dim`; the op's type rule says which are allowed."""

    def normalize(value: Any, types: Sequence[Type]) -> tuple[Size, ...]:
        return tuple(v if isinstance(v, Dim) else _int(v, None) for v in value)

    return Attr("sizes", normalize, default)


def pairs(default: Any = REQUIRED, *, minimum: int | None = None) -> Attr:
    def normalize(value: Any, types: Sequence[Type]) -> tuple[tuple[int, int], ...]:
        return tuple((_int(low, minimum), _int(high, minimum)) for low, high in value)

    return Attr("(low, high) pairs", normalize, default)


def element(default: Any = REQUIRED) -> Attr:
    return Attr("dtype", lambda value, types: dtype(value), default)


def scalar(default: Any = REQUIRED, *, of: int = 0) -> Attr:
    """A rank-0 `Literal` in the dtype of operand `of`; Python numbers are converted exactly or
    refused.
    """

    def normalize(value: Any, types: Sequence[Type]) -> Literal:
        want = _tensor(types, of).dtype
        literal = value if isinstance(value, Literal) else Literal(value, want)
        if literal.type != TensorType((), want):
            raise ValueError(f"wanted a scalar of {want}")
        return literal

    return Attr("scalar", normalize, default)


def literal() -> Attr:
    return Attr("literal", lambda value, types: _instance(value, Literal))


def typed() -> Attr:
    return Attr("type", lambda value, types: _instance(value, Type))


def free() -> Attr:
    """A mapping of names to ints, floats, bools, strings and flat lists of them."""

    def normalize(value: Any, types: Sequence[Type]) -> Attrs:
        _instance(value, Mapping)
        return Attrs({_instance(k, str): _free_value(v) for k, v in value.items()})

    return Attr("attributes", normalize, Attrs())


def normal_axis(value: Any, rank: int) -> int:
    index = _int(value, None)
    if not -rank <= index < rank:
        raise ValueError(f"axis {index} is out of range for rank {rank}")
    return index % rank


def _free_value(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_free_value(v) for v in value)
    for kind in (bool, int, float, str):  # a subclass (`np.float64`, an enum) as what it stands for
        if isinstance(value, kind):
            return kind(value)
    if value is None or isinstance(value, (DType, Dim)):
        return value
    raise TypeError(f"{value!r} is not an int, float, bool, string, dtype or flat list of them")


def _int(value: Any, minimum: int | None) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("wanted an int, not a bool")
    found = operator.index(value)
    if minimum is not None and found < minimum:
        raise ValueError(f"wanted at least {minimum}")
    return found


def _instance(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"wanted {kind}")
    return value


def _tensor(types: Sequence[Type], of: int) -> TensorType:
    if of >= len(types):
        raise ValueError(f"needs operand {of}")
    found = types[of]
    if not isinstance(found, TensorType):
        raise TypeError(f"operand {of} is a tuple, wanted a tensor")
    return found
