"""`python -m benchmarks [NAME]... [--json]`: run the benchmarks of these names, or all.

`python -m benchmarks NAME --help`, of one with options of its own, lists them.
"""

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import benchmarks
from benchmarks import Row, machine


def main(arguments: list[str]) -> None:
    modules = iter_modules(benchmarks.__path__)
    known = sorted(m.name for m in modules if m.name != "__main__" and not m.ispkg)
    if arguments and arguments[0] in known and hasattr(_load(arguments[0]), "main"):
        _load(arguments[0]).main(arguments[1:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    chosen = parser.parse_args(arguments)
    for name in chosen.names:
        if name not in known:
            parser.error(f"no benchmark {name!r}; have {', '.join(known)}")
    loaded = {name: _load(name) for name in chosen.names or known}
    found = {name: module.rows() for name, module in loaded.items() if hasattr(module, "rows")}
    if chosen.json:
        results = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        print(json.dumps({"machine": machine(), "results": results}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(line for name, rows in found.items() for line in table(name, rows)))


def _load(name: str) -> ModuleType:
    return import_module(f"benchmarks.{name}")


def table(name: str, rows: list[Row]) -> list[str]:
    wide = max(len(row.name) for row in rows)
    return [
        name,
        *(
            f"  {row.name:{wide}}  {row.median:10.2f} {row.unit}"
            f"  ({row.least:.2f} to {row.most:.2f}, {row.repeats} rounds)  {row.note}".rstrip()
            for row in rows
        ),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
