"""List functionals, their implementations, and what was measured of them."""

import json
import re
from typing import Any

import click

import ptir


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def command(name: str | None, as_json: bool) -> None:
    """List functionals (of NAME only, if given): implementations, policy, last winner.

    An implementation that changes numbers beyond rounding runs only where it is forced. The winner
    is the last one that was measured on this processor, with the median times in milliseconds.
    """
    known = ptir.functional.FUNCTIONALS
    if name is not None and name not in known:
        message = f"no functional {name!r}{ptir.ir.nearest(name, known)}"
        raise click.BadParameter(message, param_hint="NAME")
    winners = {w.call.functional: w for w in ptir.functional.winners.stored()}  # the last of each
    found = [_facts(known[one], winners.get(one)) for one in ([name] if name else sorted(known))]
    click.echo(json.dumps(found) if as_json else "\n".join(map(_page, found)))


def _facts(functional: Any, winner: Any) -> dict[str, Any]:
    policies = ptir.functional.current().policies
    return {
        "functional": functional.name,
        "policy": str(policies.get(functional.name, ptir.functional.DEFAULT)),
        "implementations": [
            {
                "name": one.name,
                "exact": one.exact,
                "needs": one.needs,
                "summary": _summary(one.fn.__doc__ or ""),
            }
            for one in functional.implementations.values()
        ],
        "winner": winner and _winner(winner),
    }


def _summary(doc: str) -> str:
    """The first sentence of a docstring, or what stands before its first semicolon."""
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return re.split(r"(?<=[.;])(?<!et al\.)\s", paragraph)[0].rstrip(".;")


def _winner(winner: Any) -> dict[str, Any]:
    return {
        "implementation": winner.implementation,
        "operands": winner.call.operands,
        "attributes": winner.call.attributes,
        "backend": winner.call.backend,
        "times_ms": winner.times,
    }


def _page(facts: dict[str, Any]) -> str:
    lines = [f"{facts['functional']}  ({facts['policy']})"]
    for one in facts["implementations"]:
        notes = [] if one["exact"] else ["changes numbers: only where it is forced"]
        notes += [f"needs {one['needs']}"] if one["needs"] else []
        lines.append(f"  {one['name']:10} {one['summary']}{''.join(f'  [{n}]' for n in notes)}")
    winner = facts["winner"]
    if winner:
        times = ", ".join(f"{name} {ms:.3f} ms" for name, ms in winner["times_ms"].items())
        call = ", ".join(filter(None, (winner["operands"], winner["attributes"])))
        lines.append(f"  last winner: {winner['implementation']} ({times})")
        lines.append(f"    on {winner['backend']}: {call}")
    return "\n".join(lines)
