"""Continue a prompt with a language model."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

import ptir


@click.command()
@click.argument("model", required=False)
@click.option("-p", "--prompt", help="Text to continue.")
@click.option(
    "-f",
    "--file",
    type=click.File(encoding="utf-8"),
    help="Read the prompt from a file ('-': stdin, which is also read when it is piped in).",
)
@click.option("--max-tokens", type=click.IntRange(0), default=128, show_default=True)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=0.8,
    show_default=True,
    help="0 takes the likeliest token each time.",
)
@click.option("--seed", type=click.IntRange(0), help="Makes sampling repeatable.")
@click.option("--backend", help="Default: PTIR_BACKEND, or reference.")
@click.option("--tokenizer", help="Default: tokenizer.json beside the model.")
@click.option("--echo", is_flag=True, help="Print the prompt before its continuation.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when done.")
@click.option(
    "--dump-dir", type=click.Path(path_type=Path), help="Write the programs that run here."
)
@click.option(
    "--dump-mode",
    type=click.Choice(["compile", "all"]),
    default="compile",
    show_default=True,
    help="Dump each compiled program, or all that are executed.",
)
def command(
    model: str | None,
    prompt: str | None,
    file: Any,
    max_tokens: int,
    temperature: float,
    seed: int | None,
    backend: str | None,
    tokenizer: str | None,
    echo: bool,
    as_json: bool,
    dump_dir: Path | None,
    dump_mode: Any,
) -> None:
    """Continue a prompt with MODEL (a GPTRSCHK file or a folder with one; default: the demo model).

    The text goes to stdout as it comes, a line of figures to stderr.
    """
    text = _prompt(prompt, file)
    sampling = ptir.Sampling(temperature, seed)
    dumping = ptir.dump(dump_dir, dump_mode) if dump_dir else nullcontext()
    with dumping, ptir.load_model(model, backend=backend, tokenizer=tokenizer) as loaded:
        capability = loaded.as_causal_lm()
        if capability is None:
            raise ptir.PtirError(f"{loaded.path}: a {loaded.kind} model generates no text")
        if echo and not as_json:
            _show(text)
        done = capability.generate(
            text,
            max_tokens=max_tokens,
            sampling=sampling,
            on_piece=lambda piece: None if as_json else _show(piece.text),
        )
        if as_json:
            click.echo(json.dumps(_facts(loaded, done)))
        else:
            click.echo()
            click.echo(_figures(done), err=True)


def _prompt(prompt: str | None, file: Any) -> str:
    if prompt is not None and file is not None:
        raise click.UsageError("give --prompt or --file, not both")
    if prompt is None and file is None:
        if sys.stdin.isatty():
            raise click.UsageError("no prompt: give --prompt TEXT, --file FILE or pipe one in")
        file = sys.stdin
    try:
        text = prompt if prompt is not None else str(file.read())
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the prompt is not valid UTF-8: {error}") from None
    if not text:
        raise click.UsageError("the prompt is empty")
    return text


def _show(text: str) -> None:
    click.echo(text, nl=False)
    sys.stdout.flush()


def _facts(loaded: ptir.LoadedModel, done: ptir.Generation) -> dict[str, Any]:
    return {
        "model": loaded.path,
        "kind": loaded.kind,
        "backend": loaded.backend,
        "text": done.text,
        "token_ids": done.token_ids,
        "finish_reason": done.finish_reason,
        "usage": {"prompt_tokens": done.prompt_tokens, "completion_tokens": len(done.token_ids)},
        "seed": done.seed,
        "timings": {"prefill_s": done.timings.prefill_s, "decode_s": done.timings.decode_s},
    }


def _figures(done: ptir.Generation) -> str:
    after_first, t = max(len(done.token_ids) - 1, 0), done.timings
    rate = f"{after_first / t.decode_s:.1f} tokens/s" if after_first and t.decode_s else "no rate"
    return (
        f"[{done.prompt_tokens} tokens in, {t.prefill_s:.2f} s to the first; "
        f"{len(done.token_ids)} out at {rate}; ended by {done.finish_reason}; seed {done.seed}]"
    )
