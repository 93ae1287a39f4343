"""The trace sink: what was compiled or executed, as `.ptir` text and `.json` facts in a folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import get_args

from ptir import config
from ptir.config import ConfigError, DumpMode
from ptir.ir import Program, print_program

from .derived import Derived
from .plan import Plan


class Sink:
    """A folder that gets two files for each compiled (`compile`) or each executed (`all`)
    program.
    """

    def __init__(self, folder: Path, mode: DumpMode = "compile") -> None:
        if mode not in get_args(DumpMode):
            raise ConfigError(f"dump mode {mode!r} is not {' or '.join(get_args(DumpMode))}")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.mode = mode
        self._number = count(len(list(folder.glob("*.ptir"))))

    def write(
        self, plan: Plan, hit: bool, run_ms: float | None = None, error: str | None = None
    ) -> None:
        """Write down a plan, and how long it ran, if it did."""
        stem = f"{next(self._number):05d}_{'hit' if hit else 'miss'}"
        facts = {
            "cache": "hit" if hit else "miss",
            "reason": "" if hit else plan.reason,
            "backend": plan.key.backend,
            "backend_version": plan.key.version,
            "inputs": [f"{i.role} {i.name or ''}: {i.type}" for i in plan.program.inputs],
            "nodes": len(plan.program.nodes),
            "derived": [_facts(one, plan.key.program) for one in plan.derived],
            "passes": [asdict(p) for p in plan.passes],
            "compile_ms": plan.compile_ms,
            "run_ms": run_ms,
            "error": error,
        }
        program = print_program(plan.program, literals=True)
        (self.folder / f"{stem}.ptir").write_text(program, encoding="utf-8")
        text = json.dumps(facts, indent=2) + "\n"
        (self.folder / f"{stem}.json").write_text(text, encoding="utf-8")


def _facts(one: Derived, captured: Program) -> dict[str, object]:
    """A derived parameter: its name, what it is made of, and how."""
    return {
        "name": one.name,
        "parameters": [captured.inputs[slot].name for slot in one.slots],
        "program": print_program(one.derivation.program, literals=True),
    }


_chosen: ContextVar[Sink | None] = ContextVar("ptir_sink", default=None)
_from_environment: dict[tuple[Path, DumpMode], Sink] = {}


def sink() -> Sink | None:
    """The sink in force: of the innermost `dump`, else of `PTIR_DUMP_DIR`."""
    chosen = _chosen.get()
    knobs = config.current()
    if chosen is not None or knobs.dump_dir is None:
        return chosen
    key = (knobs.dump_dir, knobs.dump_mode)
    if key not in _from_environment:
        _from_environment[key] = Sink(*key)
    return _from_environment[key]


@contextmanager
def dump(folder: str | Path, mode: DumpMode = "compile") -> Iterator[Sink]:
    """Within the block, write programs into `folder`: each compiled one, or `all` executed ones."""
    chosen = Sink(Path(folder), mode)
    token = _chosen.set(chosen)
    try:
        yield chosen
    finally:
        _chosen.reset(token)
