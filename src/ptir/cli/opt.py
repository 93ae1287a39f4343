"""Run passes on a program, and say what they did."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

import ptir


@click.command()
@click.argument("source", metavar="FILE", type=click.Path())
@click.option(
    "--passes", "names", metavar="A,B", help="Which passes.  [default: all of the backend's]"
)
@click.option(
    "--backend",
    metavar="NAME",
    help="Whose passes and claims.  [default: PTIR_BACKEND, native]",
)
@click.option("--stats", is_flag=True, help="Say on stderr which rules fired, and the times.")
@click.option("--explain", is_flag=True, help="Say on stderr what each firing did.")
@click.option("--literals", is_flag=True, help="Print large constants in full.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON form.")
def command(
    source: str,
    names: str | None,
    backend: str | None,
    stats: bool,
    explain: bool,
    literals: bool,
    as_json: bool,
) -> None:
    """Run passes on the program in FILE (.ptir or .json) and print the result.

    PTIR_VERIFY=1 checks the program after each pass, PTIR_PASSES=-name leaves one out.
    """
    program = ptir.ir.read_program(Path(source))
    verify = ptir.config.current().verify
    told = _Told(explain)
    runs = list[Any]()
    for one in _chosen(names, ptir.backends.find(backend or ptir.config.current().backend)):
        told.name = ptir.passes.name(one)
        with ptir.ir.watching(told.note):
            program, ran = ptir.passes.apply(program, (one,), verify)
        runs.extend(ran)
    if stats:
        click.echo(_stats(runs, told.fired), err=True)
    if as_json:
        click.echo(ptir.ir.to_json(program))
    else:
        click.echo(ptir.ir.print_program(program, literals=literals), nl=False)


def _chosen(names: str | None, backend: Any) -> Any:
    """The backend's pipeline, or the passes of it and of the library that were asked for."""
    legalizer = ptir.passes.legalizer(backend.claims, backend.name, backend.kernels)
    left_out = sorted(ptir.config.current().passes)
    whole = ptir.passes.pipeline(backend.pipeline(), left_out if names is None else ())
    whole = ptir.passes.legalizing(whole, legalizer)
    if names is None:
        return whole
    return ptir.passes.named([word.strip() for word in names.split(",") if word.strip()], whole)


class _Told:
    """Counts firings of rules by pass, and shows them if asked."""

    def __init__(self, explain: bool) -> None:
        self.explain = explain
        self.name = ""
        self.fired: Counter[tuple[str, str]] = Counter()

    def note(self, rule: str, before: Any, after: Any) -> None:
        self.fired[self.name, rule] += 1
        if self.explain:
            click.echo(f"{self.name}: {rule}\n{_difference(before, after)}", err=True)


def _difference(before: Any, after: Any) -> str:
    """Both sides of a firing, down to what they have in common."""
    old, new = (frozenset(ptir.ir.postorder(node)) for node in (before, after))
    names: dict[Any, str] = {}
    lines = list[str]()
    for title, root, common in (("before", before, new), ("after", after, old)):
        lines.append(f"  {title}")
        own = list(ptir.ir.postorder(root, skip=common))
        for node in own or [root]:
            lines.append(f"    {_line(node, names, bool(own))}")
    return "\n".join(lines)


def _line(node: Any, names: dict[Any, str], whole: bool) -> str:
    for one in (*(node.operands if whole else ()), node):
        names.setdefault(one, f"%{len(names)}")
    if not whole:
        return f"{names[node]}: {node.type}"
    operands = ", ".join(f"{names[x]}: {x.type}" for x in node.operands)
    attrs = ", ".join(f"{name}={value}" for name, value in ptir.ir.stated(node).items())
    return f"{names[node]}: {node.type} = {node.op.name}({operands}) {attrs}".rstrip()


def _stats(runs: list[Any], fired: Counter[tuple[str, str]]) -> str:
    lines = [f"{r.name:20} {r.before:6} → {r.after:6} nodes {r.ms:9.2f} ms" for r in runs]
    lines += [f"{rule:30} {count:6} × in {name}" for (name, rule), count in sorted(fired.items())]
    return "\n".join(lines)
