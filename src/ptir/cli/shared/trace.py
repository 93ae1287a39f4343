"""`--profile`: what a command did and when, as a file, and a table of where its time went."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

import ptir

F = TypeVar("F", bound=Callable[..., Any])


def trace_option(command: F) -> F:
    """The flag, which the command gets as `trace`."""
    return click.option(
        "--profile",
        "trace",
        type=click.Path(path_type=Path, dir_okay=False, writable=True),
        help="Write a trace of it (Perfetto loads it), and say on stderr where the time went.",
    )(command)


@contextmanager
def traced(file: Path | None, model: "ptir.LoadedModel") -> Iterator[None]:
    """If there is a file for it, record what a model does within the block, write the trace, and
    say where the time went.
    """
    if file is None:
        yield
        return
    with ptir.profile.recording() as recorder:
        yield
    ptir.profile.save(recorder, file)
    ceilings = ptir.runtime.ceilings(model.backend, model.dtype.name)
    click.echo(ptir.profile.table(recorder, ceilings), err=True)
