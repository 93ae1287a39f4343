"""Continue a prompt with a language model."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

import ptir

MAX_PROMPT_BYTES = 1 << 24  # far beyond every context; a device may have no end

# What steers a terminal, as text about it: `\x1b`. A new line and a tab are meant as such.
SHOWN = {c: ascii(chr(c))[1:-1] for c in (*range(0x20), *range(0x7F, 0xA0)) if chr(c) not in "\n\t"}


@click.command()
@click.argument("model", required=False)
@click.option("-p", "--prompt", metavar="TEXT", help="The text to continue.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Read the prompt from a file, or from stdin for '-'. Without a prompt, stdin is read.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(0),
    metavar="N",
    default=128,
    show_default=True,
    help="Stop after N tokens.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    metavar="T",
    default=0.8,
    show_default=True,
    help="How bold the choice of tokens is; 0 takes the likeliest each time.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    help="Repeats a generation; the line of figures tells which seed was drawn.",
)
@click.option("--backend", metavar="NAME", help="What runs it.  [default: PTIR_BACKEND, native]")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    help="A tokenizer.json, or a folder with a tokenizer.  [default: the one beside the model]",
)
@click.option(
    "--override",
    "overrides",
    multiple=True,
    metavar="NAME=POLICY",
    callback=lambda context, option, given: _overrides(given),
    help="Choose how a functional is computed, as matmul=force=split_k or attention=benchmark; "
    "`ptir functionals` lists them. May be repeated.",
)
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
@click.option(
    "--profile",
    "trace",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write a trace of it (Perfetto loads it), and say on stderr where the time went.",
)
def command(
    model: str | None,
    prompt: str | None,
    file: Path | None,
    max_tokens: int,
    temperature: float,
    seed: int | None,
    backend: str | None,
    tokenizer: Path | None,
    overrides: dict[str, str],
    echo: bool,
    as_json: bool,
    dump_dir: Path | None,
    dump_mode: Any,
    trace: Path | None,
) -> None:
    """Continue a prompt with MODEL, a GPTRSCHK file, a folder with one or with a model of Hugging
    Face, or org/name on its hub (default: the demo model).

    The text goes to stdout as it comes, then a line of figures to stderr.
    """
    text = _prompt(prompt, file)
    sampling = _sampling(temperature, seed)
    dumping = ptir.dump(dump_dir, dump_mode) if dump_dir else nullcontext()
    loading = ptir.load_model(model, backend=backend, tokenizer=tokenizer, overrides=overrides)
    recording = ptir.profile.recording() if trace else nullcontext()
    with dumping, recording as recorder, loading as loaded:
        capability = loaded.as_causal_lm()
        if capability is None:
            raise ptir.PtirError(f"{loaded.path}: a {loaded.kind} model generates no text")
        if capability.tokenizer is None:
            message = "no tokenizer.json lies beside it; name one with --tokenizer FILE"
            raise ptir.PtirError(f"{loaded.path}: {message}")
        if echo and not as_json:
            _write(text)
        done = capability.generate(
            text,
            max_tokens=max_tokens,
            sampling=sampling,
            on_piece=lambda piece: None if as_json else _write(piece.text),
        )
        if as_json:
            click.echo(json.dumps(_facts(loaded, done)))
        else:
            click.echo()
            click.echo(_figures(done), err=True)
        backend = loaded.backend
    if trace and recorder:
        _tell(recorder, trace, backend)


def _tell(recorder: Any, trace: Path, backend: str) -> None:
    """Write the trace, and say where the time went."""
    ptir.profile.save(recorder, trace)
    click.echo(ptir.profile.table(recorder, ptir.runtime.ceilings(backend)), err=True)


def _write(text: str) -> None:
    """Print text at once: as it is into a pipe or file, harmless on a terminal."""
    shown = text.translate(SHOWN) if sys.stdout is not None and sys.stdout.isatty() else text
    click.echo(shown, nl=False, color=True)  # else click takes escape sequences out of a pipe


def _overrides(given: Sequence[str]) -> dict[str, str]:
    """The policies by functional. Read before anything is loaded."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, policy = text.partition("=")
        if not equals:
            message = f"{text!r} is not NAME=POLICY, such as matmul=force=split_k"
            raise click.BadParameter(message)
        if name in found:
            raise click.BadParameter(f"{name} is overridden twice")
        found[name] = policy
    try:
        if found:
            ptir.functional.FunctionalRegistry.from_settings(found)
    except ptir.SpecError as error:
        raise click.BadParameter(str(error)) from None
    return found


def _prompt(prompt: str | None, file: Path | None) -> str:
    if prompt is not None and file is not None:
        raise click.UsageError("give --prompt or --file, not both")
    text = _read(file) if prompt is None else _as_given(prompt)
    if not text:
        raise click.UsageError("the prompt is empty; give at least one character")
    return text


def _as_given(prompt: str) -> str:
    """The text of an argument: UTF-8 whatever the locale says."""
    if prompt.isascii() or not any("\udc80" <= c <= "\udcff" for c in prompt):
        return prompt
    return _decoded(os.fsencode(prompt), "--prompt")


def _read(file: Path | None) -> str:
    """The text of a file or of stdin: UTF-8 whatever the locale says, and not a byte of it lost."""
    if file is not None and file != Path("-"):
        with file.open("rb") as opened:
            return _decoded(opened.read(MAX_PROMPT_BYTES + 1), str(file))
    if sys.stdin is None or (file is None and sys.stdin.isatty()):
        raise click.UsageError("no prompt: give --prompt TEXT, --file FILE, or pipe one in")
    return _decoded(sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1), "stdin")


def _decoded(raw: bytes, name: str) -> str:
    if len(raw) > MAX_PROMPT_BYTES:
        raise ptir.PtirError(f"{name}: more than {MAX_PROMPT_BYTES} bytes are no prompt")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        why = f"{error.reason} at byte {error.start}"
        raise ptir.PtirError(f"{name}: is not UTF-8 text: {why}") from None


def _sampling(temperature: float, seed: int | None) -> "ptir.Sampling":
    try:
        return ptir.Sampling(temperature, seed)
    except ptir.PtirError as error:
        raise click.UsageError(str(error)) from None


def _facts(loaded: "ptir.LoadedModel", done: "ptir.Generation") -> dict[str, Any]:
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
