"""Kernels from outside: code of a user's own claims a functional on a backend, once it has been
checked against the functional's body.
"""

from collections.abc import Callable, Iterator
from inspect import signature
from itertools import chain, combinations, count
from threading import RLock
from typing import Any

import ml_dtypes
import numpy as np

from ptir import backends, engine
from ptir.backends import Backend
from ptir.backends.base import Kernel as Claim
from ptir.functional import FUNCTIONALS, GIVEN, Functional, describe
from ptir.functional.define import Types
from ptir.ir import Attrs, Node, Program, SpecError, TensorType, dtype, nearest
from ptir.ops.evaluate import evaluate

Array = np.ndarray[Any, Any]

FLOATS = tuple(map(dtype, ("f32", "f64", "f16", "bf16")))  # each example is checked in all of them

_serial = count(1)
_lock = RLock()


class Kernel:
    """Code that claims a functional on a backend, until it is removed or its block ends."""

    def __init__(self, functional: str, backend: Backend, code: Any, target: str) -> None:
        self.functional = functional
        self.backend = backend.name
        self.code = code
        self._target = target

    def remove(self) -> None:
        """Let the functional be what it was on this backend. Removing twice does nothing."""
        with _lock:
            backend = backends.find(self.backend)
            claim = backend.kernels.get(self.functional)
            if claim is not None and claim.target == self._target:
                others = {n: k for n, k in backend.kernels.items() if n != self.functional}
                backend.kernels = others
                backend.undefine(self._target)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.code(*args, **kwargs)

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<kernel of {self.functional} on {self.backend}>"


def kernel(
    functional: str,
    *,
    backend: str,
    supports: Callable[..., bool] | None = None,
    unchecked: bool = False,
) -> Callable[[Any], Kernel]:
    """Claim a functional with code of one's own, in the form that the backend takes.

    On `reference` that is a function of the functional's parameters by name: operands are NumPy
    arrays (read-only; `None` where an optional one is not given), attributes are what they are, and
    the result is an array of the type that the functional gives. `supports`, called in the same way
    with operand types, says which calls it claims; the others run as before.

    The code is run on examples of every kind of operands and compared with the functional's body:
    floats may differ by 64 units in the last place of the largest element (16-bit ones by 2).
    Raises `SpecError` with the first element that differs; `unchecked=True` takes it as it is.
    """
    known = FUNCTIONALS.get(functional)
    if known is None:
        message = f"no functional {functional!r}{nearest(functional, FUNCTIONALS)}"
        raise SpecError("kernel", "kernel", message)
    on = backends.find(backend)

    def register(code: Any) -> Kernel:
        with _lock:
            if functional in on.kernels:
                message = f"backend {backend!r} has a kernel for it already; remove that one first"
                raise SpecError("kernel", functional, message)
            target = f"user.{functional}.v{next(_serial)}"
            on.define(target, _by_name(known, code) if callable(code) else code)
            claim = Claim(target, _serving(known, supports))
            try:
                if not unchecked:
                    _check(known, claim, on)
            except BaseException:
                on.undefine(target)
                raise
            on.kernels = {**on.kernels, functional: claim}
        return Kernel(functional, on, code, target)

    return register


def _names(functional: Functional[..., Any], attributes: Attrs) -> list[str]:
    """The operands that a composite has, by name."""
    given = attributes.get(GIVEN, ())
    return [n for n in functional.operands if n not in functional.optional or n in given]


def _by_name(functional: Functional[..., Any], code: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel of the form that custom calls have: operands by position, those given only."""
    try:
        signature(code).bind(**dict.fromkeys((*functional.operands, *functional.attributes)))
    except TypeError as error:
        message = f"the kernel takes {signature(code)}, wanted {functional.signature}: {error}"
        raise SpecError("kernel", functional.name, message) from None

    def run(*arrays: Array, **attributes: Any) -> Any:
        names = _names(functional, Attrs(attributes))
        operands = dict(zip(names, map(_read_only, arrays), strict=True))
        plain = {n: v for n, v in attributes.items() if n != GIVEN}
        return code(**(dict.fromkeys(functional.operands) | operands), **plain)

    return run


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _serving(
    functional: Functional[..., Any], supports: Callable[..., bool] | None
) -> Callable[[Node], bool]:
    if supports is None:
        return lambda node: True

    def serves(node: Node) -> bool:
        attributes = node.attrs["attributes"]
        names = _names(functional, attributes)
        types = dict(zip(names, (x.type for x in node.operands), strict=True))
        plain = {n: v for n, v in attributes.items() if n != GIVEN}
        return supports(**(dict.fromkeys(functional.operands) | types), **plain)

    return serves


# --- checking ---


def _check(functional: Functional[..., Any], claim: Claim, backend: Backend) -> None:
    """Compare a kernel with the functional's body; raises `SpecError` where they differ."""
    checked = 0
    for types, attributes, program in _variants(functional):
        (node,) = program.results
        called = claim(node)
        if called is None:
            continue
        checked += 1
        operands = list(functional.sample(types, np.random.default_rng(checked)).values())
        wanted = evaluate(program, operands)
        call = describe(types, attributes)
        got = _run(functional.name, call, Program(program.inputs, (called,)), operands, backend)
        for mine, own in zip(got, wanted, strict=True):
            _compare(functional.name, call, mine, own)
    if not checked:
        message = "the kernel supports none of the functional's examples, so nothing was checked"
        raise SpecError("kernel", functional.name, f"{message}; pass unchecked=True")


def _variants(functional: Functional[..., Any]) -> Iterator[tuple[Types, Attrs, Program]]:
    """The examples with and without each optional operand, in each float dtype."""
    seen: set[Program] = set()
    for example in functional.examples:
        optional = [n for n in example.types if n in functional.optional]
        subsets = chain.from_iterable(combinations(optional, n) for n in range(len(optional) + 1))
        for left_out in subsets:
            for to in FLOATS:
                types = {n: _as(t, to) for n, t in example.types.items() if n not in left_out}
                try:
                    program = functional.program(types, example.attributes)
                except SpecError:
                    continue  # not all operands can be left out, not every dtype is taken
                if program not in seen:
                    seen.add(program)
                    yield types, example.attributes, program


def _as(type: TensorType, to: Any) -> TensorType:
    return type.with_dtype(to) if type.dtype.is_float else type


def _run(
    name: str, call: str, program: Program, operands: list[Array], backend: Backend
) -> list[Array]:
    try:
        lowered, _ = engine.lower(program, backend, ())
        results = backend.compile(lowered)(*map(backend.put, operands))
        return [backend.get(r) for r in results]
    except Exception as error:
        message = f"the kernel failed on {call}: {type(error).__name__}: {error}"
        raise SpecError("kernel", name, message) from error


def _compare(name: str, call: str, got: Array, wanted: Array) -> None:
    found = _difference(got, wanted)
    if found is not None:
        where, mine, own = found
        message = f"the kernel differs on {call}: at {where} it gave {mine}, wanted {own}"
        raise SpecError("kernel", name, f"{message}; mend it, or pass unchecked=True")


def _difference(got: Array, wanted: Array) -> tuple[list[int], Any, Any] | None:
    """The first element that is off by more than its dtype allows: index, got, wanted."""
    if wanted.dtype.kind in "biu":
        wrong = got != wanted
    else:
        x, y = (
            a.astype(np.complex128 if a.dtype.kind == "c" else np.float64) for a in (got, wanted)
        )
        finite = np.abs(y[np.isfinite(y)])
        bound = _units(wanted.dtype) * finite.max(initial=np.finfo(np.float32).tiny)
        with np.errstate(invalid="ignore"):
            near = np.abs(x - y) <= bound
        wrong = ~(near | (x == y) | (np.isnan(x) & np.isnan(y)))
    places = np.argwhere(wrong)
    if not len(places):
        return None
    index = tuple(map(int, places[0]))
    return list(index), got[index], wanted[index]


def _units(element: np.dtype[Any]) -> float:
    """How much an element may be off, as a part of the largest one."""
    precise = dtype(element).bits // (2 if element.kind == "c" else 1) >= 32
    info = ml_dtypes.finfo(element)  # type: ignore[no-untyped-call]  # NumPy's, and of bf16
    return float(info.eps) * (64 if precise else 2)
