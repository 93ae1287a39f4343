"""Compile a program once and run it: the way from nodes to handles."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from ptir import backends, config, passes
from ptir.backends import Backend, Handle
from ptir.ir import Node, Program, SpecError

from .cache import PassRun, Plan, PlanCache, PlanKey
from .dump import Sink, sink
from .source import Held

PLANS = PlanCache()


def backend_of(name: str | None) -> Backend:
    """The backend of this name, or the one that `PTIR_BACKEND` says."""
    return backends.find(name or config.current().backend)


def run(results: Sequence[Node], backend: Backend) -> Sequence[Handle]:
    """The values of nodes of a lazy graph, computed together in one program."""
    program, sources = Program.capture(results)
    handles = [_held(source).handle(backend) for source in sources]
    plan, hit = plan_of(program, backend)
    return execute(plan, handles, hit)


def settings_of(backend: Backend) -> tuple[Any, ...]:
    """What decides, besides the program, which plan it gets: cheap to ask for at each call."""
    return backend.name, backend.version, backend.options(), config.current().passes


def passes_of(backend: Backend) -> tuple[passes.Pass, ...]:
    """The passes in force before a program is legalized for `backend`."""
    return passes.pipeline(backend.pipeline(), sorted(config.current().passes))


def key_of(program: Program, backend: Backend, chosen: Sequence[passes.Pass]) -> PlanKey:
    names = tuple(map(passes.name, chosen))
    return PlanKey(program, names, backend.name, backend.version, backend.options())


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
    program, runs = lower(key.program, backend, chosen)
    executable = backend.compile(program)
    took = (perf_counter() - begun) * 1e3
    return Plan(key, program, executable, runs, reason, took)


def lower(
    program: Program, backend: Backend, chosen: Sequence[passes.Pass]
) -> tuple[Program, tuple[PassRun, ...]]:
    """The program after the passes, every node claimed by `backend`, and what each pass did."""
    runs = list[PassRun]()
    verify = config.current().verify
    if verify:
        program.verify()
    for one in (*chosen, passes.legalizer(backend.claims, backend.name)):
        since = perf_counter()
        after = one(program)
        ms = (perf_counter() - since) * 1e3
        runs.append(PassRun(passes.name(one), len(program.nodes), len(after.nodes), ms))
        program = after
        if verify:
            _verify_after(passes.name(one), program)
    return program, tuple(runs)


def _verify_after(name: str, program: Program) -> None:
    try:
        program.verify()
    except SpecError as error:
        message = f"it broke the program: {error}"
        raise SpecError("pass", name, message) from error


def _held(source: object) -> Held:
    if isinstance(source, Held):
        return source
    raise SpecError(
        "traced",
        "tensor",
        "its value is not known while a function is traced; compute with ops, or return it",
    )
