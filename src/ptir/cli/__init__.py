"""The command line: finds commands by file name, and turns errors into messages and exit codes.

Exit codes: 0, 1 if part of what was asked failed, 2 for usage, 3 for a model or file that cannot be
used, 130 for Ctrl-C. What was asked for goes to stdout, everything else to stderr. Nothing heavy is
imported before it is needed.
"""

import ast
import io
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TextIO

import click
from click.shell_completion import shell_complete

import ptir
import ptir.config as config  # `from ptir import` would load all of it
from ptir.cli.shared import every
from ptir.cli.terminal.write import printable

FAILED, UNUSABLE, INTERRUPTED = 1, 3, 130  # usage errors know their own code, 2


class Commands(click.Group):
    """One command for each module beside this one: its `command`, its docstring's first line.

    A package beside it is none: it has what commands share.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(m.name for m in iter_modules(__path__) if not m.ispkg)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        command = import_module(f"{__name__}.{name}").command
        assert isinstance(command, click.Command)
        if every.OPTION not in command.params:
            command.params.append(every.OPTION)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a misspelled command is told the nearest."""
        near = get_close_matches(args[0], self.list_commands(context), n=1)
        if near and near != args[:1]:
            context.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands. Their modules are read, not imported: help must come at once."""
        with formatter.section("Commands"):
            formatter.write_dl([(n, _summary(n)) for n in self.list_commands(context)])


def _summary(name: str) -> str:
    spec = find_spec(f"{__name__}.{name}")
    source = Path(spec.origin or "").read_text(encoding="utf-8") if spec else ""
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(ptir.__version__)
def commands() -> None:
    """Run language models, and look at the programs that they are made of."""


def main() -> None:
    """The `ptir` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a closed one is None
            stream.reconfigure(errors="replace")  # a terminal may lack a character
    asked = config.completing()
    sys.exit(run(sys.argv[1:]) if asked is None else complete(asked))


def complete(asked: str) -> int:
    """Answer a shell that wants the command line completed; the exit code."""
    return shell_complete(commands, {}, "ptir", config.COMPLETE, asked)


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        with commands.make_context("ptir", arguments) as context:
            commands.invoke(context)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _fail("\ninterrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader has what it wanted, as `head` does
        _discard(sys.stdout, sys.stderr)
        return 0
    except OSError as error:
        _discard(sys.stdout)
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error
        return _fail(f"ptir: {what}", UNUSABLE)
    except (ptir.PtirError, ptir.ConfigError) as error:
        return _fail(f"ptir: {error}", UNUSABLE)
    return 0


def _fail(message: str, code: int) -> int:
    """Say why; a name out of a file cannot steer the terminal."""
    click.echo(printable(message), err=True)
    return code


def _discard(*streams: TextIO | None) -> None:
    """Drop what a stream cannot write: the interpreter would try again at exit, and complain."""
    for stream in filter(None, streams):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
