"""Runs the kernels' tests on other builds of them: with sanitizers, and for other machines.

Knows how they are built and where the tests are; what they check is theirs.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "src/ptir/backends/native/kernels"
DRIVER = ROOT / "tests/native/driver.c"
AMX = ROOT / "tests/native/amx.c"

OUT_OF_MEMORY = "test_threads_that_get_no_memory_are_done_without"

# Python itself leaks and is not instrumented; what a thread of it does is not ours to judge.
SANITIZERS = {
    "address": (
        "libasan.so", ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
    ),
    "thread": (
        "libtsan.so", ("-fsanitize=thread",),
        {"TSAN_OPTIONS": "ignore_noninstrumented_modules=1 die_after_fork=0"},
    ),
}  # fmt: skip


def run(command: Sequence[str | Path], env: dict[str, str] | None = None) -> int:
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


def runtime(name: str) -> str:
    """Where gcc keeps a sanitizer's runtime, which must be loaded before Python."""
    command = ["gcc", f"-print-file-name={name}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not Path(found).is_absolute():
        sys.exit(f"./dev sanitize: gcc has no {name}; on Debian it comes with the package gcc")
    return str(Path(found).resolve())


def sanitize(kind: str = "address", *tests: str) -> int:
    """Run tests (all native ones, else those named) on kernels built with a sanitizer."""
    if kind not in SANITIZERS:
        sys.exit(f"./dev sanitize: no sanitizer {kind!r}; there are {', '.join(SANITIZERS)}")
    if not shutil.which("gcc"):
        sys.exit("./dev sanitize: needs gcc, whose runtime is loaded before Python")
    preload, flags, options = SANITIZERS[kind]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "libptir.so")
        build = [sys.executable, "hatch_build.py", str(library), *flags, "-O1", "-g"]
        if code := run(build, env=os.environ | {"CC": "gcc"}):
            return code
        loaded = {"LD_PRELOAD": runtime(preload), "PTIR_LIBRARY": str(library)}
        # Where memory lies must be as the runtime expects it, which newer kernels' random
        # places are not.
        still = ["setarch", "-R"] if shutil.which("setarch") else []
        # What captures or handles less than Python's own output would swallow the report.
        plain = ["--capture=sys", "-p", "no:faulthandler"]
        # A sanitizer's own memory has to be there.
        without = f"tests/native/test_executor.py::{OUT_OF_MEMORY}"
        command = [*still, sys.executable, "-m", "pytest", "-q", *plain, "--deselect", without]
        return run([*command, *(tests or ["tests/native"])], os.environ | loaded | options)


def aarch64(*tests: str) -> int:
    """Build the kernels for aarch64 and run tests on them, under emulation."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "driver")
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl"]
        flags = ["-static", "-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math"]
        flags += ["-ffp-contract=fast", "-Wall", "-Wextra", "-Werror", f"-I{KERNELS}"]
        sources = [DRIVER, *(KERNELS / name for name in ("level.c", "levels.c", "executor.c"))]
        if code := run([*compiler, *flags, *sources, "-o", program, "-lpthread", "-lm"]):
            return code
        emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
        if emulator is None:
            print("./dev aarch64: compiled; not run: no qemu-aarch64 (Debian: qemu-user)")
            return 0
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.native.emulated"]
        driver = {"KERNEL_DRIVER": shlex.join([emulator, str(program)])}
        return run([*command, *(tests or ["tests/native"])], os.environ | driver)


def levels(env: dict[str, str]) -> list[str]:
    """The ISA levels that a library has here; whatever keeps it from telling ends this."""
    ask = "from ptir.backends.native.library import library; print(*library().levels)"
    told = subprocess.run([sys.executable, "-c", ask], env=env, check=True, stdout=subprocess.PIPE)
    found = told.stdout.decode().split()
    if ("amx" in found) is not ("avx512_bf16" in found):
        sys.exit(f"./dev amx: the library has {' '.join(found)}: AMX is not emulated")
    return found


def amx(*tests: str) -> int:
    """Build the kernels, AMX among them, and run tests where its instructions are emulated."""
    if platform.machine() not in ("x86_64", "AMD64") or not shutil.which("cc"):
        sys.exit("./dev amx: needs an x86-64 machine with a C compiler named cc")
    with tempfile.TemporaryDirectory() as folder:
        library, emulator = Path(folder, "libptir.so"), Path(folder, "amx.so")
        if code := run([sys.executable, "hatch_build.py", str(library), "-DPTIR_EMULATED_AMX"]):
            return code
        flags = ["-shared", "-fPIC", "-O2", "-mfma", "-ffp-contract=off", "-Wall", "-Werror"]
        if code := run(["cc", *flags, AMX, "-o", emulator, "-lm"]):
            return code
        loaded = {"PTIR_LIBRARY": str(library)}
        if "avx512_bf16" not in levels(os.environ | loaded):
            print("./dev amx: compiled; not run: the rest of it needs a processor with AVX512_BF16")
            return 0
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:faulthandler"]
        env = os.environ | loaded | {"LD_PRELOAD": str(emulator)}
        return run([*command, *(tests or ["tests/native"])], env)


def main() -> int:
    name, *args = sys.argv[1:] or [""]
    if name == "amx":
        return amx(*args)
    if name == "sanitize":
        return sanitize(*args)
    if name == "aarch64":
        return aarch64(*args)
    sys.exit(
        "usage: python tools/kernels.py "
        "sanitize [address|thread [TEST]...] | aarch64 [TEST]... | amx [TEST]..."
    )


if __name__ == "__main__":
    sys.exit(main())
