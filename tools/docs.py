"""The parts of the documentation that repeat the code, written from the code.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; what stands between is
what `PARTS[NAME]` says. With `--check` nothing is written, and a stale page is a failure.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from ptir import config

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


PARTS: dict[str, Callable[[], str]] = {"tree": tree, "knobs": config.table}


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
