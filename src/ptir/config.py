"""Every knob of ptir, typed, read from `PTIR_*`; the only reader of the environment.

A knob is read when it is asked for, so a changed environment counts at once. Knows no backend, no
pass and no command: a name that only they can judge is judged by them.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, final

T = TypeVar("T")
_PREFIX = "PTIR_"
COMPLETE = "_PTIR_COMPLETE"  # set by the script that a shell completes the command line with


class ConfigError(ValueError):
    """A `PTIR_*` variable, or a setting of `ptir.toml`, that does not say what it should."""


class Form(Generic[T]):
    """How one type of value is spelled: its name in the docs, what is accepted, and its parser."""

    def __init__(self, name: str, accepted: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self.accepted = accepted
        self.parse = parse  # raises ValueError or KeyError for what is not accepted


class Knob(Generic[T]):
    """A typed attribute, read from `PTIR_<ATTRIBUTE>`; unset or empty is the default."""

    def __init__(self, form: Form[T], default: T, meaning: str) -> None:
        self.form = form
        self.default = default
        self.meaning = meaning
        self.variable = ""
        self._last: tuple[str | None, T] = (None, default)  # one tuple: threads see a whole one

    def __set_name__(self, owner: type, name: str) -> None:
        self.variable = _PREFIX + name.upper()

    def __get__(self, instance: object, owner: type) -> T:
        text = os.environ.get(self.variable)
        last, value = self._last
        if text != last:
            value = self.parse(text)
            self._last = (text, value)
        return value

    def parse(self, text: str | None) -> T:
        """The value that `text` spells. Raises ConfigError."""
        if not text:
            return self.default
        try:
            return self.form.parse(text)
        except (ValueError, KeyError) as error:
            wanted = f"is not {self.form.accepted}; unset it for {_spell(self.default)}"
            raise ConfigError(f"{self.variable}={text!a} {wanted}") from error


_SWITCH = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise ValueError(text)
    return int(text)


def _whole_or_none(text: str) -> int:
    return 0 if text == "0" else _whole(text)


def _left_out(text: str) -> frozenset[str]:
    names = [item.strip() for item in text.split(",")]
    if not all(name.startswith("-") and len(name) > 1 for name in names):
        raise ValueError(text)
    return frozenset(name[1:] for name in names)


def _word(text: str) -> str:
    if not text.isprintable() or any(c.isspace() for c in text):
        raise ValueError(text)
    return text


DumpMode = Literal["compile", "all"]
_DUMP_MODES: dict[str, DumpMode] = {"compile": "compile", "all": "all"}

NAME = Form("name", "a name", _word)
SWITCH = Form("switch", "1, true, on, 0, false or off", lambda text: _SWITCH[text.lower()])
COUNT = Form("count", "a whole number from 1 to 999999999", _whole)
AMOUNT = Form("amount", "a whole number from 0 to 999999999", _whole_or_none)
LEFT_OUT = Form("names", "pass names to leave out, as -name,-other", _left_out)
FOLDER: Form[Path | None] = Form("folder", "a folder", Path)
FILE: Form[Path | None] = Form("file", "a file", Path)
OPTIONAL_NAME: Form[str | None] = Form("name", "a name", _word)
OPTIONAL_COUNT: Form[int | None] = Form(COUNT.name, COUNT.accepted, _whole)
DUMP_MODE = Form("choice", "compile or all", lambda text: _DUMP_MODES[text])


@final
class Config:
    """The knobs: `config.current().eager` is what `PTIR_EAGER` says now, as a bool."""

    backend = Knob(NAME, "native", "the backend that runs programs when a call names none")
    eager = Knob(SWITCH, False, "run each tensor op at once instead of capturing a program")
    verify = Knob(SWITCH, False, "verify the program before and after every pass")
    passes = Knob(LEFT_OUT, frozenset[str](), "passes to leave out of the pipeline: `-name,-other`")
    mmap = Knob(SWITCH, True, "map checkpoints into memory; `0` copies each tensor as it is read")
    check_digests = Knob(
        SWITCH, False, "compare the digests of a checkpoint that has them when it is opened"
    )
    plan_cache = Knob(COUNT, 256, "compiled programs to keep; the least recently used goes first")
    dump_dir = Knob(FOLDER, None, "write programs as `.ptir` and `.json` into this folder")
    dump_mode = Knob(
        DUMP_MODE, "compile", "dump each program `compile`d, or `all` that are executed"
    )
    cache_dir = Knob(
        FOLDER,
        None,
        "keep measurements, derived weights and chat history here instead of `~/.cache/ptir` (or "
        "XDG's)",
    )
    derived_cache = Knob(
        AMOUNT,
        16,
        "GiB of derived weights on disk; the least recently used goes first, `0` keeps none",
    )
    threads = Knob(
        OPTIONAL_COUNT, None, "threads of the native backend; unset: the cores that are ours to use"
    )
    isa = Knob(OPTIONAL_NAME, None, "ISA level of the native kernels; unset: the best one here")
    library = Knob(FILE, None, "the native library to load instead of the package's own")


def knobs() -> dict[str, Knob[Any]]:
    """Every knob by its variable, in the order of the class."""
    found = (value for value in vars(Config).values() if isinstance(value, Knob))
    return {knob.variable: knob for knob in found}


@functools.cache
def current() -> Config:
    """The knobs. The first call also refuses misspelled variables, as `check` does."""
    check()
    return Config()


def check() -> None:
    """Raise ConfigError for a malformed value or a `PTIR_*` variable that is nearly a knob's."""
    table = knobs()
    for knob in table.values():
        knob.parse(os.environ.get(knob.variable))
    plain = {variable.removeprefix(_PREFIX): variable for variable in table}
    for variable, text in os.environ.items():
        if not variable.startswith(_PREFIX) or variable in table:
            continue
        near = get_close_matches(variable.removeprefix(_PREFIX).upper(), plain, n=1, cutoff=0.65)
        if near:
            meant = f"is not a knob; did you mean {plain[near[0]]}?"
            raise ConfigError(f"{ascii(variable)[1:-1]}={text!a} {meant}")


@contextmanager
def setting(**knobs: object) -> Iterator[None]:
    """Within the block, knobs have these values, here and in processes that start meanwhile.

    Knobs by attribute: `setting(threads=2)`; one that is None stays as it is.
    """
    new = {_PREFIX + name.upper(): str(v) for name, v in knobs.items() if v is not None}
    before = {variable: os.environ.get(variable) for variable in new}
    os.environ.update(new)
    try:
        check()
        yield
    finally:
        for variable, text in before.items():
            os.environ.pop(variable, None)
            if text is not None:
                os.environ[variable] = text


def cache_folder() -> Path:
    """Where what is measured, derived and typed is kept: `PTIR_CACHE_DIR`, else the user's folder
    (XDG).
    """
    return current().cache_dir or _home("XDG_CACHE_HOME", "~/.cache") / "ptir"


def settings_file() -> Path | None:
    """`ptir.toml`, for the command line: here, else in the user's config folder (XDG)."""
    own = _home("XDG_CONFIG_HOME", "~/.config") / "ptir" / "ptir.toml"
    return next((path for path in (Path("ptir.toml"), own) if path.is_file()), None)


def stated() -> dict[str, str]:
    """What `PTIR_*` variables say, knobs or not, by name: `backend` for `PTIR_BACKEND`."""
    return {
        variable.removeprefix(_PREFIX).lower(): text
        for variable, text in os.environ.items()
        if variable.startswith(_PREFIX) and text
    }


def completing() -> str | None:
    """What a shell asks for that wants the command line completed."""
    return os.environ.get(COMPLETE)


def _home(variable: str, default: str) -> Path:
    stated = Path(os.environ.get(variable, ""))
    return stated if stated.is_absolute() else Path(default).expanduser()  # as XDG asks


def table() -> str:
    """The knobs as a Markdown table, for the docs."""
    rows = [
        f"| `{k.variable}` | {k.form.name} | {_spell(k.default)} | {k.meaning} |"
        for k in knobs().values()
    ]
    return "\n".join(
        ["| variable | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _spell(default: object) -> str:
    if isinstance(default, bool):
        return f"`{int(default)}`"
    return f"`{default}`" if default else "none"
