"""Builds the native library: a hook of hatchling when a wheel is made, or a script for `./dev`:
`python hatch_build.py [LIBRARY [COMPILER FLAG]...]`.

Knows the compilers and the ISA levels; what the kernels compute is theirs.
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

PACKAGE = Path(__file__).resolve().parent / "src/ptir/backends/native"
KERNELS = PACKAGE / "kernels"
LIBRARY = PACKAGE / "libptir.so"  # one name on every system: it is loaded by its path
MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
LINUX = sys.platform == "linux"

FLAGS = ["-O3", "-std=gnu11", "-fPIC", "-fvisibility=hidden", "-g0"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
LINK = ("-shared", "-lpthread", "-lm", *(("-Wl,-z,defs",) if LINUX else ()))

ONCE = ("executor.c", "levels.c")
# By the name of the level, as levels.c spells it.
LEVELS = {"base": ""}
if MACHINE == "x86_64":
    LEVELS["avx2"] = "-mavx2 -mfma -mf16c"
    avx512 = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512"
    LEVELS["avx512"] = f"{avx512} -mfma -mf16c"
    LEVELS["avx512_bf16"] = f"{LEVELS['avx512']} -mavx512bf16"
    LEVELS["amx"] = f"{LEVELS['avx512_bf16']} -mamx-tile -mamx-bf16"

# An old compiler, or one without its headers, fails here and not halfway through the kernels.
PROBE = """
#include <math.h>
#include <pthread.h>
#if defined(__x86_64__)
#include <immintrin.h>
__m512 wide(__m512 x) { return _mm512_fmadd_ps(x, x, x); }
#endif
typedef float vf __attribute__((vector_size(16)));
typedef int vi __attribute__((vector_size(16)));
vi whole(vf x) { return __builtin_convertvector(__builtin_shufflevector(x, x, 3, 2, 1, 0), vi); }
double call(double x) { return (double)!pthread_self() + exp2(x); }
"""

NO_COMPILER = """ptir: found no C compiler that works (tried cc, gcc, clang and ziglang). Install
gcc 12 or newer or clang, with the C library's headers (Debian: apt install gcc libc6-dev); or name
one in CC; or pip install ziglang"""


class BuildError(Exception):
    """The library cannot be built; the message says why and what to do."""

    code = 1


class NoCompilerError(BuildError):
    code = 3  # `./dev` then lets pip fetch one


@dataclass(frozen=True)
class Compiler:
    """How a C compiler is called, and the platform tag of what it makes."""

    command: tuple[str, ...]
    tag: str

    def run(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=900, check=False,
        )  # fmt: skip

    def make(self, *args: str | Path) -> None:
        done = self.run(*args)
        if done.returncode:
            raise BuildError(f"{done.stderr}\nptir: failed: {shlex.join(map(str, done.args))}")

    def works(self) -> bool:
        """Whether it compiles and links a small library for the most demanding level."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(PROBE)
            flags = [*FLAGS, *[*LEVELS.values()][-1].split()]
            try:
                done = self.run(*flags, source, "-o", Path(folder, "probe.so"), *LINK)
            except (OSError, subprocess.TimeoutExpired):
                return False
        return done.returncode == 0


def system_tag() -> str:
    return f"linux_{MACHINE}" if LINUX else next(platform_tags())


def zig() -> Compiler:
    """The compiler in the `ziglang` wheel; on Linux it links against an old C library."""
    command = (sys.executable, "-m", "ziglang", "cc")
    musl = "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "")
    if musl or not LINUX:
        return Compiler(command, system_tag())
    target = ("-target", f"{MACHINE}-linux-gnu.2.17")
    return Compiler((*command, *target), f"manylinux_2_17_{MACHINE}")


def system_compiler() -> Compiler | None:
    """The one that CC names, else the first on the path that works."""
    if named := shlex.split(os.environ.get("CC", "")):
        compiler = Compiler(tuple(named), system_tag())
        if compiler.works():
            return compiler
        raise BuildError(f"ptir: CC={shlex.join(named)} cannot build the kernels; unset or mend it")
    found = (Compiler((name,), system_tag()) for name in ("cc", "gcc", "clang"))
    return next((c for c in found if shutil.which(c.command[0]) and c.works()), None)


def find_compiler() -> Compiler:
    if compiler := system_compiler():
        return compiler
    if importlib.util.find_spec("ziglang") and zig().works():
        return zig()
    raise NoCompilerError(NO_COMPILER)


def digest(compiler: Compiler, extra: Sequence[str]) -> str:
    """What the library is made of: sources, this file, the compiler."""
    found = hashlib.sha256()
    for source in [Path(__file__), *sorted(KERNELS.glob("*.[chd]*"))]:
        content = source.read_bytes()
        found.update(f"{source.name} {len(content)}\n".encode() + content)
    version = compiler.run("--version").stdout
    found.update("\n".join([MACHINE, compiler.tag, version, *extra]).encode())
    return found.hexdigest()


def compile_all(compiler: Compiler, output: Path, extra: Sequence[str]) -> None:
    """Compile the kernels for every level, and what is there once; link them."""
    units = [(name, "level.c", f"-DPTIR_ISA={name} {LEVELS[name]}") for name in LEVELS]
    units += [(Path(source).stem, source, "") for source in ONCE]
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".build-") as folder:

        def compile_one(unit: tuple[str, str, str]) -> Path:
            name, source, flags = unit
            target = Path(folder, f"{name}.o")
            compiler.make(*FLAGS, *flags.split(), *extra, "-c", KERNELS / source, "-o", target)
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, units))
        linked = Path(folder, output.name)
        compiler.make(*extra, *objects, "-o", linked, *LINK)
        linked.replace(output)  # whole or not at all; whoever has the old one loaded keeps it


def build(output: Path = LIBRARY, extra: Sequence[str] = ()) -> Compiler:
    """Make the library unless it is there already; the compiler that does it."""
    compiler = find_compiler()
    stamp = output.with_name(f"{output.name}.stamp")
    wanted = digest(compiler, extra)
    if not (output.exists() and stamp.exists() and stamp.read_text() == wanted):
        compile_all(compiler, output, extra)
        stamp.write_text(wanted)
    return compiler


class NativeHook(BuildHookInterface[BuilderConfig]):
    """Puts the library beside its sources, from where the wheel takes it."""

    def dependencies(self) -> list[str]:
        return [] if sys.platform == "win32" or system_compiler() else ["ziglang>=0.14"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if sys.platform == "win32":  # the executor needs POSIX threads; `reference` runs there
            return
        try:
            compiler = build()
        except BuildError as error:
            self.app.abort(str(error))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{compiler.tag}"


def main() -> int:
    output, *extra = sys.argv[1:] or [str(LIBRARY)]
    try:
        build(Path(output).resolve(), extra)
    except BuildError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
