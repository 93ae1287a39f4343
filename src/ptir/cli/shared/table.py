"""The settings of generation: one table for flags, `PTIR_*`, `ptir.toml` and lines of a batch.

Imports nothing heavy, since help is made of it; a test holds the defaults to those of the runtime.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ptir.config import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


class Ids(click.ParamType[list[int]]):
    """Token ids, as `1,2,3`."""

    name = "ids"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        if isinstance(value, list):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(word.isascii() and word.isdigit() and len(word) < 20 for word in words):
            self.fail(f"{value!r} is no list of token ids, such as 1,2,3", param, ctx)
        return [int(word) for word in words]


class Biases(click.ParamType[dict[int, float]]):
    """Biases by token id, as `5=-1.5,7=-inf`."""

    name = "biases"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[int, float]:
        if isinstance(value, dict):
            return value
        try:
            pairs = [word.partition("=") for word in value.split(",")]
            return {int(id): float(bias) for id, _, bias in pairs}
        except ValueError:
            self.fail(f"{value!r} is no list of ID=BIAS, such as 5=-1.5,7=-inf", param, ctx)


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _are_biases(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        str(id).isascii() and str(id).isdigit() and _is_number(bias) for id, bias in value.items()
    )


@dataclass(frozen=True)
class Kind:
    """One type of value: how a flag or a variable spells it, and what a file may hold."""

    spelled: click.ParamType[Any]
    holds: Callable[[object], bool]
    wanted: str


WHOLE = Kind(click.IntRange(0), _is_whole, "a whole number")
NUMBER = Kind(click.FLOAT, _is_number, "a number")
FROM_0 = Kind(click.FloatRange(0), _is_number, "a number")
SWITCH = Kind(click.BOOL, lambda value: isinstance(value, bool), "true or false")
TEXTS = Kind(
    click.STRING, lambda value: isinstance(value, str) or _are_texts(value), "a list of texts"
)
IDS = Kind(
    Ids(), lambda value: isinstance(value, list) and all(map(_is_whole, value)), "a list of ids"
)
BIASES = Kind(Biases(), _are_biases, "a table of numbers by token id")
OVERFLOW = Kind(
    click.Choice(["stop", "slide"]), lambda value: isinstance(value, str), "stop or slide"
)


@dataclass(frozen=True)
class Setting:
    """One of them. Its flag is its name with dashes, its variable its name in capitals."""

    name: str
    kind: Kind
    default: Any
    metavar: str | None
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "PTIR_" + self.name.upper()

    def option(self, command: F) -> F:
        """Decorates a command with its flag; None, or nothing, if it is not given."""
        flag = self.flag
        if self.kind is SWITCH:
            flag += f"/--no-{flag[2:]}"
        told = "" if self.default in (None, (), {}) else f"  [default: {self.shown}]"
        return click.option(
            flag,
            self.name,
            type=self.kind.spelled,
            metavar=self.metavar,
            multiple=self.kind is TEXTS,
            default=None,
            help=self.help + told,
        )(command)

    @property
    def shown(self) -> str:
        """The default, as a flag spells it."""
        shown = f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        return shown.lower() if isinstance(self.default, bool) else shown

    def of_text(self, text: str) -> Any:
        """The value that its variable spells. Raises ConfigError."""
        try:
            value = self.kind.spelled.convert(text, None, None)
        except click.BadParameter as error:
            raise ConfigError(f"{self.variable}={text!a}: {error.message}") from None
        return (value,) if self.kind is TEXTS else value

    def of_value(self, value: object, whose: str) -> Any:
        """The value that a file holds, of the right type. Raises ConfigError."""
        if not self.kind.holds(value):
            wanted = self.kind.wanted
            raise ConfigError(f"{whose}: {self.name} is {str(value)[:80]!a}, wanted {wanted}")
        if isinstance(value, Mapping):
            return {int(id): float(bias) for id, bias in value.items()}
        return (value,) if self.kind is TEXTS and isinstance(value, str) else value


TABLE = {
    setting.name: setting
    for setting in (
        Setting("max_tokens", WHOLE, 128, "N", "Stop after N tokens."),
        Setting(
            "temperature",
            FROM_0,
            0.8,
            "T",
            "How bold the choice of tokens is; 0 takes the likeliest each time.",
        ),
        Setting(
            "seed",
            WHOLE,
            None,
            "N",
            "Repeats a generation; the line of figures tells which seed was drawn.",
        ),
        Setting("top_k", WHOLE, 0, "N", "Keep the N likeliest tokens; 0 keeps all."),
        Setting("top_p", FROM_0, 1.0, "P", "Keep the likeliest tokens that hold probability P."),
        Setting(
            "min_p", FROM_0, 0.0, "P", "Keep tokens at least P times as likely as the likeliest."
        ),
        Setting(
            "typical_p",
            FROM_0,
            1.0,
            "P",
            "Keep tokens that hold probability P, of the most usual surprise first.",
        ),
        Setting(
            "repetition_penalty",
            FROM_0,
            1.0,
            "X",
            "Divide the logits of all tokens that came before by X.",
        ),
        Setting(
            "presence_penalty",
            NUMBER,
            0.0,
            "X",
            "Subtract X from the logits of tokens that were generated.",
        ),
        Setting(
            "frequency_penalty",
            NUMBER,
            0.0,
            "X",
            "The same for each time that they were generated.",
        ),
        Setting(
            "logit_bias",
            BIASES,
            {},
            "ID=X,…",
            "Add X to the logit of token ID; -inf bans it.",
        ),
        Setting("stop", TEXTS, (), "TEXT", "End before this text. May be repeated."),
        Setting("stop_token_ids", IDS, (), "ID,…", "End before these tokens."),
        Setting("ignore_eos", SWITCH, False, None, "Go on behind the model's end of text."),
        Setting("min_tokens", WHOLE, 0, "N", "Ban the end of the text before N tokens."),
        Setting(
            "logprobs",
            WHOLE,
            None,
            "N",
            "Tell of each token its log-probability and the N likeliest; needs --json.",
        ),
        Setting("prompt_logprobs", WHOLE, None, "N", "The same of the prompt's tokens."),
        Setting(
            "overflow",
            OVERFLOW,
            "stop",
            None,
            "At the end of the context stop, or slide on behind its later half.",
        ),
        Setting(
            "reuse_prefix",
            SWITCH,
            True,
            None,
            "Do not read again what an earlier prompt began with.",
        ),
    )
}
