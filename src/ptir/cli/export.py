"""Write a model of Hugging Face as a GPTRSCHK file."""

import json
from dataclasses import asdict
from pathlib import Path

import click

import ptir
from ptir import models
from ptir.cli.shared.model import FLOATS
from ptir.cli.shared.progress import bar


@click.command()
@click.argument("model_type")
@click.option(
    "--from",
    "source",
    metavar="MODEL",
    required=True,
    help="A folder of Hugging Face, or org/name[@revision] on its hub.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write; what generation needs of the tokenizer is copied beside it.",
)
@click.option(
    "--dtype",
    type=click.Choice(FLOATS),
    help="Convert the weights.  [default: as they are]",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model_type: str, source: str, out: Path, dtype: str | None, force: bool, as_json: bool
) -> None:
    """Write a model of MODEL_TYPE, such as gpt2, as one file, read it back and compare logits."""
    try:
        kind = models.of_model_type(model_type).kind
    except ptir.PtirError as error:
        raise click.BadParameter(str(error), param_hint="MODEL_TYPE") from None
    with bar(unit=" tensors") as on_tensor:
        done = ptir.runtime.export(
            source, out, kind=kind, dtype=dtype, force=force, on_tensor=on_tensor
        )
    click.echo(json.dumps(asdict(done)) if as_json else _page(done))


def _page(done: "ptir.runtime.Exported") -> str:
    beside = ", ".join(done.beside) or "nothing"
    return "\n".join(
        [
            f"{done.path}: {done.kind}, {done.tensors} tensors, {done.nbytes / 2**20:.2f} MiB",
            f"beside it: {beside}",
            f"logits differ from the source's by {done.difference:.1e} of the largest at most",
        ]
    )
