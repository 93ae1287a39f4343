"""Show what a model file holds."""

import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import ptir


@click.command()
@click.argument("model", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str | None, as_json: bool) -> None:
    """Show kind, config and parameters of MODEL (default: the demo model). Reads no weights.

    A file of derived weights that `ptir cache` counts is shown as well: what they were made of.
    """
    facts = _derived(model)
    if facts is None:
        with ptir.load_model(model) as loaded:
            facts = _facts(loaded)
    click.echo(json.dumps(facts) if as_json else _page(facts))


def _derived(path: str | None) -> dict[str, Any] | None:
    """The facts of a file of derived weights, which no model is; None for any other file."""
    if path is None or not Path(path).is_file():
        return None
    # It needs NumPy, and help must come at once.
    found = import_module("ptir.checkpoint").Checkpoint(path, verify=False)
    if found.kind != "derived":
        return None
    specs = {name: found.spec(name) for name in found.names()}
    parameters = [
        {"name": name, "dtype": s.dtype.name, "shape": list(s.shape), "bytes": s.nbytes}
        for name, s in specs.items()
    ]
    return {
        "path": found.path,
        "kind": found.kind,
        "config": found.config,
        "vocabulary": None,
        "dtype": None,
        "parameters": parameters,
        "elements": sum(math.prod(s.shape) for s in specs.values()),
        "bytes": sum(s.nbytes for s in specs.values()),
    }


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
        "dtype": loaded.dtype.name,
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
            *([f"computed in {facts['dtype']}"] if facts["dtype"] else []),
            f"{len(rows)} parameters, {facts['elements']:,} elements, "
            f"{facts['bytes'] / 2**20:.2f} MiB",
            *rows,
        ]
    )
