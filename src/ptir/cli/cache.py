"""Show what ptir keeps on disk between runs, or delete it."""

import json
import sys
from pathlib import Path

import click

import ptir

KEPT = ("winners-*.json", "chat_history")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show the folder in which ptir keeps measurements, and each file with its size.

    A file `winners-…` has the fastest implementations that `--override NAME=benchmark` found, on
    one kind of processor with one version of ptir; without it they are measured anew. In
    `chat_history` are the lines typed in `ptir chat`.
    """
    if context.invoked_subcommand is not None:
        return
    folder, files = ptir.config.cache_folder(), kept()
    sizes = {str(path): path.stat().st_size for path in files}
    if as_json:
        click.echo(
            json.dumps({"folder": str(folder), "files": sizes, "bytes": sum(sizes.values())})
        )
        return
    click.echo(f"{folder}: {_count(files)}, {sum(sizes.values()):,} bytes")
    for path in files:
        click.echo(f"  {sizes[str(path)]:12,}  {path.name}")


@command.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> None:
    """Delete what is kept. Other files in the folder stay."""
    files = kept()
    if files and not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here; give --yes")
        click.confirm(
            f"Delete {_count(files)} in {ptir.config.cache_folder()}?", abort=True, err=True
        )
    for path in files:
        path.unlink(missing_ok=True)
    click.echo(f"{_count(files)} deleted")


def kept() -> list[Path]:
    """The files that are ptir's own."""
    folder = ptir.config.cache_folder()
    return sorted(path for each in KEPT for path in folder.glob(each) if path.is_file())


def _count(files: list[Path]) -> str:
    return f"{len(files)} {'file' if len(files) == 1 else 'files'}"
