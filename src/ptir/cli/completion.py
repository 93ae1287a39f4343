"""Print the script that lets a shell complete this command line."""

import click
from click.shell_completion import get_completion_class

from ptir.config import COMPLETE


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script for SHELL that completes commands, options and paths.

    For bash, put `eval "$(ptir completion bash)"` into ~/.bashrc; for zsh the same with zsh into
    ~/.zshrc; for fish, write it to ~/.config/fish/completions/ptir.fish.
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "ptir", COMPLETE).source())
