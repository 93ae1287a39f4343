"""An op is its whole meaning in one value: attributes, type rule, NumPy reference,
decomposition.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, TypeVar, overload

from .attr import Attr, Attrs, canonical
from .error import SpecError
from .type import Type

OPS: dict[str, "Op"] = {}

V = TypeVar("V", bound="Value")


class Value(ABC):
    """What an op can be called on: a node, a tensor or a pattern. The operand decides what is
    built.
    """

    __slots__ = ()

    @abstractmethod
    def emit(self: V, op: "Op", operands: Sequence[Any], attrs: Mapping[str, Any]) -> V:
        """`op` applied to `operands` (at least one of which is `self`), in this kind of graph."""


class Op:
    """One op of PTIR.

    `infer(*types, **attrs) -> Type` is the type rule; it raises `SpecError`. `reference(*arrays,
    **attrs)` is the NumPy meaning, with a tuple for several results. `decompose(*nodes, **attrs) ->
    Node` writes the op with simpler ones. `commutative`: the first two operands may change places.
    `rearranges`: every result element is an element of operand 0, so a uniform operand stays
    uniform.
    """

    __slots__ = (
        "arity", "attrs", "commutative", "decompose", "doc", "infer", "name", "rearranges",
        "reference",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        infer: Callable[..., Type],
        attrs: Mapping[str, Attr] | None = None,
        reference: Callable[..., Any] | None = None,
        decompose: Callable[..., Any] | None = None,
        commutative: bool = False,
        rearranges: bool = False,
        doc: str = "",
    ) -> None:
        if name in OPS:
            raise ValueError(f"op {name!r} is declared twice")
        self.name = name
        self.infer = infer
        self.attrs = dict(attrs or {})
        self.reference = reference
        self.decompose = decompose
        self.commutative = commutative
        self.rearranges = rearranges
        self.doc = doc
        self.arity = _arity(infer)
        OPS[name] = self

    @overload
    def __call__(self, first: V, /, *rest: Any, **attrs: Any) -> V: ...

    @overload
    def __call__(self, /, *operands: Any, **attrs: Any) -> Any: ...

    def __call__(self, /, *operands: Any, **attrs: Any) -> Any:
        """Build a node, tensor or pattern: what the operands are (a node where there are none)."""
        for operand in operands:
            if isinstance(operand, Value):
                return operand.emit(self, operands, attrs)
        if operands:
            raise SpecError(
                "operand",
                self.name,
                f"{operands[0]!r} is no tensor; wrap data in ptir.as_tensor(…)",
            )
        return BUILD[0](self, (), attrs)

    def canonical(self, types: Sequence[Type], given: Mapping[str, Any]) -> Attrs:
        """The attributes of a call on operands of these types, checked and complete."""
        least, most = self.arity
        if not least <= len(types) <= (most if most is not None else len(types)):
            wanted = f"{least}" if least == most else f"{least} to {most if most else 'many'}"
            raise SpecError("arity", self.name, f"{len(types)} operands came, wanted {wanted}")
        return canonical(self.name, self.attrs, given, types)

    def __reduce__(self) -> tuple[Any, ...]:
        return OPS.__getitem__, (self.name,)

    def __repr__(self) -> str:
        return self.name


# Filled by `node`: how an op without operands becomes a node (the two concepts need each other).
BUILD: list[Callable[[Op, tuple[()], Mapping[str, Any]], Any]] = []


def _arity(infer: Callable[..., Type]) -> tuple[int, int | None]:
    parameters = signature(infer).parameters.values()
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    least = sum(p.default is Parameter.empty for p in plain)
    return least, None if variadic else len(plain)
