"""`ptir.explain`: what would run, and why it would be compiled anew, in words. Runs nothing."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from ptir import engine, passes
from ptir.backends import Backend
from ptir.compiled import Compiled
from ptir.engine import PLANS, Derived
from ptir.ir import PARAM, Node, Program, Source
from ptir.passes import PassRun, PlanInfo
from ptir.tensor import Tensor


def explain(what: Tensor | Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The program behind a lazy tensor, or behind a function with these arguments.

    Says the program as captured and its inputs, what each pass does to it, which nodes the backend
    claims and which are expanded, what is derived from parameters once, what may be written over,
    and whether the plan cache has it, else why not. The function may be one that `ptir.compile`
    made. Nothing is executed and the cache stays as it is.
    """
    if isinstance(what, Tensor):
        backend = engine.backend_of(what.backend)
        program, sources = Program.capture([what.node])
        return _report(program, backend, _origins(program, sources), False)
    function = what if isinstance(what, Compiled) else Compiled(what, (), {}, None)
    backend = function.backend
    program = function.trace(*args, **kwargs).program
    return _report(program, backend, _origins(program), function.is_bound(*args, **kwargs))


def _report(program: Program, backend: Backend, inputs: list[str], bound: bool) -> str:
    chosen = engine.passes_of(backend)
    lowered, runs = engine.lower(program, backend, chosen)
    reason = PLANS.reason(engine.key_of(program, backend, chosen))
    found = "hit: bound by an earlier call" if bound else f"miss: {reason}" if reason else "hit"
    parts = engine.split(lowered)
    sections = {
        "program": [str(program).rstrip()],
        "inputs": inputs or ["none"],
        "passes": [_pass(run) for run in runs],
        f"nodes of the program on {backend.name} {backend.version}": _claims(program, backend),
        "derived parameters": [_derived(one, program) for one in parts.derived] or ["none"],
        f"nodes that run: {_count(parts.program)}": _running(parts.program, backend),
        "memory": _memory(passes.plan_info(parts.program)),
        "plan cache": [found],
    }
    return "\n".join(_section(title, lines) for title, lines in sections.items())


def _section(title: str, lines: list[str]) -> str:
    body = "\n".join(lines).replace("\n", "\n  ")
    return f"{title}\n  {body}\n"


def _running(program: Program, backend: Backend) -> list[str]:
    slow = [n for n in program.nodes if backend.falls_back(n)]
    return [*_tally(program.nodes), *(f"on the reference: {line}" for line in _tally(slow))]


def _origins(program: Program, sources: tuple[Source, ...] = ()) -> list[str]:
    kinds = [f" from {type(source).__name__}" for source in sources] or [""] * len(program.inputs)
    return [
        f"%{slot}: {i.type} {i.role}{f' {i.name!r}' if i.name else ''}{kind}"
        for slot, (i, kind) in enumerate(zip(program.inputs, kinds, strict=True))
    ]


def _pass(run: PassRun) -> str:
    return f"{run.name}: {run.before} → {run.after} nodes, {run.ms:.2f} ms"


def _claims(program: Program, backend: Backend) -> list[str]:
    nodes = [n for n in program.nodes if n.op is not PARAM]
    claimed = [n for n in nodes if backend.runs(n)]
    expanded = [n for n in nodes if not backend.runs(n)]
    return [
        *(f"claimed: {line}" for line in _tally(claimed)),
        *(f"expanded: {line}" for line in _tally(expanded)),
    ]


def _derived(one: Derived, captured: Program) -> str:
    """`derived:0f3a…: f32[4, 9] of 'q', 'k', 'v' by concat`."""
    made = one.derivation.program
    names = ", ".join(repr(captured.inputs[slot].name) for slot in one.slots)
    steps = ", ".join(_tally(made.nodes)).replace(" ×1", "")
    return f"{one.name}: {made.results[0].type} of {names} by {steps}"


def _memory(info: PlanInfo) -> list[str]:
    most = "depends on the input sizes" if info.peak_bytes is None else f"{info.peak_bytes} bytes"
    return [
        f"values alive at once, without inputs and constants: {most}",
        f"steps that may write over an operand: {len(info.in_place)}",
        *(f"state %{one.slot}: {one.fate} ({one.reason})" for one in info.donations),
    ]


def _tally(nodes: list[Node] | tuple[Node, ...]) -> list[str]:
    counts = Counter(_label(n) for n in nodes if n.op is not PARAM)
    return [f"{name} ×{n}" for name, n in counts.most_common()]


def _label(node: Node) -> str:
    name = node.attrs.get("name", node.attrs.get("target"))
    return f"{node.op.name} {name}" if isinstance(name, str) else node.op.name


def _count(program: Program) -> int:
    return sum(n.op is not PARAM for n in program.nodes)
