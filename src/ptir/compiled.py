"""`ptir.compile`: a function bound to one executable, replayed without capturing it again."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Signature, signature
from threading import RLock
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from ptir import config, engine
from ptir.backends import Backend, Handle
from ptir.engine import Computed, Held, Plan
from ptir.ir import LEAF, Dim, Role, SpecError, TensorType, TupleType, bind, leaf, type_of
from ptir.tensor import Tensor, as_tensor, realize
from ptir.trace import Traced, trace
from ptir.tree import Shape, flatten

P = ParamSpec("P")
R = TypeVar("R")
Axes = Mapping[int, str]

KEPT_SHAPES = 64  # of one symbolic program: the result types of lengths that come back


@dataclass(frozen=True, eq=False)
class _Bound:
    """One traced program on its plan, with the handles that every call shares."""

    plan: Plan
    traced: Traced
    types: tuple[TensorType, ...]  # of the arguments, symbolic where the caller said so
    fixed: tuple[Handle, ...]  # parameters and other outer values
    owners: tuple[Held, ...]  # what the fixed handles belong to: alive as long as they are used
    states: tuple[int, ...]
    results: dict[Any, tuple[TensorType, ...]] = field(default_factory=dict)

    def result_types(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[TensorType, ...]:
        """The types of the results for arguments of these shapes."""
        found = self.results.get(shapes)
        if found is None:
            if len(self.results) >= KEPT_SHAPES:
                self.results.clear()
            symbols = bind(self.types, shapes, "compiled function")
            types = (r.type.substitute(symbols) for r in self.traced.program.results)
            found = tuple(t for t in types if isinstance(t, TensorType))
            self.results[shapes] = found
        return found


class Compiled(Generic[P, R]):
    """A function of tensors, traced once for each combination of types and static arguments.

    Made by `ptir.compile`. May be called from several threads.
    """

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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if config.current().eager:
            return self._fn(*_as_tensors(args), **_as_tensors(kwargs))
        leaves, key, shapes = self._read(args, kwargs)
        backend = engine.backend_of(self._backend)
        bound, hit = self._bound.get((backend.name, key)), True
        if bound is None:
            bound, hit = self._bind(backend, key, shapes)
        sources = [_held(x) for x in leaves]
        handles = [s.handle(backend) for s in sources]
        for slot in bound.states:
            _donate(sources[slot])
        values = engine.execute(bound.plan, (*handles, *bound.fixed), hit)
        results = [
            Tensor(leaf(Computed(t, backend, v)), backend.name)
            for t, v in zip(bound.result_types(tuple(x.shape for x in leaves)), values, strict=True)
        ]
        return bound.traced.result.build(results)  # type: ignore[no-any-return]  # as fn's result

    def program(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """The plan that a call with these arguments would run. Nothing is run."""
        _, key, shapes = self._read(args, kwargs)
        backend = engine.backend_of(self._backend)
        bound = self._bound.get((backend.name, key)) or self._bind(backend, key, shapes)[0]
        return bound.plan

    def _read(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], Any, list[tuple[str, Shape]]]:
        """The tensors among the arguments, the key of their types, and the arguments' structure."""
        named = (
            zip(self._names, args, strict=False)
            if not kwargs and len(args) == len(self._names)
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
        with self._lock:
            known = self._bound.get((backend.name, key))
            if known is not None:
                return known, True
            bound, hit = self._make(backend, key, shapes)
            while len(self._bound) >= config.current().plan_cache:
                self._bound.pop(next(iter(self._bound)))
            self._bound[backend.name, key] = bound
            return bound, hit

    def _make(
        self, backend: Backend, key: Any, shapes: Sequence[tuple[str, Shape]]
    ) -> tuple[_Bound, bool]:
        types = tuple(t for _, _, found in key for t in found)
        roles = [
            Role.STATE if name in self._state else Role.ARGUMENT
            for name, _, found in key
            for _ in found
        ]

        def call(*tensors: Tensor) -> Any:
            rest = list(tensors)
            arguments = {name: shape.build(rest) for name, shape in shapes}
            bound = self._signature.bind_partial()
            bound.arguments.update(arguments)
            return self._fn(*bound.args, **bound.kwargs)

        traced = trace(call, types, roles=roles, backend=backend.name)
        traced.program.verify()
        plan, hit = engine.plan_of(traced.program, backend)
        owners = tuple(_held(Tensor(n, backend.name)) for n in traced.outside)
        fixed = tuple(o.handle(backend) for o in owners)
        states = tuple(i for i, role in enumerate(roles) if role is Role.STATE)
        return _Bound(plan, traced, types, fixed, owners, states), hit


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


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, np.generic))


def _type(x: Any, axes: Mapping[int, Dim]) -> TensorType:
    type = x.node.type if isinstance(x, Tensor) else type_of(np.asarray(x))
    if isinstance(type, TupleType):
        raise SpecError("type", "compile", "an argument is a tuple of values; unpack it")
    if not axes:
        return type
    return type.with_shape(
        [axes.get(i, axes.get(i - type.rank, d)) for i, d in enumerate(type.shape)]
    )


def _held(x: Any) -> Held:
    """What holds the value of an argument, which is computed first if need be."""
    tensor = as_tensor(x)
    if tensor.node.op is not LEAF:
        realize(tensor)
    source = tensor.node.attrs["source"]
    if not isinstance(source, Held):
        raise SpecError(
            "traced", "compile", "a compiled function was called while another one is traced"
        )
    return source


def _donate(source: Held) -> None:
    if isinstance(source, Computed):
        source.donate()


def _as_tensors(arguments: Any) -> Any:
    leaves, shape = flatten(arguments, _is_leaf)
    return shape.build([as_tensor(x) for x in leaves])


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__name__", type(fn).__name__)
