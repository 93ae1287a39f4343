"""The decorator that makes a function of tensors a functional: a named, claimable piece of graph
with one or several implementations.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Generic, ParamSpec, TypeVar, cast, get_args, get_type_hints

import numpy as np

from ptir import engine, ops
from ptir.backends import Backend
from ptir.ir import Attrs, Node, Program, SpecError, TensorType, Type, parse_type
from ptir.passes.raise_ import RAISABLE
from ptir.tensor import Tensor, common_backend, is_eager
from ptir.trace import Traced, trace

from . import benchmark
from .benchmark import Array
from .pattern import Pattern
from .registry import (
    DEFAULT,
    IMPLEMENTATIONS,
    Benchmark,
    Default,
    Fingerprint,
    Force,
    FunctionalRegistry,
    Implementation,
    current,
)
from .winners import WINNERS, Call

P = ParamSpec("P")
R = TypeVar("R")
Types = Mapping[str, TensorType]
Sampler = Callable[[Types, np.random.Generator], Mapping[str, Array]]

FUNCTIONALS: dict[str, "Functional[..., Any]"] = {}
GIVEN = "given"
"""The attribute of a composite that names its optional operands, where the functional has any."""


@dataclass(frozen=True)
class Example:
    """A call that a functional takes: the types of its operands and its attributes."""

    types: Types
    attributes: Attrs


@dataclass(frozen=True)
class _Call:
    """One call with tensors: what was passed, and what it comes to."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: Mapping[str, Tensor]
    attributes: Attrs
    types: tuple[tuple[str, TensorType], ...]
    backend: str | None

    def __str__(self) -> str:
        return describe(dict(self.types), self.attributes)


class Functional(Generic[P, R]):
    """A functional: called with tensors it checks them and emits one `composite` node.

    `operands` are the names of its tensor parameters, those in `optional` may be `None`;
    `attributes` are the names of all others.
    """

    __name__: str
    __wrapped__: Callable[P, R]

    def __init__(self, fn: Callable[P, R]) -> None:
        functools.update_wrapper(self, fn)
        self.name = fn.__name__
        self.signature = signature(fn)
        for parameter in self.signature.parameters.values():
            if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
                raise ValueError(f"functional {self.name!r}: *args and **kwargs cannot be traced")
        hints: Mapping[str, Any] = get_type_hints(fn)
        self.hints = hints
        names = tuple(self.signature.parameters)
        self.operands = tuple(n for n in names if _is_operand(hints[n]))
        self.optional = frozenset(n for n in self.operands if hints[n] is not Tensor)
        self.attributes = tuple(n for n in names if n not in self.operands)
        self.pattern = Pattern(self)
        self.implementations = {DEFAULT: Implementation(DEFAULT, fn)}
        self.examples: list[Example] = []
        self._sample: Sampler = lambda types, random: {}
        self._bodies = functools.lru_cache(maxsize=512)(self._body)
        # An implementation that calls its own functional means the functional's own body.
        self._within = FunctionalRegistry({self.name: Default()})

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        tensors = {name: bound.arguments[name] for name in self.operands}
        given = {name: self._tensor(name, t) for name, t in tensors.items() if t is not None}
        attributes = Attrs({name: _static(bound.arguments[name]) for name in self.attributes})
        types = tuple((name, t.type) for name, t in given.items())
        backend = common_backend(self.name, list(given.values()))
        call = _Call(bound.args, bound.kwargs, given, attributes, types, backend)
        chosen = self._choose(call)
        if is_eager():
            with self._within.installed():
                return cast(R, chosen.fn(*bound.args, **bound.kwargs))
        body = self._traced(chosen, call)
        nodes = [t.node for t in given.values()]
        node = self._composite(chosen, tuple(given), attributes, body, nodes)
        return cast(R, body.result.build(list(Tensor(node, backend).unpack())))

    # --- implementations ---

    def implementation(
        self,
        name: str,
        *,
        supports: Callable[..., bool] | None = None,
        needs: str = "",
        exact: bool = True,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Register another way to compute the functional: a function of the same signature.

        `supports(*args, **kwargs)` says from operand types and attributes whether it can serve a
        call, `needs` says in words what it asks for. An implementation that is not `exact` changes
        numbers beyond rounding, and runs only where it is forced. It sees only calls that the
        functional's own body takes, and gives results of the same types.
        """
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"functional {self.name!r}: {name!r} is no name for an implementation")
        if name in self.implementations:
            raise ValueError(f"functional {self.name!r} has two implementations {name!r}")
        if (supports is None) == bool(needs):
            raise ValueError(f"{self.name}.{name}: give `supports` and `needs` together")

        def register(fn: Callable[P, R]) -> Callable[P, R]:
            if _shape_of(fn) != _shape_of(self.implementations[DEFAULT].fn):
                message = f"takes {signature(fn)}, wanted {self.signature}"
                raise ValueError(f"{self.name}: implementation {name!r} {message}")
            self.implementations[name] = Implementation(name, fn, exact, supports, needs)
            return fn

        return register

    def trace(
        self,
        types: Types,
        attributes: Mapping[str, Any],
        name: str = DEFAULT,
        backend: str | None = None,
    ) -> Traced:
        """The body of an implementation on operands of these types, closed over nothing.

        Functionals that it calls follow the registry in force, and are measured on `backend`.
        """
        key = current().fingerprint
        return self._bodies(name, tuple(types.items()), Attrs(attributes), backend, key)

    def _body(
        self,
        name: str,
        types: tuple[tuple[str, TensorType], ...],
        attributes: Attrs,
        backend: str | None,
        fingerprint: Fingerprint,
    ) -> Traced:
        """What `trace` gives; `fingerprint` tells the registries apart that it was traced under."""
        named = dict(types)
        rest = {n: None for n in self.operands if n not in named}

        def body(*tensors: Tensor) -> Any:
            operands = dict(zip(named, tensors, strict=True))
            return self.implementations[name].fn(**operands, **rest, **attributes)

        with self._within.installed():
            traced = trace(body, tuple(named.values()), backend=backend)
        if traced.outside:
            message = "the functional closes over data; pass it as an operand"
            raise SpecError("trace", self.name, message)
        return traced

    def _traced(self, chosen: Implementation, call: _Call) -> Traced:
        types, key = call.types, current().fingerprint
        own = self._bodies(DEFAULT, types, call.attributes, call.backend, key)
        if chosen.name == DEFAULT:
            return own
        made = self._bodies(chosen.name, types, call.attributes, call.backend, key)
        came, wanted = _results(made), _results(own)
        if came != wanted or made.result != own.result:
            message = f"implementation {chosen.name!r} gives {came}, wanted {wanted} for {call}"
            raise SpecError("implementation", self.name, message)
        return made

    def _choose(self, call: _Call) -> Implementation:
        match current().policies.get(self.name):
            case Force(name):
                return self._forced(self.implementations[name], call)
            case Benchmark(cache):
                return self._fastest(call, cache)
        return self.implementations[DEFAULT]

    def _forced(self, chosen: Implementation, call: _Call) -> Implementation:
        if not self._serves(chosen, call):
            message = f"implementation {chosen.name!r} needs {chosen.needs}; {call} came"
            raise SpecError("override", self.name, f"{message}; do not force it here")
        return chosen

    def _serves(self, one: Implementation, call: _Call) -> bool:
        self._traced(self.implementations[DEFAULT], call)  # refuses what no implementation takes
        return one.supports is None or one.supports(*call.args, **call.kwargs)

    # --- measuring ---

    def _fastest(self, call: _Call, cache: int) -> Implementation:
        """The winner among the exact implementations that serve a call, on its backend."""
        serving = [i for i in self.implementations.values() if i.exact and self._serves(i, call)]
        if len(serving) == 1:
            return serving[0]
        backend = engine.backend_of(call.backend)
        known = Call(
            self.name,
            _types_text(dict(call.types)),
            _attributes_text(call.attributes),
            backend.name,
            backend.version,
            repr(backend.fingerprint()),
        )
        names = [i.name for i in serving]
        winner = WINNERS.fetch(known, names, cache, lambda: self._times(serving, call, backend))
        return self.implementations[winner.implementation]

    def _times(
        self, serving: list[Implementation], call: _Call, backend: Backend
    ) -> dict[str, float]:
        symbols = benchmark.representative(dict(call.types))
        types = {name: t.substitute(symbols) for name, t in call.types}
        attributes = call.attributes.substitute(symbols)
        programs = {i.name: self.program(types, attributes, i.name, backend.name) for i in serving}
        operands = self.sample(types, np.random.default_rng(0))
        return benchmark.measure(programs, list(operands.values()), backend)

    def program(
        self,
        types: Types,
        attributes: Mapping[str, Any],
        name: str = DEFAULT,
        backend: str | None = None,
    ) -> Program:
        """One call by an implementation as a program: its inputs are the operands given."""
        body, one = self.trace(types, attributes, name, backend), self.implementations[name]

        def call(*nodes: Node) -> Node:
            return self._composite(one, tuple(types), Attrs(attributes), body, nodes)

        return Program.of(types.values(), call)

    def example(self, **given: Any) -> None:
        """Declare a call that the functional takes, by the types of its operands (as text) and its
        attributes. Kernels that claim the functional are checked on every example; from all of them
        the structures of its body are found that `raise` looks for.
        """
        bound = self.signature.bind(**(dict.fromkeys(self.operands) | given))
        bound.apply_defaults()
        types = {n: _tensor_type(given[n]) for n in self.operands if n in given}
        attributes = Attrs({n: _static(bound.arguments[n]) for n in self.attributes})
        self.examples.append(Example(types, attributes))
        RAISABLE[self.name] = self.pattern = Pattern(self)  # with the structures of this one too

    def sampler(self, sample: Sampler) -> Sampler:
        """Register how operands are made that are not just normal numbers or zeros, by name."""
        self._sample = sample
        return sample

    def sample(self, types: Types, random: np.random.Generator) -> dict[str, Array]:
        """Operands of these types that the functional takes."""
        made = {n: benchmark.random_array(t, random) for n, t in types.items()}
        for name, array in self._sample(types, random).items():
            if name in types:
                made[name] = array.astype(types[name].dtype.numpy)
                benchmark.refuse_shape(self.name, name, made[name], types[name])
        return made

    # --- emitting ---

    def _tensor(self, name: str, value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            raise SpecError(
                "operand",
                self.name,
                f"{name} is {type(value).__name__}, wanted a Tensor; use ptir.as_tensor(…)",
            )
        return value

    def _composite(
        self,
        one: Implementation,
        given: tuple[str, ...],
        attributes: Attrs,
        body: Traced,
        nodes: "list[Node] | tuple[Node, ...]",
    ) -> Node:
        """The node of a call. A backend's claim of the functional must not swallow an alternative
        that was asked for, so that one has a name of its own.
        """
        shown = dict(attributes)
        if self.optional:
            shown[GIVEN] = tuple(n for n in given if n in self.optional)
        name = self.name if one.name == DEFAULT else f"{self.name}.{one.name}"
        made: Node = ops.composite(*nodes, name=name, attributes=shown, body=body.program)
        return made

    def __repr__(self) -> str:
        return f"<functional {self.name}{self.signature}>"


def functional(fn: Callable[P, R]) -> Functional[P, R]:
    """Make `fn` a functional: called with tensors it checks them and emits one `composite` node.

    Parameters annotated `Tensor` (or `Tensor | None`, for optional ones) are operands; all others
    are attributes: ints, floats, bools, strings, dtypes, `None`, or flat tuples of them. The body
    is traced once for each combination of operand types and attributes. With `PTIR_EAGER=1` the
    body simply runs.
    """
    if fn.__name__ in FUNCTIONALS:
        raise ValueError(f"functional {fn.__name__!r} is declared twice")
    made = Functional(fn)
    FUNCTIONALS[made.name] = made
    IMPLEMENTATIONS[made.name] = made.implementations
    return made


def describe(types: Types, attributes: Mapping[str, Any]) -> str:
    """A call in words: `x f32[3, 5], gamma f32[5], eps=1e-06`."""
    return ", ".join(filter(None, (_types_text(types), _attributes_text(attributes))))


def _types_text(types: Types) -> str:
    return ", ".join(f"{name} {type}" for name, type in types.items())


def _attributes_text(attributes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in attributes.items())


def _tensor_type(text: str) -> TensorType:
    found = parse_type(text)
    if not isinstance(found, TensorType):
        raise SpecError("type", "example", f"{text!r} is no tensor")
    return found


def _results(traced: Traced) -> str:
    types: list[Type] = [r.type for r in traced.program.results]
    return ", ".join(map(str, types))


def _shape_of(fn: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """What a caller may rely on: names, kinds and defaults of the parameters."""
    return [(p.name, p.kind, p.default) for p in signature(fn).parameters.values()]


def _is_operand(hint: Any) -> bool:
    return hint is Tensor or Tensor in get_args(hint)


def _static(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
