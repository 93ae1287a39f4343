"""Say what this machine and this installation are, and what is wrong with them."""

import json
import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

import ptir
from ptir.cli import UNUSABLE

PACKAGES = ("ptir", "numpy", "ml_dtypes", "blake3", "click", "msgspec", "tokenizers", "jinja2")
COMPILERS = ("cc", "gcc", "clang")
PATIENCE = 10  # seconds for a compiler to say what it is

# What kernels are written for, x86-64 then aarch64, in the words of /proc/cpuinfo.
FEATURES = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)

CPU = Path("/sys/devices/system/cpu/cpu0/cache")
CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Say what ptir finds: processor, memory, compilers, versions, knobs and every backend.

    The exit code is 3 when the default backend cannot work here.
    """
    default = ptir.config.current().backend
    backends = {name: _backend(name) for name in sorted({*ptir.backends.names(), default})}
    problems = [f"{name}: {b['error']}" for name, b in backends.items() if "error" in b]
    facts = {
        "versions": _versions(),
        "system": _system(),
        "processor": _processor(),
        "memory": _memory(),
        "compilers": _compilers(),
        "knobs": _knobs(),
        "default": default,
        "backends": backends,
        "problems": problems,
    }
    click.echo(json.dumps(facts) if as_json else _page(facts))
    if "error" in backends[default]:
        raise click.exceptions.Exit(UNUSABLE)


def _backend(name: str) -> dict[str, Any]:
    """What a backend says of itself, or why it cannot work."""
    try:
        found = ptir.backends.find(name)
        return {"version": found.version, **found.facts()}
    except ptir.PtirError as error:
        return {"error": str(error)}
    except Exception as error:  # whatever it is, it is what the user came for
        return {"error": f"{type(error).__name__}: {error}"}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def _system() -> dict[str, str]:
    libc = " ".join(filter(None, platform.libc_ver()))
    return {"platform": platform.platform(), "machine": platform.machine(), "libc": libc or "?"}


def _processor() -> dict[str, Any]:
    said = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    has = set(said[1].split()) if said else set()
    return {
        "model": ptir.functional.winners.cpu(),
        "features": [name for name in FEATURES if name in has],
        "logical_cpus": os.cpu_count(),
        "caches": _caches(),
    }


def _caches() -> dict[str, str]:
    """Size by name: `L1d`, `L1i`, `L2`."""
    found = {}
    for index in sorted(CPU.glob("index*")):
        level, kind, size = (_text(index / name).strip() for name in ("level", "type", "size"))
        if level and size:
            found[f"L{level}{kind[0].lower() if kind in ('Data', 'Instruction') else ''}"] = size
    return found


def _memory() -> dict[str, int | None]:
    """Bytes; what is not known is None."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE)
    known = {name: int(kib) * 1024 for name, kib in lines}
    limits = [int(text) for path in CGROUPS if (text := _text(path).strip()).isdigit()]
    total = known.get("MemTotal")
    limit = min((n for n in limits if total is None or n < total), default=None)
    return {"total": total, "available": known.get("MemAvailable"), "limit": limit}


def _compilers() -> dict[str, str]:
    found = {name: shutil.which(name) for name in COMPILERS}
    return {name: _first_line(path) for name, path in found.items() if path is not None}


def _first_line(compiler: str) -> str:
    try:
        said = subprocess.run(
            [compiler, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not run: {error}"
    return said.stdout.decode(errors="replace").partition("\n")[0].strip()


def _knobs() -> dict[str, str]:
    """The knobs that are not at their defaults."""
    chosen = ptir.config.current()
    found = {}
    for variable, knob in ptir.config.knobs().items():
        value = getattr(chosen, variable.removeprefix("PTIR_").lower())
        if value != knob.default:
            found[variable] = str(value)
    return found


def _text(path: str | Path) -> str:
    """What a file says, or nothing where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _page(facts: dict[str, Any]) -> str:
    memory = {name: _gigabytes(n) for name, n in facts["memory"].items()}
    sections = {title: facts[title] for title in ("versions", "system", "processor")}
    sections |= {"memory": memory, "compilers": facts["compilers"], "knobs": facts["knobs"]}
    for name, found in facts["backends"].items():
        mark = " (default)" if name == facts["default"] else ""
        sections[f"backend {name}{mark}"] = found
    problems = facts["problems"] or ["none found"]
    lines = [line for title, rows in sections.items() for line in _section(title, rows)]
    return "\n".join([*lines, "problems", *(f"  {problem}" for problem in problems)])


def _section(title: str, rows: dict[str, Any]) -> list[str]:
    wide = max(map(len, rows), default=0)
    shown = [f"  {name:{wide}}  {_words(value)}" for name, value in rows.items()]
    return [title, *(shown or ["  none"])]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(one)}" for name, one in value.items()) or "unknown"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _gigabytes(nbytes: int | None) -> str | None:
    return None if nbytes is None else f"{nbytes / 2**30:.2f} GiB"
