"""Measure how well a model predicts a text: its perplexity."""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

import click

import ptir
from ptir.cli.shared.model import model_options, opened, text_model
from ptir.cli.shared.prompts import quoted, read

LARGEST_EXPONENT = 709  # e to this is a float


@click.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="[MODEL] FILE", type=click.Path(readable=False)
)
@click.option(
    "--context",
    type=click.IntRange(2),
    metavar="N",
    help="Read windows of N tokens.  [default: the model's context]",
)
@click.option(
    "--stride",
    type=click.IntRange(1),
    metavar="N",
    help="How far each window is behind the one before.  [default: half of --context]",
)
@click.option("--per-token", is_flag=True, help="Show each token's log-probability, in nats.")
@model_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    names: tuple[str, ...],
    context: int | None,
    stride: int | None,
    per_token: bool,
    backend: str | None,
    dtype: str | None,
    tokenizer: Path | None,
    overrides: dict[str, str],
    as_json: bool,
) -> None:
    """Measure how well MODEL (default: the demo model) predicts the text of FILE ('-' is stdin).

    A text longer than the context is read in windows, and no token counts twice. The first token
    counts only if the model puts a token of its own before a text.
    """
    if len(names) > 2:
        raise click.UsageError("wanted a model and a file of text, or the file alone")
    model, file = names if len(names) == 2 else (None, names[0])
    text = read(Path(file))
    loading = opened(model, backend=backend, dtype=dtype, tokenizer=tokenizer, overrides=overrides)
    rows: list[dict[str, Any]] = []
    with loading as loaded:
        about = {"model": loaded.path, "backend": loaded.backend}
        for row in _rows(text_model(loaded), text, context, stride):
            rows.append(row)
            if per_token and not as_json:
                click.echo(f"{row['id']:7} {row['logprob']:9.4f}  {quoted(row['text'])}")
        facts = about | _facts(rows, _counted(text_model(loaded), text))
    if as_json:
        click.echo(json.dumps(facts | ({"per_token": rows} if per_token else {})))
    else:
        click.echo(_line(facts))


def _rows(
    model: "ptir.runtime.TextModel", text: str, context: int | None, stride: int | None
) -> Iterator[dict[str, Any]]:
    """Each token that counts."""
    tokenizer = model.tokenizer
    assert tokenizer is not None
    ids = tokenizer.encode(text, add_bos=tokenizer.add_bos)
    for choice in ptir.runtime.score_text(model, ids, context=context, stride=stride):
        piece = tokenizer.decode([choice.token], keep_special=True)
        yield {"id": choice.token, "logprob": choice.logprob, "text": piece}


def _counted(model: "ptir.runtime.TextModel", text: str) -> int:
    """Bytes of the text that counts: all, or all but those of its first token."""
    tokenizer = model.tokenizer
    assert tokenizer is not None
    first = "" if tokenizer.add_bos else tokenizer.decode(tokenizer.encode(text)[:1])
    return len(text.encode()) - len(first.encode())


def _facts(rows: Sequence[Mapping[str, Any]], nbytes: int) -> dict[str, Any]:
    nats = -sum(row["logprob"] for row in rows)
    mean = nats / len(rows)
    return {
        "tokens": len(rows),
        "bytes": nbytes,
        "nats": nats,
        "nats_per_token": mean,
        "perplexity": exp(mean) if mean < LARGEST_EXPONENT else None,
        "bits_per_byte": nats / log(2) / nbytes,
    }


def _line(facts: Mapping[str, Any]) -> str:
    perplexity = facts["perplexity"]
    shown = f"{perplexity:.4f}" if perplexity is not None else "beyond all numbers"
    return (
        f"perplexity {shown}: {facts['nats_per_token']:.4f} nats per token, "
        f"{facts['bits_per_byte']:.4f} bits per byte; "
        f"{facts['tokens']} tokens, {facts['bytes']} bytes"
    )
