"""Models as commands name them, and what commands tell of what they generated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

import ptir
from ptir.cli.shared.progress import bar

F = TypeVar("F", bound=Callable[..., Any])

FLOATS = ("f32", "bf16", "f16")  # what --dtype converts weights to


def model_argument(command: F) -> F:
    """MODEL, which may be left out; a shell completes its path."""
    return click.argument("model", required=False, type=click.Path(readable=False))(command)


def dtype_option(command: F) -> F:
    return click.option(
        "--dtype",
        type=click.Choice(FLOATS),
        help="What it computes in; weights are converted once.  [default: as they are stored, or "
        "as the file says]",
    )(command)


def model_options(command: F) -> F:
    """How MODEL is loaded: --backend, --dtype, --tokenizer and --override."""
    for option in (
        click.option(
            "--override",
            "overrides",
            multiple=True,
            metavar="NAME=POLICY",
            callback=lambda context, option, given: _overrides(given),
            help="Choose how a functional is computed, as matmul=force=split_k or "
            "attention=benchmark; `ptir functionals` lists them. May be repeated.",
        ),
        click.option(
            "--tokenizer",
            type=click.Path(path_type=Path),
            help="A tokenizer.json, or a folder with a tokenizer.  "
            "[default: the one beside the model]",
        ),
        dtype_option,
        click.option(
            "--backend", metavar="NAME", help="What runs it.  [default: PTIR_BACKEND, native]"
        ),
    ):
        option(command)
    return command


@contextmanager
def opened(model: str | None, **how: Any) -> "Iterator[ptir.LoadedModel]":
    """MODEL, as `ptir.load_model` opens it. What takes more than a second to be made of its weights
    has a bar.
    """
    style = {"desc": "preparing weights", "unit": "B", "unit_scale": True, "leave": False}
    weights = bar(after=1.0, **style)
    with ptir.load_model(model, **how) as loaded, weights as told, ptir.engine.watch_derived(told):
        yield loaded


def causal_lm(loaded: "ptir.LoadedModel") -> "ptir.runtime.TextModel":
    """The model's capability to go on with tokens."""
    capability = loaded.as_causal_lm()
    if capability is None:
        raise ptir.PtirError(f"{loaded.path}: a {loaded.kind} model generates no text")
    return capability


def text_model(loaded: "ptir.LoadedModel") -> "ptir.runtime.TextModel":
    """The same with a tokenizer, so that it goes on with a text."""
    capability = causal_lm(loaded)
    if capability.tokenizer is None:
        message = "no tokenizer.json lies beside it; name one with --tokenizer FILE"
        raise ptir.PtirError(f"{loaded.path}: {message}")
    return capability


def facts(done: "ptir.Generation") -> dict[str, Any]:
    """A generation as JSON has it; what was not asked for is not there."""
    found: dict[str, Any] = {
        "text": done.text,
        "token_ids": done.token_ids,
        "finish_reason": done.finish_reason,
        "usage": {"prompt_tokens": done.prompt_tokens, "completion_tokens": len(done.token_ids)},
        "seed": done.seed,
        "timings": {"prefill_s": done.timings.prefill_s, "decode_s": done.timings.decode_s},
    }
    if done.stop is not None:
        found["stop"] = done.stop
    for name in ("logprobs", "prompt_logprobs"):
        if choices := getattr(done, name):
            found[name] = [_choice(choice) for choice in choices]
    return found


def _choice(choice: "ptir.runtime.Choice") -> dict[str, Any]:
    return {
        "token": choice.token,
        "logprob": choice.logprob,
        "top": [{"token": token, "logprob": logprob} for token, logprob in choice.top],
    }


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
