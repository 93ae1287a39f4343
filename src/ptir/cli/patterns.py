"""List the functionals that `raise` finds in programs, in all their structures."""

import json
from typing import Any

import click

import ptir


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(name: str | None, as_json: bool) -> None:
    """List the patterns that functionals are found by (of NAME only, if given).

    For each functional the fields of a match; for each structure of its body the operands given,
    attribute values (`=`: this value; `?`: any, read from the graph), how many ops it has, and
    which backends claim it.
    """
    known = ptir.functional.FUNCTIONALS
    if name is not None and name not in known:
        message = f"no functional {name!r}{ptir.ir.nearest(name, known)}"
        raise click.BadParameter(message, param_hint="NAME")
    found = [_facts(known[one]) for one in ([name] if name else sorted(known))]
    click.echo(json.dumps(found, default=str) if as_json else "\n".join(map(_page, found)))


def _facts(functional: Any) -> dict[str, Any]:
    backends = [ptir.backends.find(name) for name in ptir.backends.names()]
    pattern = functional.pattern
    return {
        "functional": functional.name,
        "fields": pattern.field_names(),
        "variants": [
            {
                "operands": list(variant.operands),
                "attributes": dict(variant.attributes),
                "read": list(variant.read),
                "ops": variant.ops,
                "claimed": [b.name for b in backends if b.runs(variant.composite)],
            }
            for variant in pattern.variants
        ],
    }


def _page(facts: dict[str, Any]) -> str:
    fields = ", ".join(f"{name}: {kind}" for name, kind in facts["fields"].items())
    rows = [_row(variant, list(facts["fields"])) for variant in facts["variants"]]
    return "\n".join([f"{facts['functional']}({fields})", *rows])


def _row(variant: dict[str, Any], order: list[str]) -> str:
    shown = {**variant["attributes"], **dict.fromkeys(variant["read"], "?")}
    attributes = [f"{name}={shown[name]}" for name in order if name in shown]
    claimed = f"  claimed by {', '.join(variant['claimed'])}" if variant["claimed"] else ""
    return f"  {' '.join([*variant['operands'], *attributes])}  ({variant['ops']} ops){claimed}"
