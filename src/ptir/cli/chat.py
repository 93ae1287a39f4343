"""Talk with a language model."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import ptir
from ptir.cli.shared.model import model_argument, model_options, opened, text_model
from ptir.cli.shared.order import request, resolve, shown, with_settings
from ptir.cli.shared.table import TABLE

# A conversation is longer than one answer, and does not end where the context does.
OWN = {"max_tokens": 256, "overflow": "slide"}
SETTINGS = TABLE | {name: replace(TABLE[name], default=value) for name, value in OWN.items()}


@click.command()
@model_argument
@click.option("--system", metavar="TEXT", help="What the model is told before the first turn.")
@with_settings(SETTINGS)
@model_options
def command(
    model: str | None,
    system: str | None,
    show_config: bool,
    backend: str | None,
    dtype: str | None,
    tokenizer: Path | None,
    overrides: dict[str, str],
    **flags: Any,
) -> None:
    """Talk with MODEL, a GPTRSCHK file or a folder with one (default: the demo model).

    A line is a turn, or a command: /help lists them. A model with a chat template is asked by it;
    any other goes on with what was said as one text, each turn on a line of its own. When the
    context is full the oldest turns are left out of what the model sees, unless --overflow is
    stop. What no flag says is found as `ptir generate` finds it.

    Lines may be piped in: there is no prompt then, and what goes wrong ends the chat. Answers go to
    stdout, everything else to stderr.
    """
    loading = opened(model, backend=backend, dtype=dtype, tokenizer=tokenizer, overrides=overrides)
    with loading as loaded:
        values = resolve(flags, loaded, SETTINGS)
        options = request(values)
        if show_config:
            click.echo(shown(values, False, backend))
            return
        # It needs NumPy, and help must come at once.
        import_module("ptir.cli.terminal.repl").talk(
            text_model(loaded),
            f"{loaded.path}: {loaded.kind} on {loaded.backend}",
            ptir.config.cache_folder() / "chat_history",
            options,
            system,
        )
