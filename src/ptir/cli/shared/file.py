"""`ptir.toml`: settings of the command line and knobs. Knows no flag.

It may come with a folder that was downloaded. So it names no file and no folder: nothing is loaded
or written because of it.
"""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import ptir.config as config  # `from ptir import` would load all of it, and help must come at once

from .table import TABLE

MAX_BYTES = 1 << 20
NAMES_FILES = (config.FOLDER, config.FILE)


@dataclass(frozen=True)
class File:
    """What the file says of settings, and of knobs that the environment leaves open."""

    path: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, Any] = field(default_factory=dict)


def read() -> File:
    """The file that is in force, if there is one. Raises ConfigError."""
    path = config.settings_file()
    if path is None:
        return File()
    said = _parsed(path)
    knobs = {knob.variable.removeprefix("PTIR_").lower(): knob for knob in config.knobs().values()}
    for name, value in said.items():
        if name in knobs:
            _check_knob(path, name, value, knobs[name])
        elif name not in TABLE:
            near = get_close_matches(name, [*TABLE, *knobs], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise config.ConfigError(f"{path}: {name!a} is no setting{meant}")
    stated = config.stated()
    return File(
        path,
        {n: TABLE[n].of_value(value, str(path)) for n, value in said.items() if n in TABLE},
        {n: value for n, value in said.items() if n in knobs and n not in stated},
    )


@contextmanager
def applied(file: File) -> Iterator[File]:
    """Within the block its knobs are in force, beneath those of the environment."""
    with config.setting(**file.knobs):
        yield file


def _parsed(path: Path) -> dict[str, Any]:
    with path.open("rb") as opened:
        raw = opened.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise config.ConfigError(f"{path}: more than {MAX_BYTES} bytes are no settings")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise config.ConfigError(f"{path}: is not TOML: {error}") from None


def _check_knob(path: Path, name: str, value: object, knob: config.Knob[Any]) -> None:
    if knob.form in NAMES_FILES:
        fact = f"{name} names a file, which this file may not; set {knob.variable}"
        raise config.ConfigError(f"{path}: {fact}")
    try:
        if not isinstance(value, str | int):
            raise ValueError(value)
        knob.form.parse(str(value))
    except (ValueError, KeyError):
        fact = f"{name} is {str(value)[:80]!a}, wanted {knob.form.accepted}"
        raise config.ConfigError(f"{path}: {fact}") from None
