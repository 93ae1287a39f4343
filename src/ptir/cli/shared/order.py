"""Which value of a setting counts: flag > `PTIR_*` > `ptir.toml` > what the model's folder says.

Each value is kept with where it came from.
"""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import click

import ptir
import ptir.config as config  # `from ptir import` would load all of it, and help must come at once

from .file import File
from .table import TABLE, F, Setting

META = "ptir.file"  # where a context keeps the `File` in force
REQUEST = ("max_tokens", "overflow", "reuse_prefix")  # the other settings are fields of Sampling
DEFAULT = "default"


class Value(NamedTuple):
    """A value and where it came from: `--flag`, `PTIR_VARIABLE`, a file, or `default`."""

    value: Any
    source: str


Values = Mapping[str, Value]


def with_settings(table: Mapping[str, Setting] = TABLE) -> Callable[[F], F]:
    """A flag for each setting, and `--show-config`. The command gets them as `**flags`."""

    def decorate(command: F) -> F:
        shown = "Print each setting and where it came from, and do nothing."
        click.option("--show-config", is_flag=True, help=shown)(command)
        for setting in reversed(list(table.values())):
            setting.option(command)
        return command

    return decorate


def resolve(
    flags: Mapping[str, Any],
    model: "ptir.LoadedModel | None" = None,
    table: Mapping[str, Setting] = TABLE,
) -> Values:
    """The value of each setting. Raises ConfigError for one that cannot be."""
    file: File = click.get_current_context().meta.get(META, File())
    return {
        **{name: Value(setting.default, DEFAULT) for name, setting in table.items()},
        **(_of_model(model) if model is not None else {}),
        **{name: Value(value, str(file.path)) for name, value in file.settings.items()},
        **_of_environment(),
        **{n: Value(v, TABLE[n].flag) for n, v in flags.items() if v is not None and v != ()},
    }


def request(values: Values) -> "ptir.runtime.Options":
    """What a request says. Raises ConfigError, or a usage error if a flag is to blame."""
    fields = {name: v.value for name, v in values.items() if name not in REQUEST}
    try:
        sampling = ptir.Sampling(**fields)
    except ptir.runtime.SamplingError as error:
        source = values[str(error).partition(" ")[0].partition("[")[0]].source
        if source.startswith("--"):
            raise click.UsageError(str(error)) from None
        raise config.ConfigError(f"{source}: {error}") from None
    return {
        "sampling": sampling,
        "max_tokens": values["max_tokens"].value,
        "overflow": values["overflow"].value,
        "reuse_prefix": values["reuse_prefix"].value,
    }


def shown(values: Values, in_json: bool, backend: str | None = None) -> str:
    """Settings and knobs with where they came from, as a table or as JSON."""
    every = {**values, **_knobs(backend)}
    if in_json:
        facts = {n: {"value": as_json(v.value), "from": v.source} for n, v in every.items()}
        return json.dumps(facts)
    rows = [(name, _spelled(v.value), v.source) for name, v in every.items()]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{n:{wide[0]}} = {v:{wide[1]}}  {source}" for n, v, source in rows)


def _of_model(model: "ptir.LoadedModel") -> dict[str, Value]:
    path, said = ptir.runtime.stated_settings(model.path)
    return {n: Value(TABLE[n].of_value(v, str(path)), str(path)) for n, v in said.items()}


def _of_environment() -> dict[str, Value]:
    found = {}
    knobs = {variable.removeprefix("PTIR_").lower() for variable in config.knobs()}
    for name, text in config.stated().items():
        if name in TABLE:
            found[name] = Value(TABLE[name].of_text(text), TABLE[name].variable)
        elif name not in knobs and (near := get_close_matches(name, TABLE, n=1, cutoff=0.75)):
            meant = f"is not a setting; did you mean {TABLE[near[0]].variable}?"
            raise config.ConfigError(f"{ascii(f'PTIR_{name.upper()}')[1:-1]}={text!a} {meant}")
    return found


def _knobs(backend: str | None) -> dict[str, Value]:
    file: File = click.get_current_context().meta.get(META, File())
    stated, found = config.stated(), {}
    for variable in config.knobs():
        name = variable.removeprefix("PTIR_").lower()
        said = variable if name in stated else DEFAULT
        source = str(file.path) if name in file.knobs else said
        found[name] = Value(getattr(config.current(), name), source)
    return found | ({"backend": Value(backend, "--backend")} if backend else {})


def _spelled(value: object) -> str:
    return "none" if value is None or value in ((), {}, frozenset()) else json.dumps(as_json(value))


def as_json(value: object) -> object:
    """As JSON knows it; −inf, which it does not, as text."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {
            str(id): bias if abs(bias) != float("inf") else str(bias) for id, bias in value.items()
        }
    return str(value) if isinstance(value, Path) else value
