"""Show what ptir keeps on disk between runs, or delete it."""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click

import ptir

KEPT = ("winners-*.json", "chat_history")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show the folder in which ptir keeps measurements and derived weights, and their sizes.

    A file `winners-…` has the fastest implementations that `--override NAME=benchmark` found, on
    one kind of processor with one version of ptir; without it they are measured anew. In `derived`
    are weights in the form in which programs use them, joined for example; without them the next
    process computes them anew. PTIR_DERIVED_CACHE bounds them. In `chat_history` are the lines
    typed in `ptir chat`.
    """
    if context.invoked_subcommand is not None:
        return
    folder, sizes = ptir.config.cache_folder(), _sizes(kept())
    if as_json:
        files = {str(path): size for path, size in sizes.items()}
        click.echo(
            json.dumps({"folder": str(folder), "files": files, "bytes": sum(files.values())})
        )
        return
    click.echo(f"{folder}: {_count(len(sizes))}, {sum(sizes.values()):,} bytes")
    for name, size in _rows(folder, sizes):
        click.echo(f"  {size:12,}  {name}")


@command.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> None:
    """Delete what is kept. Other files in the folder stay."""
    files = kept()
    if files and not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here; give --yes")
        click.confirm(
            f"Delete {_count(len(files))} in {ptir.config.cache_folder()}?", abort=True, err=True
        )
    for path in files:
        path.unlink(missing_ok=True)
    click.echo(f"{_count(len(files))} deleted")


def kept() -> list[Path]:
    """The files that are ptir's own."""
    folder = ptir.config.cache_folder()
    found = sorted(path for each in KEPT for path in folder.glob(each) if path.is_file())
    # It needs NumPy, and help must come at once.
    derived: list[Path] = import_module("ptir.engine.kept").files()
    return found + derived


def _sizes(files: list[Path]) -> dict[Path, int]:
    """Each file with its bytes; another process may delete one meanwhile."""
    sizes = {}
    for path in files:
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    return sizes


def _rows(folder: Path, sizes: Mapping[Path, int]) -> list[tuple[str, int]]:
    """Each file of the folder, and one row for all derived weights."""
    rows = [(path.name, size) for path, size in sizes.items() if path.parent == folder]
    derived = [size for path, size in sizes.items() if path.parent != folder]
    if derived:
        rows.append((f"derived/ ({_count(len(derived))})", sum(derived)))
    return rows


def _count(files: int) -> str:
    return f"{files} {'file' if files == 1 else 'files'}"
