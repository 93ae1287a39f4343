"""`ptir.compile`: a function bound to one executable, replayed without capturing it again."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature, signature
from threading import RLock
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from ptir import config, engine, functional
from ptir.backends import Backend, Handle
from ptir.engine import Computed, Data, Held, Plan
from ptir.ir import (
    LEAF,
    Dim,
    Node,
    Role,
    SpecError,
    TensorType,
    TupleType,
    bind,
    leaf,
    postorder,
    type_of,
)
from ptir.tensor import Tensor, lift, owned, realize
from ptir.trace import Traced, trace, with_parameters
from ptir.tree import Shape, flatten

P = ParamSpec("P")
R = TypeVar("R")
Axes = Mapping[int, str]

KEPT_SHAPES = 64  # of one symbolic program: the result types of lengths that come back


@dataclass(eq=False)
class _Bound:
    """One traced program on its plan, with the handles that every call shares."""

    plan: Plan
    traced: Traced
    types: tuple[TensorType, ...]  # of the arguments, symbolic where the caller said so
    owners: Mapping[int, Held]  # parameters and other outer values, by input of the program
    states: tuple[int, ...]
    symbolic: bool
    replacements: int  # of parameters, when the owners were last seen to be fresh
    results: dict[Any, tuple[TensorType, ...]] = field(default_factory=dict)
    _fixed: tuple[Handle, ...] | None = None

    def fixed(self, backend: Backend) -> tuple[Handle, ...]:
        """The values of the owners and what derives from them, had when they are first needed."""
        if self._fixed is None:
            slots = [slot for slot in self.plan.slots if slot >= len(self.types)]
            kept = [self.owners[slot].keep(backend) for slot in slots]
            derived = engine.supply(self.plan.derived, self.owners, backend)
            self._fixed = (*kept, *derived)
        return self._fixed

    def is_current(self) -> bool:
        """Whether no parameter was replaced since this was bound."""
        now = engine.replacements()
        if now != self.replacements:
            if any(owner.is_stale for owner in self.owners.values()):
                return False
            self.replacements = now
        return True

    def result_types(self, leaves: Sequence[Any]) -> tuple[TensorType, ...]:
        """The types of the results for these arguments."""
        shapes = tuple([x.shape for x in leaves]) if self.symbolic else ()
        found = self.results.get(shapes)
        if found is None:
            if len(self.results) >= KEPT_SHAPES:
                self.results.clear()
            symbols = bind(self.types, shapes, "compiled function") if self.symbolic else {}
            types = (r.type.substitute(symbols) for r in self.traced.program.results)
            found = tuple(t for t in types if isinstance(t, TensorType))
            self.results[shapes] = found
        return found


class Compiled(Generic[P, R]):
    """A function of tensors, traced once for each combination of types and static arguments.

    Made by `ptir.compile`. May be called from several threads.
    """

    __name__: str
    __wrapped__: Callable[P, R]  # the function itself, for use inside another compiled function

    def __init__(
        self,
        fn: Callable[P, R],
        state: Sequence[str],
        symbolic: Mapping[str, Axes],
        backend: str | None,
    ) -> None:
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._signature: Signature = signature(fn)
        self._names = tuple(self._signature.parameters)
        kinds = {p.kind for p in self._signature.parameters.values()}
        self._plain = kinds <= {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
        for name in (*state, *symbolic):
            if name not in self._names:
                raise SpecError("compile", _name(fn), f"it has no parameter {name!r}")
        if list(state) != [n for n in self._names if n in state]:
            raise SpecError("compile", _name(fn), "name the state in the order of the parameters")
        self._state = frozenset(state)
        self._axes = {
            n: {a: Dim.symbol(s) for a, s in axes.items()} for n, axes in symbolic.items()
        }
        self._backend = backend
        self._bound: dict[Any, _Bound] = {}
        self._lock = RLock()

    # Arrays may stand where `fn` says tensors, which no type of `P` can say.
    def __call__(self, *args: Any, **kwargs: Any) -> R:
        backend = self.backend
        if config.current().eager:
            return self._fn(*_as_tensors(args, backend), **_as_tensors(kwargs, backend))
        leaves, key, shapes = self._read(args, kwargs)
        sources = [self._held(x) for x in leaves]
        bound, hit = self._bind(backend, key, shapes)
        fixed = bound.fixed(backend)
        # State first: a value that is also another argument is refused there, not overwritten.
        donated = {slot: sources[slot].donate(backend) for slot in bound.states}
        handles = [
            donated[slot] if slot in donated else source.handle(backend)
            for slot, source in enumerate(sources)
        ]
        values = engine.execute(bound.plan, (*handles, *fixed), hit)
        shared = bound.plan.shared
        results = [
            Tensor(leaf(Computed(t, backend, v, i in shared)), backend.name)
            for i, (t, v) in enumerate(zip(bound.result_types(leaves), values, strict=True))
        ]
        return bound.traced.result.build(results)  # type: ignore[no-any-return]  # as fn's result

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """A compiled method: the instance is an argument, static unless it is a structure."""
        return self if instance is None else MethodType(self, instance)

    @property
    def backend(self) -> Backend:
        """The backend that a call runs on."""
        return engine.backend_of(self._backend)

    def program(self, *args: Any, **kwargs: Any) -> Plan:
        """The plan that a call with these arguments would run. Nothing is run."""
        _, key, shapes = self._read(args, kwargs)
        return self._bind(self.backend, key, shapes)[0].plan

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """What a call with these arguments would compile. Nothing is bound or run."""
        _, key, shapes = self._read(args, kwargs)
        return self._trace(self.backend, key, shapes)

    def is_bound(self, *args: Any, **kwargs: Any) -> bool:
        """Whether a call with these arguments has its plan already."""
        _, key, _ = self._read(args, kwargs)
        return _place(self.backend, key) in self._bound

    def _read(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], Any, list[tuple[str, Shape]]]:
        """The tensors among the arguments, the key of their types, and the arguments' structure."""
        named = (
            zip(self._names, args, strict=False)
            if self._plain and not kwargs and len(args) == len(self._names)
            else self._complete(args, kwargs)
        )
        leaves: list[Any] = []
        key: list[Any] = []
        shapes: list[tuple[str, Shape]] = []
        for name, value in named:
            found, shape = flatten(value, _is_leaf)
            shapes.append((name, shape))
            axes = self._axes.get(name, {})
            key.append((name, shape, tuple([_type(x, axes) for x in found])))
            leaves += found
        return leaves, tuple(key), shapes

    def _complete(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> "Sequence[tuple[str, Any]]":
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return list(bound.arguments.items())

    def _bind(
        self, backend: Backend, key: Any, shapes: Sequence[tuple[str, Shape]]
    ) -> tuple[_Bound, bool]:
        place = _place(backend, key)
        known = self._bound.get(place)
        if known is not None and known.is_current():
            return known, True
        with self._lock:
            known = self._bound.pop(place, None)
            if known is not None and known.is_current():
                self._bound[place] = known
                return known, True
            bound, hit = self._make(backend, key, shapes)
            while len(self._bound) >= config.current().plan_cache:
                self._bound.pop(next(iter(self._bound)))
            self._bound[place] = bound
            return bound, hit

    def _make(
        self, backend: Backend, key: Any, shapes: Sequence[tuple[str, Shape]]
    ) -> tuple[_Bound, bool]:
        now = engine.replacements()
        traced = self._trace(backend, key, shapes)
        traced.program.verify()
        plan, hit = engine.plan_of(traced.program, backend)
        types, roles = self._places(key)
        outside = (self._held(Tensor(n, backend.name)) for n in traced.outside)
        owners = dict(enumerate(outside, len(types)))
        states = tuple(i for i, role in enumerate(roles) if role is Role.STATE)
        symbolic = not all(t.is_static for t in types)
        return _Bound(plan, traced, types, owners, states, symbolic, now), hit

    def _trace(self, backend: Backend, key: Any, shapes: Sequence[tuple[str, Shape]]) -> Traced:
        def call(*tensors: Tensor) -> Any:
            rest = iter(tensors)
            bound = self._signature.bind_partial()
            bound.arguments.update((name, shape.build(rest)) for name, shape in shapes)
            return self._fn(*bound.args, **bound.kwargs)

        functools.update_wrapper(call, self._fn)
        types, roles = self._places(key)
        return with_parameters(trace(call, types, roles=roles, backend=backend.name))

    def _places(self, key: Any) -> tuple[tuple[TensorType, ...], list[Role]]:
        """The type and role of each argument tensor."""
        types, roles = [], []
        for name, _, found in key:
            types += found
            roles += [Role.STATE if name in self._state else Role.ARGUMENT] * len(found)
        return tuple(types), roles

    def _held(self, x: Any) -> Held:
        """What holds the value of an argument, which is computed first if need be."""
        if isinstance(x, np.ndarray):
            return Data(owned(x))
        tensor = lift(x)
        if tensor.node.op is not LEAF and any(map(_is_traced, postorder(tensor.node))):
            raise self._nested()
        if tensor.node.op is not LEAF:
            realize(tensor)
        source = tensor.node.attrs["source"]
        if not isinstance(source, Held):
            raise self._nested()
        return source

    def _nested(self) -> SpecError:
        return SpecError(
            "traced",
            _name(self._fn),
            "a compiled function was called while another one is traced; call the function that "
            "it wraps (`.__wrapped__`) instead",
        )


@overload
def compile(
    fn: Callable[P, R],
    *,
    state: Sequence[str] = (),
    symbolic: Mapping[str, Axes] = {},
    backend: str | None = None,
) -> Compiled[P, R]: ...


@overload
def compile(
    fn: None = None,
    *,
    state: Sequence[str] = (),
    symbolic: Mapping[str, Axes] = {},
    backend: str | None = None,
) -> Callable[[Callable[P, R]], Compiled[P, R]]: ...


def compile(
    fn: Callable[P, R] | None = None,
    *,
    state: Sequence[str] = (),
    symbolic: Mapping[str, Axes] = {},
    backend: str | None = None,
) -> Compiled[P, R] | Callable[[Callable[P, R]], Compiled[P, R]]:
    """Bind `fn` to an executable: traced once for each combination of types, then replayed.

    Arguments may be tensors, NumPy arrays, or lists, tuples, dicts and dataclasses of them;
    anything else is static and part of the key. Parameters and other tensors that `fn` closes over
    are bound at the first call. `state` names arguments that are donated: their buffers belong to
    the call, and the last results of `fn` are their new values. `symbolic` gives axes a name,
    `{"tokens": {1: "T"}}`: one program then serves every size of that axis. With `PTIR_EAGER=1` the
    function just runs.
    """
    if fn is None:
        return functools.partial(Compiled[P, R], state=state, symbolic=symbolic, backend=backend)
    return Compiled(fn, state, symbolic, backend)


def _place(backend: Backend, key: Any) -> tuple[Any, ...]:
    """All that decides what a call runs: another override is another trace."""
    return engine.settings_of(backend), functional.current().fingerprint, key


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, np.generic))


def _type(x: Any, axes: Mapping[int, Dim]) -> TensorType:
    type = x.node.type if isinstance(x, Tensor) else type_of(np.asarray(x))
    if isinstance(type, TupleType):
        raise SpecError("type", "compile", "an argument is a tuple of values; unpack it")
    return _with_axes(type, tuple(axes.items())) if axes else type


@functools.lru_cache(maxsize=1024)  # a step asks for each of its caches, at every call
def _with_axes(type: TensorType, named: tuple[tuple[int, Dim], ...]) -> TensorType:
    axes = dict(named)
    for axis in axes:
        if not -type.rank <= axis < type.rank:
            message = f"symbolic axis {axis} is out of range for an argument of type {type}"
            raise SpecError("attribute", "compile", message)
    return type.with_shape(
        [axes.get(i, axes.get(i - type.rank, d)) for i, d in enumerate(type.shape)]
    )


def _is_traced(node: Node) -> bool:
    return node.op is LEAF and not isinstance(node.attrs["source"], Held)


def _as_tensors(arguments: Any, backend: Backend) -> Any:
    leaves, shape = flatten(arguments, _is_leaf)
    return shape.build([lift(x).to(backend.name) for x in leaves])


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)
