"""Compile a program once and run it: the way from nodes to handles."""

import logging
from collections import Counter
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from ptir import backends, config, passes, profile
from ptir.backends import Backend, Handle
from ptir.ir import PARAM, Node, Program, Role, SpecError, TensorType

from .cache import PlanCache
from .derived import split, supply
from .dump import Sink, sink
from .plan import Plan, PlanKey
from .source import Computed, Held

LOG = logging.getLogger("ptir.engine")
PLANS = PlanCache()


def backend_of(name: str | None) -> Backend:
    """The backend of this name, or the one that `PTIR_BACKEND` says."""
    return backends.find(name or config.current().backend)


def run(results: Sequence[Node], backend: Backend) -> list[Computed]:
    """The values of nodes of a lazy graph, computed together in one program."""
    types = [_tensor_type(node) for node in results]
    program, sources = Program.capture(results)
    held = {slot: _held(source) for slot, source in enumerate(sources)}
    plan, hit = plan_of(program, backend)
    handles = [held[slot].handle(backend) for slot in plan.slots]
    values = execute(plan, [*handles, *supply(plan.derived, held, backend)], hit)
    return [
        Computed(type, backend, value, index in plan.shared)
        for index, (type, value) in enumerate(zip(types, values, strict=True))
    ]


def _tensor_type(node: Node) -> TensorType:
    if isinstance(node.type, TensorType):
        return node.type
    raise SpecError("type", node.op.name, "gives several values; unpack it")


def settings_of(backend: Backend) -> tuple[Any, ...]:
    """What decides, besides the program, which plan it gets: cheap to ask for at each call."""
    return backend.name, backend.version, backend.fingerprint(), config.current().passes


def passes_of(backend: Backend) -> tuple[passes.Pass, ...]:
    """The passes in force before a program is legalized for `backend`."""
    return passes.pipeline(backend.pipeline(), sorted(config.current().passes))


def key_of(program: Program, backend: Backend, chosen: Sequence[passes.Pass]) -> PlanKey:
    names = tuple(map(passes.name, chosen))
    return PlanKey(program, names, backend.name, backend.version, backend.fingerprint())


def plan_of(program: Program, backend: Backend) -> tuple[Plan, bool]:
    """The plan of a program on a backend, and whether the cache had it."""
    chosen = passes_of(backend)
    plan, hit = PLANS.fetch(
        key_of(program, backend, chosen),
        config.current().plan_cache,
        lambda key, why: _compile(key, why, backend, chosen),
    )
    to = sink()
    if to is not None and to.mode == "compile" and not hit:
        to.write(plan, hit)
    return plan, hit


def execute(plan: Plan, handles: Sequence[Handle], hit: bool = True) -> Sequence[Handle]:
    """Run a plan; with a trace sink for `all` in force, write down what ran."""
    if profile.current() is None:
        return _executed(plan, handles, hit)
    facts = {"backend": plan.key.backend, "nodes": len(plan.program.nodes), "hit": hit}
    with profile.span("run", "program", **facts):
        return _executed(plan, handles, hit)


def _executed(plan: Plan, handles: Sequence[Handle], hit: bool) -> Sequence[Handle]:
    to = sink()
    if to is None or to.mode != "all":
        return plan.executable(*handles)
    return _traced(plan, handles, hit, to)


def _traced(plan: Plan, handles: Sequence[Handle], hit: bool, to: Sink) -> Sequence[Handle]:
    begun = perf_counter()
    error: str | None = None
    try:
        return plan.executable(*handles)
    except BaseException as failure:
        error = f"{type(failure).__name__}: {failure}"
        raise
    finally:
        to.write(plan, hit, (perf_counter() - begun) * 1e3, error)


def _compile(key: PlanKey, reason: str, backend: Backend, chosen: Sequence[passes.Pass]) -> Plan:
    begun = perf_counter()
    with profile.span("compile", "program", backend=backend.name, reason=reason):
        lowered, runs = lower(key.program, backend, chosen)
        parts = split(lowered)
        executable = backend.compile(parts.program)
    took = (perf_counter() - begun) * 1e3
    LOG.info("a program was compiled for %s in %.1f ms: %s", backend.name, took, reason)
    shared = _shared(parts.program)
    return Plan(
        key, parts.program, parts.slots, parts.derived, shared, executable, runs, reason, took
    )


def _shared(program: Program) -> frozenset[int]:
    """The results whose buffers something else has too: inputs that no call donates, and twins."""
    often = Counter(program.results)
    return frozenset(
        index
        for index, node in enumerate(program.results)
        if often[node] > 1
        or (node.op is PARAM and program.inputs[node.attrs["slot"]].role is not Role.STATE)
    )


def lower(
    program: Program, backend: Backend, chosen: Sequence[passes.Pass]
) -> tuple[Program, tuple[passes.PassRun, ...]]:
    """The program after the passes and what each of them did.

    Every node is claimed by `backend`, but for composites of what parameters alone decide, whose
    bodies are.
    """
    expand = passes.legalizer(backend.claims, backend.name, backend.kernels)
    return passes.apply(program, passes.legalizing(chosen, expand), config.current().verify)


def _held(source: object) -> Held:
    if isinstance(source, Held):
        return source
    raise SpecError(
        "traced",
        "tensor",
        "its value is not known while a function is traced; compute with ops, or return it",
    )
