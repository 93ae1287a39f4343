"""Text to the terminal, which it cannot steer, or into a pipe, where it goes as it is."""

import sys

import click

# What steers a terminal, as text about it: `\x1b`. A new line and a tab are meant as such.
SHOWN = {c: ascii(chr(c))[1:-1] for c in (*range(0x20), *range(0x7F, 0xA0)) if chr(c) not in "\n\t"}


def printable(text: str) -> str:
    """The text with its lines, and everything else that a terminal would obey spelled out."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def write(text: str) -> None:
    """Print text at once: as it is into a pipe or file, harmless on a terminal."""
    shown = text.translate(SHOWN) if sys.stdout is not None and sys.stdout.isatty() else text
    click.echo(shown, nl=False, color=True)  # else click takes escape sequences out of a pipe


def tell(text: str) -> None:
    """A line to stderr, harmless wherever it goes: it may quote a file."""
    click.echo(text.translate(SHOWN), err=True)
