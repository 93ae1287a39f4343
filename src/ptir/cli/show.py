"""Show what a model file holds."""

import json
from typing import Any

import click

import ptir


@click.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str | None, as_json: bool) -> None:
    """Show kind, config and parameters of MODEL (default: the demo model). Reads no weights."""
    with ptir.load_model(model) as loaded:
        facts = _facts(loaded)
    click.echo(json.dumps(facts) if as_json else _page(facts))


def _facts(loaded: "ptir.LoadedModel") -> dict[str, Any]:
    parameters = [
        {"name": p.name, "dtype": p.dtype.name, "shape": list(p.shape), "bytes": p.nbytes}
        for p in loaded.parameters()
    ]
    return {
        "path": loaded.path,
        "kind": loaded.kind,
        "config": dict(loaded.config),
        "vocabulary": loaded.tokenizer.vocab_size if loaded.tokenizer else None,
        "parameters": parameters,
        "elements": sum(p.size for p in loaded.parameters()),
        "bytes": sum(p.nbytes for p in loaded.parameters()),
    }


def _page(facts: dict[str, Any]) -> str:
    config = [f"  {name} = {value}" for name, value in facts["config"].items()]
    wide = max((len(p["name"]) for p in facts["parameters"]), default=0)
    rows = [
        f"  {p['name']:{wide}}  {p['dtype']:5} {p['shape']!s:16} {p['bytes'] / 2**20:9.3f} MiB"
        for p in facts["parameters"]
    ]
    tokens = facts["vocabulary"]
    return "\n".join(
        [
            f"{facts['path']}: {facts['kind']}",
            "config",
            *config,
            f"tokenizer: {f'{tokens} tokens' if tokens else 'none'}",
            f"{len(rows)} parameters, {facts['elements']:,} elements, "
            f"{facts['bytes'] / 2**20:.2f} MiB",
            *rows,
        ]
    )
