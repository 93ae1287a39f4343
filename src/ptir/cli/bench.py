"""Measure how fast a model takes a prompt, generates, and starts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any

import click

import ptir
from ptir.cli.shared.model import causal_lm, dtype_option, model_argument, opened

MIB = 1 << 20
MAX_BYTES = 1 << 24  # of a file to compare with


@click.command()
@model_argument
@click.option(
    "-p",
    "--prompt-tokens",
    type=click.IntRange(0),
    metavar="N",
    default=512,
    show_default=True,
    help="Tokens of the prompt; 0 leaves it out.",
)
@click.option(
    "-n",
    "--gen-tokens",
    type=click.IntRange(0),
    metavar="N",
    default=128,
    show_default=True,
    help="Tokens to generate, from an empty cache on; 0 leaves it out.",
)
@click.option(
    "-r",
    "--repeats",
    type=click.IntRange(1),
    metavar="N",
    default=5,
    show_default=True,
    help="How often to measure; one run before that does not count.",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="As PTIR_THREADS says.")
@click.option("--backend", metavar="NAME", help="What runs it.  [default: PTIR_BACKEND, native]")
@dtype_option
@click.option("--cold", is_flag=True, help="From the start of a process to its first token.")
@click.option("--per-op", is_flag=True, help="Say where the time of one more run goes.")
@click.option(
    "--profile",
    "trace",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write a trace of one more run (Perfetto loads it), and say on stderr where time goes.",
)
@click.option(
    "--compare",
    "earlier",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What --json printed before: each figure is compared with its own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str | None,
    prompt_tokens: int,
    gen_tokens: int,
    repeats: int,
    threads: int | None,
    backend: str | None,
    dtype: str | None,
    cold: bool,
    per_op: bool,
    trace: Path | None,
    earlier: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL (default: the demo model): tokens a second, median and spread.

    The share of the ceiling compares with the least time in which this machine could read what has
    to be read and multiply what has to be multiplied. Sizes beyond the context of the model are
    cut.
    """
    if cold and (per_op or trace):
        raise click.UsageError("--cold measures other processes; leave out --per-op and --profile")
    if not (cold or prompt_tokens or gen_tokens):
        raise click.UsageError("nothing to measure: give -p or -n a number above 0")
    before = _earlier(earlier)
    with ptir.config.setting(threads=threads):
        started = _cold(model, backend, dtype, repeats) if cold else []
        with opened(model, backend=backend, dtype=dtype) as loaded:
            facts = _facts(loaded)
            if cold:
                facts["results"] = [_row(figure, before) for figure in started]
                table = ""
            else:
                tests = _tests(causal_lm(loaded), prompt_tokens, gen_tokens)
                facts |= _warm(loaded, tests, repeats, before)
                table = _profiled(loaded, tests, facts, trace) if per_op or trace else ""
    click.echo(json.dumps(facts) if as_json else _page(facts))
    if table:
        click.echo(f"\n{table}", err=as_json or not per_op)


def _warm(
    loaded: "ptir.LoadedModel", tests: list[Any], repeats: int, before: dict[str, float]
) -> dict[str, Any]:
    """What the machine can do and what the model does on it."""
    click.echo("measuring the machine", err=True)
    ceilings = ptir.runtime.ceilings(loaded.backend, loaded.dtype.name)
    rows = []
    for test in tests:
        click.echo(f"measuring {test.name}, {repeats} times", err=True)
        rows.append(_row(test.measure(causal_lm(loaded), repeats, ceilings), before))
    return {"ceilings": ceilings._asdict(), "results": rows}


def _profiled(
    loaded: "ptir.LoadedModel", tests: list[Any], facts: dict[str, Any], trace: Path | None
) -> str:
    """Where the time of one more run goes; its trace is written."""
    recorder = ptir.runtime.bench.profiled(tests, causal_lm(loaded))
    if trace:
        ptir.profile.save(recorder, trace)
    return ptir.profile.table(recorder, ptir.profile.Ceilings(**facts["ceilings"]))


def _tests(lm: Any, prompt: int, generated: int) -> list[Any]:
    """What is to be measured; sizes that the context has no room for are cut, and it is said."""
    context, bench = lm.context_length, ptir.runtime.bench
    for what, tokens in (("prompt", prompt), ("generation", generated)):
        if tokens > context:
            click.echo(f"the {what} is cut to {context} tokens, the model's context", err=True)
    sizes = ((bench.prompt, prompt), (bench.generation, generated))
    return [make(min(tokens, context)) for make, tokens in sizes if tokens]


def _facts(loaded: "ptir.LoadedModel") -> dict[str, Any]:
    return {
        "model": loaded.path,
        "kind": loaded.kind,
        "bytes": sum(p.nbytes for p in loaded.parameters()),
        "dtype": loaded.dtype.name,
        "backend": loaded.backend,
        "threads": ptir.config.current().threads,
        "processor": ptir.functional.winners.cpu(),
    }


def _row(figure: Any, before: dict[str, float]) -> dict[str, Any]:
    row = {
        "name": figure.name,
        "unit": figure.unit,
        "median": figure.median,
        "least": min(figure.values),
        "most": max(figure.values),
        "values": list(figure.values),
        "of_ceiling": figure.of_ceiling,
    }
    return row | ({"before": before[figure.name]} if figure.name in before else {})


def _page(facts: dict[str, Any]) -> str:
    threads = f", {facts['threads']} threads" if facts["threads"] else ""
    lines = [
        f"{facts['model']}: {facts['kind']}, {facts['bytes'] / MIB:.2f} MiB",
        f"in {facts['dtype']} on {facts['backend']}{threads}; {facts['processor']}",
    ]
    if "ceilings" in facts:
        most = ptir.profile.Ceilings(**facts["ceilings"])
        read, computed = most.bytes_per_s / 1e9, most.flops_per_s / 1e9
        lines.append(f"ceilings: {read:.1f} GB/s read, {computed:.1f} GFLOP/s in {most.dtype}")
    return "\n".join([*lines, *map(_line, facts["results"])])


def _line(row: dict[str, Any]) -> str:
    spread = f"({row['least']:.2f} to {row['most']:.2f}, {len(row['values'])} times)"
    line = f"  {row['name']:12} {row['median']:10.2f} {row['unit']:9} {spread:36}"
    if row["of_ceiling"] is not None:
        line += f"  {100 * row['of_ceiling']:5.1f} % of the ceiling"
    if row.get("before"):
        change = 100 * (row["median"] / row["before"] - 1)
        line += f"  before {row['before']:.2f}: {change:+.1f} %"
    return line.rstrip()


def _earlier(file: Path | None) -> dict[str, float]:
    """The medians of an earlier run by name."""
    if file is None:
        return {}
    with file.open("rb") as stream:
        raw = stream.read(MAX_BYTES)
    try:
        return {str(row["name"]): float(row["median"]) for row in json.loads(raw)["results"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ptir.PtirError(f"{file}: is not what `ptir bench --json` prints") from None


# --- cold ---


def _cold(model: str | None, backend: str | None, dtype: str | None, repeats: int) -> list[Any]:
    """Processes from their start to the first token: the time of it, and the peak of memory."""
    command = [sys.executable, "-m", "ptir", "generate", *([model] if model else [])]
    command += ["--prompt", "A", "--max-tokens", "1", "--temperature", "0"]
    command += ["--backend", backend] if backend else []
    command += ["--dtype", dtype] if dtype else []
    click.echo(f"starting {1 + repeats} processes", err=True)
    runs = [_process(command) for _ in range(1 + repeats)][1:]  # the first fills the file cache
    first, whole, peak = zip(*runs, strict=True)
    figure = ptir.runtime.bench.Figure
    return [
        figure("cold first", "s", first),
        figure("cold process", "s", whole),
        figure("cold peak", "MiB", peak),
    ]


def _process(command: list[str]) -> tuple[float, float, float]:
    """Seconds until the first output and until the end, and the peak of resident MiB."""
    with TemporaryFile() as errors:
        begun = perf_counter()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        assert child.stdout is not None
        with child.stdout as out:
            out.read(1)
            first = perf_counter() - begun
            out.read()
        _, status, usage = os.wait4(child.pid, 0)  # of this child alone, as no other call tells
        whole = perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            said = errors.read(MAX_BYTES).decode(errors="replace").strip().removeprefix("ptir: ")
            raise ptir.PtirError(said or f"ptir generate ended with {child.returncode}")
    return first, whole, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB
