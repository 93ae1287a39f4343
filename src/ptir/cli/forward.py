"""Run a model once: token ids or an image in, logits out."""

import json
from math import isfinite
from pathlib import Path
from typing import Any

import click

import ptir
from ptir.cli.shared.model import model_argument, model_options, opened
from ptir.cli.shared.prompts import quoted
from ptir.cli.shared.table import Ids
from ptir.cli.shared.trace import trace_option, traced

TOP = 5
SUFFIXES = (".npy", ".gptrsten", ".safetensors")


@click.command()
@model_argument
@click.option("--tokens", "ids", type=Ids(), metavar="ID,…", help="Token ids.")
@click.option(
    "--input",
    "file",
    type=click.Path(path_type=Path),
    help="A file with token ids [T] or [B, T], or with images [B, C, H, W] as floats: .npy, or a "
    "GPTRSTEN or safetensors archive.",
)
@click.option(
    "--name", metavar="NAME", help="Which tensor of the archive.  [default: its only one]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Write the logits here, by suffix: {', '.join(SUFFIXES)}; in an archive as `logits`.",
)
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@trace_option
def command(
    model: str | None,
    ids: list[int] | None,
    file: Path | None,
    name: str | None,
    out: Path | None,
    backend: str | None,
    dtype: str | None,
    tokenizer: Path | None,
    overrides: dict[str, str],
    as_json: bool,
    trace: Path | None,
) -> None:
    """Run MODEL on an input, and show the shape of its logits and the largest of the last position.

    MODEL is a checkpoint or a folder with one (default: the demo model).
    """
    if (ids is None) is (file is None):
        raise click.UsageError("give the input with --tokens or --input, one of them")
    if out is not None and out.suffix not in SUFFIXES:
        raise click.UsageError(f"--out: {str(out)!r} does not end in {', '.join(SUFFIXES)}")
    given = ptir.Tokens(ids) if ids is not None else _read(file, name)
    loading = opened(model, backend=backend, dtype=dtype, tokenizer=tokenizer, overrides=overrides)
    with loading as loaded, traced(trace, loaded):
        with ptir.profile.span("forward", "step"):
            logits = loaded.forward(given).numpy()
        facts = {
            "model": loaded.path,
            "backend": loaded.backend,
            "shape": list(logits.shape),
            "top": [_largest(row, loaded) for row in _last(logits)],
        }
    if out is not None:
        ptir.runtime.write_array(out, "logits", logits)
    click.echo(json.dumps(facts) if as_json else _page(facts))


def _read(file: Path | None, name: str | None) -> "ptir.Tokens | ptir.Image":
    assert file is not None
    array = ptir.runtime.read_array(file, name)
    if array.dtype.kind in "iu":
        return ptir.Tokens(array)
    if "float" in array.dtype.name:  # bfloat16 too
        return ptir.Image(array.astype("f4"))
    raise ptir.PtirError(f"{file}: has elements of {array.dtype}, wanted whole numbers or floats")


def _last(logits: Any) -> Any:
    """What is said behind each sequence, or of each image: [B, vocab]."""
    return logits[:, -1] if logits.ndim == 3 else logits


def _largest(row: Any, loaded: "ptir.LoadedModel") -> list[dict[str, Any]]:
    """The largest logits of a row, of equals the first."""
    found = []
    for place in (-row).argsort(kind="stable")[:TOP].tolist():
        logit = float(row[place])
        entry = {"id": place, "logit": logit if isfinite(logit) else str(logit)}
        if loaded.tokenizer is not None:
            entry["text"] = loaded.tokenizer.decode([place], keep_special=True)
        found.append(entry)
    return found


def _page(facts: dict[str, Any]) -> str:
    rows = [f"logits {facts['shape']}"]
    for sequence, top in enumerate(facts["top"]):
        rows += [f"of {sequence}:"] if len(facts["top"]) > 1 else []
        for entry in top:
            text = quoted(entry["text"]) if "text" in entry else ""
            rows.append(f"  {entry['id']:7} {float(entry['logit']):9.4f}  {text}".rstrip())
    return "\n".join(rows)
