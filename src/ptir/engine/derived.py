"""Derived parameters: what a plan needs that parameters alone decide. Computed once for their data.

Knows not how such values were found (`passes.fold_parameters` sets them apart), nor which of them
are on disk.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from ptir import passes
from ptir.backends import Backend, Executable, Handle
from ptir.ir import (
    PARAM,
    Input,
    Node,
    Program,
    Role,
    SpecError,
    TensorType,
    param,
    postorder,
    transform,
)

from .kept import KEPT, Value
from .source import Parameter


class Derivation:
    """A program of parameters alone. Equal programs are one object, for as long as a plan has
    it: what was computed by it goes when it does.
    """

    __slots__ = ("__weakref__", "program")

    def __init__(self, program: Program) -> None:
        self.program = program


@dataclass(frozen=True)
class Derived:
    """A derived parameter of a plan, and which inputs of the captured program it is made of."""

    name: str
    derivation: Derivation
    slots: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        type = self.derivation.program.results[0].type
        assert isinstance(type, TensorType)
        return type.nbytes


@dataclass(frozen=True)
class Split:
    """A program whose last inputs are derived parameters, and what its inputs are.

    The first inputs are those of the captured program that `slots` name.
    """

    program: Program
    slots: tuple[int, ...]
    derived: tuple[Derived, ...]


def split(program: Program) -> Split:
    """`program` with an input for each derived value, and without the parameters that only those
    are made of.
    """
    found = passes.derived_nodes(program)
    derived = [_derived(node) for node in found]
    slots = _kept(program, found)
    place = {slot: index for index, slot in enumerate(slots)}
    new = {node: param(index, node.type) for index, node in enumerate(found, len(slots))}

    def renumber(node: Node) -> Node | None:
        slot = node.attrs["slot"] if node.op is PARAM else None
        return param(place[slot], node.type) if slot in place else new.get(node)

    inputs = [program.inputs[slot] for slot in slots]
    for node, one in zip(found, derived, strict=True):
        inputs.append(Input(node.type, Role.PARAMETER, _told(one, program)))
    results = transform(program.results, renumber) if found else program.results
    return Split(Program(tuple(inputs), results), slots, tuple(derived))


def _told(derived: Derived, program: Program) -> str:
    """`derived:0f3a… of blocks.0.attention.w_q`, and `, …` where it is made of more."""
    first, *more = [program.inputs[slot].name for slot in derived.slots]
    return f"{derived.name} of {first}{', …' if more else ''}"


def _kept(program: Program, derived: Sequence[Node]) -> tuple[int, ...]:
    """The inputs but for parameters that derived values use and nothing else does."""
    inside = {x.attrs["slot"] for node in derived for x in node.operands}
    rest = postorder(*program.results, skip=frozenset(derived))
    outside = {node.attrs["slot"] for node in rest if node.op is PARAM}
    return tuple(s for s in range(len(program.inputs)) if s in outside or s not in inside)


_derivations: WeakValueDictionary[Program, Derivation] = WeakValueDictionary()
_lock = Lock()


def _derived(node: Node) -> Derived:
    program = node.attrs["body"]
    with _lock:
        derivation = _derivations.setdefault(program, Derivation(program))
    return Derived(node.attrs["name"], derivation, tuple(x.attrs["slot"] for x in node.operands))


def supply(
    derived: Sequence[Derived], sources: Mapping[int, object], backend: Backend
) -> list[Handle]:
    """The values of derived parameters on a backend, from the sources by slot.

    Each is computed once for the data of its parameters, whichever plan or thread asks first. The
    parameters are loaded for that, unless another process kept the value, and let go when no other
    value here needs them. Raises `SpecError` (`stale`) for a parameter whose data was replaced.
    """
    parameters = {slot: _parameter(sources[slot]) for one in derived for slot in one.slots}
    loans = _Loans(backend, parameters, Counter(slot for one in derived for slot in one.slots))
    there = list(accumulate(one.nbytes for one in derived))
    handles = []
    for one, done in zip(derived, there, strict=True):
        handles.append(_fetch(one, loans))
        for told in tuple(_watchers):
            told(done, there[-1])
    return handles


_watchers: list[Callable[[int, int], None]] = []


@contextmanager
def watch_derived(told: Callable[[int, int], None]) -> Iterator[None]:
    """Meanwhile `told(done, total)` hears how many bytes of the derived values of a plan are there,
    of how many: after each of them, computed or not, in the thread that asks for it.
    """
    _watchers.append(told)
    try:
        yield
    finally:
        _watchers.remove(told)


def _parameter(source: object) -> Parameter:
    if isinstance(source, Parameter):
        return source
    raise SpecError("param", "derived", f"{type(source).__name__} is no ptir.engine.Parameter")


def _fetch(one: Derived, loans: "_Loans") -> Handle:
    backend, program = loans.backend, one.derivation.program
    owners = [loans.parameters[slot] for slot in one.slots]
    for owner in owners:
        owner.refuse_if_stale()
    settings = (backend.version, backend.options())
    # The whole derivation and the versions of all parameters: equal keys are equal values.
    key = (program, tuple([owner.version for owner in owners]), settings)

    def compute() -> Handle:
        (value,) = _executable(program, backend, settings)(*map(loans.take, one.slots))
        return backend.compact(value)

    def find() -> Handle:
        return _on_disk(Value(program, owners, backend), compute)

    handle = backend.params.fetch(key, (one.derivation, *owners), find)
    loans.done(one.slots)
    return handle


def _on_disk(value: Value, compute: Callable[[], Handle]) -> Handle:
    """A value that an earlier process kept, else computed, and kept if it is worth it."""
    if not value.is_worth_it:
        return compute()
    found = KEPT.load(value)
    if found is None:
        handle = compute()
        found = KEPT.keep(value, value.backend.get(handle))
        if found is None:
            return handle
    return value.backend.put(found)


@lru_cache(maxsize=64)
def _executable(program: Program, backend: Backend, settings: Any) -> Executable:
    return backend.compile(program)


class _Loans:
    """Parameters on a backend while values are made of them: loaded once, kept until the last."""

    def __init__(
        self, backend: Backend, parameters: Mapping[int, Parameter], uses: Counter[int]
    ) -> None:
        self.backend = backend
        self.parameters = parameters
        self._uses = uses
        self._lent: dict[int, Handle] = {}

    def take(self, slot: int) -> Handle:
        if slot not in self._lent:
            self._lent[slot] = self.parameters[slot].lend(self.backend)
        return self._lent[slot]

    def done(self, slots: Sequence[int]) -> None:
        """The value on these slots is there: let go of what no later one needs."""
        for slot in slots:
            self._uses[slot] -= 1
            if not self._uses[slot]:
                self._lent.pop(slot, None)
