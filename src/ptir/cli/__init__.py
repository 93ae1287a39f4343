"""The command line: finds commands by file name, and turns errors into messages and exit codes.

Exit codes: 0, 2 for usage, 3 for a model or file that cannot be used, 130 for Ctrl-C. What was
asked for goes to stdout, everything else to stderr.
"""

import ast
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import click

import ptir

USAGE, UNUSABLE, INTERRUPTED = 2, 3, 130


class Commands(click.Group):
    """One command for each module beside this one: its `command`, its docstring's first line."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(m.name for m in iter_modules(__path__))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        command = import_module(f"{__name__}.{name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands. Their modules are read, not imported: help must come at once."""
        with formatter.section("Commands"):
            formatter.write_dl([(n, _summary(n)) for n in self.list_commands(context)])


def _summary(name: str) -> str:
    spec = find_spec(f"{__name__}.{name}")
    source = Path(spec.origin or "").read_text(encoding="utf-8") if spec else ""
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ptir")
def commands() -> None:
    """Run language models, and look at the programs that they are made of."""


def main() -> None:
    """The `ptir` command."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # text streams all have it
    sys.exit(_run())


def _run() -> int:
    try:
        code = commands.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("\ninterrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # the reader went away: nobody is left to tell
        sys.stdout = None  # type: ignore[assignment]  # nor may the interpreter flush to it at exit
        return 0
    except (ptir.PtirError, ptir.ConfigError, OSError) as error:
        click.echo(f"ptir: {error}", err=True)
        return UNUSABLE
    return code if isinstance(code, int) else 0
