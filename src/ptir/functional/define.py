"""The decorator that makes a function of tensors a functional: a named, claimable piece of
graph.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, Signature, signature
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_type_hints

from ptir import config, ops
from ptir.ir import Attrs, SpecError, TensorType
from ptir.tensor import Tensor, common_backend
from ptir.trace import Traced, trace

P = ParamSpec("P")
R = TypeVar("R")

FUNCTIONALS: dict[str, "Functional"] = {}
GIVEN = "given"
"""The attribute of a composite that names its optional operands, where the functional has any."""


@dataclass(frozen=True)
class Functional:
    """A functional: its function, the names of its tensor parameters and of its attributes."""

    name: str
    fn: Callable[..., Any]
    operands: tuple[str, ...]
    optional: frozenset[str]
    attributes: tuple[str, ...]
    signature: Signature
    bodies: "functools._lru_cache_wrapper[Traced]" = field(repr=False, compare=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        tensors = {name: bound.arguments[name] for name in self.operands}
        given = {name: self._tensor(name, t) for name, t in tensors.items() if t is not None}
        if config.current().eager:
            return self.fn(*bound.args, **bound.kwargs)
        attributes = Attrs({name: _static(bound.arguments[name]) for name in self.attributes})
        types = tuple((name, t.type) for name, t in given.items())
        body = self.bodies(types, attributes)
        return self._emit(body, given, attributes)

    def trace(self, types: Mapping[str, TensorType], attributes: Mapping[str, Any]) -> Traced:
        """The body on operands of these types, closed over nothing."""
        rest = {name: None for name in self.operands if name not in types}

        def body(*tensors: Tensor) -> Any:
            return self.fn(**dict(zip(types, tensors, strict=True)), **rest, **attributes)

        traced = trace(body, tuple(types.values()))
        if traced.outside:
            raise SpecError(
                "trace", self.name, "the functional closes over data; pass it as an operand"
            )
        return traced

    def _tensor(self, name: str, value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            raise SpecError(
                "operand",
                self.name,
                f"{name} is {type(value).__name__}, wanted a Tensor; use ptir.tensor(…)",
            )
        return value

    def _emit(self, body: Traced, given: Mapping[str, Tensor], attributes: Attrs) -> Any:
        shown = dict(attributes)
        if self.optional:
            shown[GIVEN] = tuple(n for n in given if n in self.optional)
        node = ops.composite(
            *(t.node for t in given.values()),
            name=self.name,
            attributes=shown,
            body=body.program,
        )
        made = Tensor(node, common_backend(self.name, list(given.values())))
        return body.result.build(list(made.unpack()))


def functional(fn: Callable[P, R]) -> Callable[P, R]:
    """Make `fn` a functional: called with tensors it checks them and emits one `composite` node.

    Parameters annotated `Tensor` (or `Tensor | None`, for optional ones) are operands; all others
    are attributes: ints, floats, bools, strings, dtypes, `None`, or flat tuples of them. The body
    is traced once for each combination of operand types and attributes. With `PTIR_EAGER=1` the
    body simply runs.
    """
    name = fn.__name__
    if name in FUNCTIONALS:
        raise ValueError(f"functional {name!r} is declared twice")
    spec = signature(fn)
    hints = get_type_hints(fn)
    operands = tuple(n for n in spec.parameters if _is_operand(hints[n]))
    optional = frozenset(n for n in operands if hints[n] is not Tensor)
    attributes = tuple(n for n in spec.parameters if n not in operands)
    made: Functional

    @functools.lru_cache(maxsize=512)
    def bodies(types: tuple[tuple[str, TensorType], ...], attributes: Attrs) -> Traced:
        return made.trace(dict(types), attributes)

    made = Functional(name, fn, operands, optional, attributes, spec, bodies)
    FUNCTIONALS[name] = made
    for parameter in spec.parameters.values():
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise ValueError(f"functional {name!r}: *args and **kwargs cannot be traced")

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, made(*args, **kwargs))

    return call


def _is_operand(hint: Any) -> bool:
    return hint is Tensor or Tensor in get_args(hint)


def _static(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
