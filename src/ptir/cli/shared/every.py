"""What every command has: `--verbose`, and the settings of `ptir.toml` in force."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ptir.cli.terminal.write import printable

from . import file, order

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class Printable(logging.Formatter):
    """The room and what it says; a name out of a file cannot steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(f"{record.name}: {super().format(record)}")


@contextmanager
def logged(level: int) -> Iterator[None]:
    """Within the block, what the rooms log from this level on goes to stderr."""
    logger, handler = logging.getLogger("ptir"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(Printable())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _begin(context: click.Context, option: click.Parameter, count: int) -> None:
    context.with_resource(logged(LEVELS[min(count, len(LEVELS) - 1)]))
    context.meta[order.META] = context.with_resource(file.applied(file.read()))


OPTION = click.Option(
    ["-v", "--verbose"],
    count=True,
    expose_value=False,
    callback=_begin,
    help="Say on stderr what is done; -vv says more.",
)
