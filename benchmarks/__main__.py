"""`python -m benchmarks [NAME]... [--json]`: run the benchmarks of these names, or all."""

import argparse
import json
import os
import platform
from dataclasses import asdict
from importlib import import_module
from pkgutil import iter_modules

import benchmarks
from benchmarks import Row


def main() -> None:
    known = sorted(m.name for m in iter_modules(benchmarks.__path__) if m.name != "__main__")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in known:
            parser.error(f"no benchmark {name!r}; have {', '.join(known)}")
    found = {name: import_module(f"benchmarks.{name}").rows() for name in chosen.names or known}
    if chosen.json:
        results = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        print(json.dumps({"machine": machine(), "results": results}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(line for name, rows in found.items() for line in table(name, rows)))


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
    }


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
    main()
