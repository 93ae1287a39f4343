"""Talk with a language model."""

from importlib import import_module
from pathlib import Path

import click

import ptir
from ptir.cli.terminal.model import text_model


@click.command()
@click.argument("model", required=False)
@click.option("--system", metavar="TEXT", help="What the model is told before the first turn.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    metavar="N",
    default=256,
    show_default=True,
    help="Stop an answer after N tokens.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    metavar="T",
    default=0.8,
    show_default=True,
    help="How bold the choice of tokens is; 0 takes the likeliest each time.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Repeats a conversation.")
@click.option("--backend", metavar="NAME", help="What runs it.  [default: PTIR_BACKEND, native]")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    help="A tokenizer.json, or a folder with a tokenizer.  [default: the one beside the model]",
)
def command(
    model: str | None,
    system: str | None,
    max_tokens: int,
    temperature: float,
    seed: int | None,
    backend: str | None,
    tokenizer: Path | None,
) -> None:
    """Talk with MODEL, a GPTRSCHK file or a folder with one (default: the demo model).

    A line is a turn, or a command: /help lists them. A model with a chat template is asked by it;
    any other goes on with what was said as one text, each turn on a line of its own. When the
    context is full the oldest turns are left out of what the model sees.

    Lines may be piped in: there is no prompt then, and what goes wrong ends the chat. Answers go to
    stdout, everything else to stderr.
    """
    try:
        sampling = ptir.Sampling(temperature, seed)
    except ptir.PtirError as error:
        raise click.UsageError(str(error)) from None
    with ptir.load_model(model, backend=backend, tokenizer=tokenizer) as loaded:
        # It needs NumPy, and help must come at once.
        import_module("ptir.cli.terminal.repl").talk(
            text_model(loaded),
            f"{loaded.path}: {loaded.kind} on {loaded.backend}",
            ptir.config.cache_folder() / "chat_history",
            sampling=sampling,
            max_tokens=max_tokens,
            system=system,
        )
