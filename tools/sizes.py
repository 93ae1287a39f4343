"""How big the house is: files and lines per room, the longest file, the longest function.

Counts the lines of Python source as they stand; judges nothing (`tests/test_house.py` does).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("src/ptir", "tests", "tools", "benchmarks")


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Length and place of each function of one file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield length, f"{path.relative_to(ROOT)}:{node.name}"


def row(name: str, files: list[Path]) -> str:
    return f"{name:22}{len(files):6}{sum(map(lines, files)):8}"


def table() -> list[str]:
    package = ROOT / PARTS[0]
    rooms = sorted(entry for entry in package.iterdir() if sources(entry))
    modules = list(package.glob("*.py"))
    rows = [f"{'':22}{'files':>6}{'lines':>8}"]
    rows += [row(f"  {room.name}/", sources(room)) for room in rooms]
    rows += [row("  (single files)", modules)]
    rows += [row(part, files) for part in PARTS if (files := sources(ROOT / part))]
    everything = sources(package)
    longest = max(everything, key=lines)
    length, place = max(found for path in everything for found in functions(path))
    rows += [f"longest file      {lines(longest)} lines, {longest.relative_to(ROOT)}"]
    rows += [f"longest function  {length} lines, {place}"]
    return rows


if __name__ == "__main__":
    print("\n".join(table()))
