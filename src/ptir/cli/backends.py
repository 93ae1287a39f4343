"""List the backends that can run programs."""

import json

import click

import ptir


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(as_json: bool) -> None:
    """List the backends; the default one (PTIR_BACKEND) is marked with *."""
    default = ptir.backends.find(ptir.config.current().backend).name
    found = [ptir.backends.find(name) for name in ptir.backends.names()]
    if as_json:
        facts = [
            {"name": b.name, "version": b.version, "default": b.name == default} for b in found
        ]
        click.echo(json.dumps(facts))
        return
    for b in found:
        summary = (type(b).__doc__ or "").partition("\n")[0]
        click.echo(f"{'*' if b.name == default else ' '} {b.name:12} {b.version:6} {summary}")
