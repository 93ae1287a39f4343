"""Say how much memory a model takes, and how fast it can be here. Reads no weights."""

import json
from typing import Any

import click

import ptir
from ptir.cli.shared.model import causal_lm, dtype_option, model_argument

KINDS = {
    "weights": "parameters, as they lie in the file",
    "derived": "made of other parameters once",
    "caches": "keys and values",
    "working": "what a step needs while it runs",
    "total": "beside the interpreter and its libraries",
}


@click.command()
@model_argument
@click.option(
    "--ctx",
    "context",
    type=click.IntRange(1),
    metavar="N",
    help="Tokens of a sequence, prompt included.  [default: the model's context]",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="Sequences side by side in one step.",
)
@click.option("--backend", metavar="NAME", help="What runs it.  [default: PTIR_BACKEND, native]")
@dtype_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str | None,
    context: int | None,
    batch: int,
    backend: str | None,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Say what MODEL (default: the demo model) takes: bytes by kind, and tokens a second at most.

    The speed is a bound: what must be read and multiplied, at the rates that a short measurement
    finds on this machine.
    """
    with ptir.load_model(model, backend=backend, dtype=dtype) as loaded:
        lm = causal_lm(loaded)
        length = context or lm.context_length
        if length > lm.context_length:
            message = f"{length} tokens do not fit the model's context of {lm.context_length}"
            raise click.BadParameter(message, param_hint="--ctx")
        facts = _facts(loaded, lm, length, batch)
    click.echo(json.dumps(facts) if as_json else _page(facts))


def _facts(loaded: "ptir.LoadedModel", lm: Any, context: int, batch: int) -> dict[str, Any]:
    memory = ptir.runtime.memory(lm, context, batch)
    ceilings = ptir.runtime.ceilings(loaded.backend, loaded.dtype.name)
    chunk = min(context, ptir.runtime.PREFILL_CHUNK)
    steps = {"prefill": (chunk, chunk), "decode": (1, context)}
    return {
        "model": loaded.path,
        "kind": loaded.kind,
        "backend": loaded.backend,
        "context": context,
        "batch": batch,
        "checkpoint_bytes": sum(p.nbytes for p in loaded.parameters()),
        "bytes": {kind: getattr(memory, kind) for kind in KINDS},
        "exact": memory.is_exact,
        "ceilings": ceilings._asdict(),
        "tokens_per_s": {
            step: tokens * batch / _least(lm, step, tokens, length, batch, ceilings)
            for step, (tokens, length) in steps.items()
        },
    }


def _least(lm: Any, step: Any, tokens: int, length: int, batch: int, ceilings: Any) -> float:
    return ptir.runtime.work(lm, step, tokens, length, batch).least_seconds(ceilings)


def _page(facts: dict[str, Any]) -> str:
    most = ptir.profile.Ceilings(**facts["ceilings"])
    read, computed = most.bytes_per_s / 1e9, most.flops_per_s / 1e9
    rows = [f"  {kind:8} {n / 2**20:12.3f} MiB  {KINDS[kind]}" for kind, n in _kinds(facts)]
    rates = [f"  {step:8} {rate:12.1f} tokens/s" for step, rate in facts["tokens_per_s"].items()]
    return "\n".join(
        [
            f"{facts['model']}: {facts['kind']}, on {facts['backend']}",
            f"memory of {facts['batch']} × {facts['context']} tokens",
            *rows,
            *([] if facts["exact"] else ["  (working: the values alive at once, not more)"]),
            f"speed at most, of {read:.1f} GB/s read and {computed:.1f} GFLOP/s in {most.dtype}",
            *rates,
        ]
    )


def _kinds(facts: dict[str, Any]) -> list[tuple[str, int]]:
    return list(facts["bytes"].items())
