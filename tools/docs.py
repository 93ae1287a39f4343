"""The parts of the documentation that repeat the code, written from the code.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; what stands between is
what `PARTS[NAME]` says. With `--check` nothing is written, and a stale page is a failure.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from pathlib import Path

from click import Context

import ptir.ops  # noqa: F401 - declares the ops
from ptir import config
from ptir.cli import commands
from ptir.cli.shared.table import TABLE
from ptir.ir import LEAF, OPS, PARAM, Attrs, Op
from ptir.ir.attr import DERIVED, REQUIRED, Attr

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "ptir"
PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def duty(module: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


def floors() -> list[str]:
    """The rooms, top floor first, as the import contract has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [layer.strip("()") for layer in layers]


def entries(folder: Path, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Each file and folder of code under `folder` with its duty, files of a room by name."""
    order = {name: place for place, name in enumerate(floors())} if depth == 0 else {}
    rows = [entry for entry in folder.iterdir() if entry.stem.strip("_") != "init"]
    for entry in sorted(rows, key=lambda row: (order.get(row.stem, len(order)), row.name)):
        module = entry / "__init__.py" if entry.is_dir() else entry
        if module.suffix == ".py" and module.exists():
            yield "  " * depth + entry.name + "/" * entry.is_dir(), duty(module)
            if entry.is_dir():
                yield from entries(entry, depth + 1)


def tree() -> str:
    rows = list(entries(PACKAGE))
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(["```", *(f"{name:{width}}{text}" for name, text in rows), "```", ""])


def rooms() -> str:
    """The order of rooms in one paragraph."""
    return f"`{' · '.join(floors())}`\n"


def operands(op: Op) -> str:
    """The operands as the type rule names them: `[x]` may be left out, `x…` is any number."""

    def spell(parameter: Parameter) -> str:
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return f"{parameter.name}…"
        return parameter.name if parameter.default is Parameter.empty else f"[{parameter.name}]"

    attributes = (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
    parameters = signature(op.infer).parameters.values()
    return ", ".join(spell(p) for p in parameters if p.kind not in attributes)


def attribute(name: str, kind: Attr) -> str:
    if kind.default is REQUIRED or kind.default is None:  # None: its kind says that it is optional
        return f"`{name}`: {kind.describe}"
    if isinstance(kind.default, Attrs) and not kind.default:
        return f"`{name}`: {kind.describe} = none"
    default = "from the operands" if kind.default is DERIVED else f"`{kind.default}`"
    return f"`{name}`: {kind.describe} = {default}"


def row(op: Op) -> str:
    name = f"*`{op.name}`*" if op.decompose else f"`{op.name}`"
    attributes = "; ".join(attribute(*pair) for pair in op.attrs.items())
    cells = (f"{name}({operands(op)})", attributes, op.doc)
    return " | ".join(cell.replace("|", "\\|") for cell in cells)


def families() -> dict[str, list[Op]]:
    """The ops that a program may hold, by the module that states their type rule."""
    found: dict[str, list[Op]] = {}
    for op in OPS.values():
        if op not in (PARAM, LEAF):  # printed as inputs, not as ops
            found.setdefault(op.infer.__module__, []).append(op)
    return dict(sorted(found.items()))


def ops_table() -> str:
    head = "| op | attributes | meaning |\n| --- | --- | --- |"
    parts = [
        "\n".join([f"\n### {module.rpartition('.')[2]}\n", head, *(f"| {row(op)} |" for op in ops)])
        for module, ops in families().items()
    ]
    return "\n".join([*parts, "", ""])


def command_list() -> str:
    names = commands.list_commands(Context(commands))
    rows = [f"| `ptir {name}` | {duty(PACKAGE / 'cli' / f'{name}.py')} |" for name in names]
    return "\n".join(["| command | meaning |", "| --- | --- |", *rows, ""])


def settings_table() -> str:
    """The settings of generation, by flag."""
    rows = []
    for setting in TABLE.values():
        default = "none" if setting.default in (None, (), {}) else f"`{setting.shown}`"
        rows.append(f"| `{setting.flag}` | {setting.kind.wanted} | {default} | {setting.help} |")
    return "\n".join(
        ["| flag | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    )


PARTS: dict[str, Callable[[], str]] = {
    "tree": tree,
    "rooms": rooms,
    "knobs": config.table,
    "ops": ops_table,
    "commands": command_list,
    "settings": settings_table,
}


def renewed(page: Path) -> str:
    """The page's text with its generated parts as the code has them now."""

    def fill(match: re.Match[str]) -> str:
        start, name, _, end = match.groups()
        if name not in PARTS:
            sys.exit(f"{page.relative_to(ROOT)}: no part {name!r}; known: {', '.join(PARTS)}")
        return start + PARTS[name]() + end

    return PART.sub(fill, page.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.exit(f"./dev docs takes only --check, got {' '.join(arguments)}")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    changed = {page: text for page in sorted(pages) if (text := renewed(page)) != page.read_text()}
    for page, text in changed.items():
        if arguments:
            print(f"{page.relative_to(ROOT)} is stale; run ./dev docs")
        else:
            page.write_text(text, encoding="utf-8")
            print(f"{page.relative_to(ROOT)} written")
    return int(bool(changed and arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
