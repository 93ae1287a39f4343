"""Show the token ids and pieces of a text, or the text of ids."""

import json
from pathlib import Path

import click

import ptir
from ptir.cli.shared.model import model_argument
from ptir.cli.shared.prompts import given, quoted
from ptir.cli.shared.table import Ids


@click.command()
@model_argument
@click.option("-p", "--prompt", metavar="TEXT", help="The text.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Read the text from a file, or from stdin for '-'. Without a text, stdin is read.",
)
@click.option("--decode", "ids", type=Ids(), metavar="ID,…", help="Show the text of these ids.")
@click.option(
    "--special",
    is_flag=True,
    help="Make special tokens of their spellings, and put the model's first token before a text; "
    "with --decode, show them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str | None,
    prompt: str | None,
    file: Path | None,
    ids: list[int] | None,
    special: bool,
    as_json: bool,
) -> None:
    """Show how MODEL splits a text: a line for each token, with its id and its text.

    MODEL is a checkpoint, a folder, or a tokenizer.json (default: the demo model). No weights are
    read.
    """
    if ids is not None and (prompt is not None or file is not None):
        raise click.UsageError("--decode has the ids; leave out --prompt and --file")
    tokenizer = ptir.runtime.load_tokenizer(model)
    if ids is not None:
        text = tokenizer.decode(ids, keep_special=special)
        click.echo(json.dumps({"ids": ids, "text": text}) if as_json else text)
        return
    text = given(prompt, file)
    begun = special and tokenizer.add_bos
    ids = tokenizer.encode(text, special=special, add_bos=begun) if text or begun else []
    pieces = [tokenizer.decode([id], keep_special=True) for id in ids]
    if as_json:
        click.echo(json.dumps({"ids": ids, "pieces": pieces}))
        return
    for id, piece in zip(ids, pieces, strict=True):
        click.echo(f"{id:7} {quoted(piece)}")
