"""Which implementation of a functional runs: what there is and what is asked for. Knows names and
policies, not how a functional is traced or measured.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ptir.ir import SpecError, nearest

DEFAULT = "default"
KEPT_WINNERS = 128

_FORCE = re.compile(r"force=(\w+)", re.ASCII)
_BENCHMARK = re.compile(r"benchmark(?:\(cache=(-?\d{1,6})\))?", re.ASCII)


@dataclass(frozen=True)
class Implementation:
    """One way to compute a functional, written with portable ops.

    `supports` says from the arguments of a call whether it can serve it, `needs` says in words what
    it asks for. One that is not `exact` gives other numbers than rounding explains: it runs only
    where it is forced.
    """

    name: str
    fn: Callable[..., Any]
    exact: bool = True
    supports: Callable[..., bool] | None = None
    needs: str = ""


IMPLEMENTATIONS: dict[str, dict[str, Implementation]] = {}
"""The implementations of every functional by its name; functionals enter themselves."""


@dataclass(frozen=True)
class Default:
    """The functional's own body, which takes all that the functional takes."""

    def __str__(self) -> str:
        return DEFAULT


@dataclass(frozen=True)
class Force:
    """The implementation of this name; an error where it does not support the operands."""

    implementation: str

    def __str__(self) -> str:
        return f"force={self.implementation}"


@dataclass(frozen=True)
class Benchmark:
    """The fastest exact implementation that supports the operands; `cache` winners are kept."""

    cache: int = KEPT_WINNERS

    def __str__(self) -> str:
        return f"benchmark(cache={self.cache})"


Policy = Default | Force | Benchmark
Fingerprint = tuple[tuple[str, Policy], ...]


def parse_policy(functional: str, text: Any) -> Policy:
    """The policy that `text` spells for a functional: `default`, `force=NAME`, `benchmark` or
    `benchmark(cache=N)`. Raises `SpecError` with the nearest valid spelling.
    """
    if functional not in IMPLEMENTATIONS:
        message = f"no functional {functional!r}{nearest(functional, IMPLEMENTATIONS)}"
        raise SpecError("override", "override", message)
    known = IMPLEMENTATIONS[functional]
    if not isinstance(text, str):
        came = type(text).__name__
        raise _refused(functional, f"the policy is {text!r} ({came}), wanted a string", "")
    if text == DEFAULT:
        return Default()
    if forced := _FORCE.fullmatch(text):
        name = forced[1]
        if name not in known:
            raise _refused(functional, f"no implementation {name!r}", nearest(name, known))
        return Force(name)
    if benchmark := _BENCHMARK.fullmatch(text):
        cache = int(benchmark[1] or KEPT_WINNERS)
        if cache < 1:
            raise _refused(functional, f"{text!r} keeps no winner", f"; wanted {Benchmark()} or so")
        return Benchmark(cache)
    policies = (Default(), *map(Force, known), "benchmark", Benchmark())
    raise _refused(functional, f"no policy {text!r}", nearest(text, map(str, policies)))


def _refused(functional: str, what: str, way_out: str) -> SpecError:
    return SpecError("override", functional, what + way_out)


class FunctionalRegistry:
    """Policies by functional, to be installed for a while; unnamed functionals keep theirs."""

    def __init__(self, policies: Mapping[str, Policy] = MappingProxyType({})) -> None:
        self.policies = MappingProxyType(dict(sorted(policies.items())))
        # What a trace under this registry depends on.
        self.fingerprint: Fingerprint = tuple(self.policies.items())

    @staticmethod
    def from_settings(settings: Mapping[str, Any]) -> "FunctionalRegistry":
        """The registry that these policies spell, as in a checkpoint's `functional_overrides`.

        Raises `SpecError` for an unknown functional or implementation and for a malformed policy.
        """
        return FunctionalRegistry({n: parse_policy(n, text) for n, text in settings.items()})

    def over(self, outer: "FunctionalRegistry") -> "FunctionalRegistry":
        """Both registries as one: what this one names counts, all else is the outer one's."""
        merged = {**outer.policies, **self.policies}
        return FunctionalRegistry({n: p for n, p in merged.items() if p != Default()})

    @contextmanager
    def installed(self) -> Iterator["FunctionalRegistry"]:
        """Within the block, calls on this thread (or task) follow these policies."""
        token = _in_force.set(self.over(_in_force.get()) if self.policies else _in_force.get())
        try:
            yield self
        finally:
            _in_force.reset(token)

    def __repr__(self) -> str:
        return f"FunctionalRegistry({', '.join(f'{n}={p}' for n, p in self.policies.items())})"


_NONE = FunctionalRegistry()
_in_force: ContextVar[FunctionalRegistry] = ContextVar("ptir_functionals", default=_NONE)


def current() -> FunctionalRegistry:
    """What all `override` blocks around the caller amount to."""
    return _in_force.get()


def override(**policies: str) -> AbstractContextManager[FunctionalRegistry]:
    """Choose implementations of functionals within a block: `override(matmul="force=split_k")`.

    A policy is `default`, `force=NAME`, `benchmark` or `benchmark(cache=N)`; blocks nest, and the
    innermost that names a functional counts. It holds for calls on this thread. Raises `SpecError`
    for an unknown functional or implementation and for a malformed policy.
    """
    return FunctionalRegistry.from_settings(policies).installed()
