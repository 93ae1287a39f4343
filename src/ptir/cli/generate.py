"""Continue a prompt with a language model."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

import ptir
from ptir.cli import FAILED
from ptir.cli.shared import batch
from ptir.cli.shared.model import facts, model_argument, model_options, opened, text_model
from ptir.cli.shared.order import request, resolve, shown, with_settings
from ptir.cli.shared.prompts import given
from ptir.cli.shared.trace import trace_option, traced
from ptir.cli.terminal.write import write


@click.command()
@model_argument
@click.option("-p", "--prompt", metavar="TEXT", help="The text to continue.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Read the prompt from a file, or from stdin for '-'. Without a prompt, stdin is read.",
)
@click.option(
    "--batch-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="IN.jsonl",
    help="Continue many prompts side by side: each line is an object with a prompt, perhaps an id, "
    "and settings of its own by name, as top_k. '-' is stdin.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.jsonl",
    help="Where the answers to --batch-file go, a line for each as it ends. Run again, it goes on: "
    "what has an answer there is left out.  [default: stdout]",
)
@with_settings()
@model_options
@click.option("--echo", is_flag=True, help="Print the prompt before its continuation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option(
    "--dump-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write programs into this folder, as .ptir with facts as .json.",
)
@click.option(
    "--dump-mode",
    type=click.Choice(["compile", "all"]),
    default="compile",
    show_default=True,
    help="Write each program once when it is compiled, or all that are executed.",
)
@trace_option
def command(
    model: str | None,
    prompt: str | None,
    file: Path | None,
    batch_file: Path | None,
    out: Path | None,
    show_config: bool,
    backend: str | None,
    dtype: str | None,
    tokenizer: Path | None,
    overrides: dict[str, str],
    echo: bool,
    as_json: bool,
    dump_dir: Path | None,
    dump_mode: Any,
    trace: Path | None,
    **flags: Any,
) -> None:
    """Continue a prompt with MODEL, a GPTRSCHK file, a folder with one or with a model of Hugging
    Face, or org/name on its hub (default: the demo model).

    The text goes to stdout as it comes, then a line of figures to stderr. What no flag says is
    taken from PTIR_* variables (PTIR_TOP_K), then ptir.toml in this folder or in ~/.config/ptir,
    then the model's generation_config.json; --show-config tells.

    With --batch-file the exit code is 1 if any line failed; its answer has an error.
    """
    _check_batch(batch_file, out, prompt is not None or file is not None or echo)
    text = "" if show_config or batch_file else _prompt(prompt, file)
    dumping = ptir.dump(dump_dir, dump_mode) if dump_dir else nullcontext()
    loading = opened(model, backend=backend, dtype=dtype, tokenizer=tokenizer, overrides=overrides)
    with dumping, loading as loaded, traced(trace, loaded):
        values = resolve(flags, loaded)
        options = request(values)
        if show_config:
            click.echo(shown(values, as_json, backend))
            return
        failed = 0
        if batch_file is not None:
            failed = batch.run(loaded, batch_file, out, values)
        else:
            _generate(loaded, text, options, echo, as_json)
    if failed:
        raise click.exceptions.Exit(FAILED)


def _generate(
    loaded: "ptir.LoadedModel",
    text: str,
    options: "ptir.runtime.Options",
    echo: bool,
    as_json: bool,
) -> None:
    """Continue one prompt, on stdout."""
    capability = text_model(loaded)
    if echo and not as_json:
        write(text)
    done = capability.generate(
        text, on_piece=lambda piece: None if as_json else write(piece.text), **options
    )
    if as_json:
        about = {"model": loaded.path, "kind": loaded.kind, "backend": loaded.backend}
        click.echo(json.dumps(about | facts(done)))
    else:
        click.echo()
        click.echo(_figures(done), err=True)


def _check_batch(batch_file: Path | None, out: Path | None, single: bool) -> None:
    if batch_file is None and out is not None:
        raise click.UsageError("--out is where answers to --batch-file go; give both")
    if batch_file is not None and single:
        raise click.UsageError(
            "--batch-file has the prompts; leave out --prompt, --file and --echo"
        )


def _prompt(prompt: str | None, file: Path | None) -> str:
    text = given(prompt, file)
    if not text:
        raise click.UsageError("the prompt is empty; give at least one character")
    return text


def _figures(done: "ptir.Generation") -> str:
    rate = done.timings.tokens_per_s
    parts = [
        f"{done.prompt_tokens} {'token' if done.prompt_tokens == 1 else 'tokens'} in",
        f"first after {done.timings.prefill_s:.2f} s",
        f"{len(done.token_ids)} out" + (f" at {rate:.1f} tokens/s" if rate else ""),
        f"ended by {done.finish_reason}",
        f"seed {done.seed}",
    ]
    return f"[{'; '.join(parts)}]"
