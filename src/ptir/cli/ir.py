"""Print a program: of a file, or of a step of a model."""

from pathlib import Path
from typing import Any

import click

import ptir
from ptir.cli.shared.model import dtype_option

PROGRAMS = (".ptir", ".json")


@click.command()
@click.argument("source", metavar="[FILE|MODEL]", required=False)
@click.option(
    "--step",
    type=click.Choice(["prefill", "decode", "score"]),
    default="decode",
    show_default=True,
    help="Which step of a model: a prompt, one token more, or logits without a cache.",
)
@click.option("--optimized", is_flag=True, help="As it runs, after all passes, not as captured.")
@click.option(
    "--backend", metavar="NAME", help="What would run it.  [default: PTIR_BACKEND, native]"
)
@dtype_option
@click.option("--literals", is_flag=True, help="Print large constants in full.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON form.")
def command(
    source: str | None,
    step: Any,
    optimized: bool,
    backend: str | None,
    dtype: str | None,
    literals: bool,
    as_json: bool,
) -> None:
    """Print the program in FILE (.ptir or .json), or of a step of MODEL (default: the demo model).

    A program that is read is checked; nothing is run.
    """
    if source is not None and Path(source).suffix in PROGRAMS:
        if dtype is not None:
            raise click.UsageError("--dtype is for a model; a program has its types")
        program = ptir.ir.read_program(Path(source))
    else:
        with ptir.load_model(source, backend=backend, dtype=dtype) as loaded:
            capability = loaded.as_causal_lm()
            if capability is None:
                raise ptir.PtirError(f"{loaded.path}: a {loaded.kind} model has no {step} step")
            plan = capability.plan(step)
            program = plan.program if optimized else plan.key.program
    if as_json:
        click.echo(ptir.ir.to_json(program))
    else:
        click.echo(ptir.ir.print_program(program, literals=literals), nl=False)
