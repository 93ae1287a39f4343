"""The house's rules that no linter knows, held on the syntax trees of the package.

Import direction is import-linter's (`./dev check`). Each rule is shown to catch what it forbids.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ptir
from ptir.ir import OPS
from tests.samples import by_op

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "ptir"
SOURCES = sorted(PACKAGE.rglob("*.py"))

Found = Iterator[tuple[int, str]]  # line and complaint
Rule = Callable[[ast.Module], Found]

# Modules that run code found in what they read.
UNSAFE_MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal"}
UNSAFE_MODULES |= {"shelve", "torch"}
UNSAFE_CALLS = {"eval", "exec", "__import__"}


def spelled(node: ast.expr) -> str:
    """`a.b.c` for a chain of attributes, the empty string for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{spelled(value)}.{attr}"
    return ""


def imported(node: ast.AST) -> list[str]:
    """The modules an import statement names, `from a import b` as `a` and `a.b`."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            origin = "." * level + (module or "")
            return [origin, *(f"{origin}.{alias.name}" for alias in names)]
    return []


def line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def says_its_duty(tree: ast.Module) -> Found:
    if tree.body and not ast.get_docstring(tree):
        yield 1, "no module docstring: say the duty, and what the module does not know"


def reads_no_environment(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        names = imported(node) + ([spelled(node)] if isinstance(node, ast.Attribute) else [])
        if any(re.fullmatch(r"os\.(environb?|getenvb?|putenv)", name) for name in names):
            yield line(node), "the environment is read in ptir/config.py only"


def runs_no_foreign_code(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        if any(name.split(".")[0] in UNSAFE_MODULES for name in imported(node)):
            yield line(node), "a module that runs what it reads"
        if isinstance(node, ast.Call) and spelled(node.func) in UNSAFE_CALLS:
            yield node.lineno, f"{spelled(node.func)}()"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            yield node.lineno, "allow_pickle"


def asks_no_hasattr(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "hasattr":
            yield node.lineno, "hasattr: use an abstract class or a declared field"


def imports_at_the_top(tree: ast.Module) -> Found:
    """Only an optional third-party package may be imported inside a function."""
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    for node in (inner for function in functions for inner in ast.walk(function)):
        roots = {name.split(".")[0] for name in imported(node)}
        if roots & {"", "ptir", *sys.stdlib_module_names}:
            yield line(node), "an import inside a function"


RULES: dict[Rule, str] = {  # each with sources that it must refuse
    says_its_duty: "x = 1",
    reads_no_environment: "import os\nx = os.environ['A']\n---\nfrom os import getenv",
    runs_no_foreign_code: "import pickle\n---\nfrom torch import load\n---\neval('1')\n---\n"
    "load(path, allow_pickle=True)",
    asks_no_hasattr: "hasattr(x, 'y')",
    imports_at_the_top: "def f():\n    import ptir.ir\n---\ndef f():\n    from . import ir\n---\n"
    "def f():\n    if x:\n        import os",
}
# A rule's one home is exempt from it.
EXEMPT: dict[Rule, Path] = {reads_no_environment: PACKAGE / "config.py"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_source_file_keeps_the_rule(rule: Rule):
    complaints = [
        f"{path.relative_to(ROOT)}:{number}: {complaint}"
        for path in SOURCES
        if path != EXEMPT.get(rule)
        for number, complaint in rule(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert complaints == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_catches_what_it_forbids(rule: Rule):
    for source in RULES[rule].split("---\n"):
        assert list(rule(ast.parse(source))), source


def test_an_optional_package_may_be_imported_inside_a_function():
    assert not list(imports_at_the_top(ast.parse("def f():\n    import jax")))


def test_no_source_file_is_longer_than_500_lines():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_no_file_is_named_for_nothing():
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [path.name for path in SOURCES if path.stem in vague] == []


def test_a_room_logs_under_its_own_name():
    rooms = []
    for path in SOURCES:
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and spelled(node.func) == "logging.getLogger":
                rooms.append(room)
                wanted = "ptir" if room == "cli" else f"ptir.{room}"  # who listens hears all rooms
                assert [ast.literal_eval(name) for name in node.args] == [wanted], path
    assert {"backends", "checkpoint", "engine", "functional", "passes", "runtime"} <= set(rooms)


# What `import ptir` promises. Adding a name here is a decision; removing one breaks someone.
PUBLIC = [
    "Compiled", "ConfigError", "Dim", "Generation", "Image", "LoadedModel", "Piece", "Program",
    "PtirError", "Sampling", "SpecError", "Tensor", "Tokens", "arange", "as_tensor", "backends",
    "compile", "concat", "config", "dump", "explain", "full", "functional", "ir", "kernel",
    "load_model", "ones", "ops", "override", "passes", "profile", "realize", "runtime", "stack",
    "trace", "where", "zeros",
]  # fmt: skip


def test_the_exported_names_are_these():
    assert dir(ptir) == sorted(PUBLIC)
    assert [name for name in PUBLIC if getattr(ptir, name, None) is None] == []


# A program's inputs.
WITHOUT_SAMPLES = {"leaf", "param"}


def test_every_op_has_samples():
    assert set(OPS) - WITHOUT_SAMPLES == set(by_op())


# The brackets keep this file from naming what it forbids.
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E)\b")
SOMEONES_PLACE = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w")


def tracked_text() -> Iterator[tuple[str, str]]:
    """Name and text of each tracked file that people write (the demo model's files are data)."""
    command = ["git", "ls-files", "-z", "--", ":!src/ptir/demo/*"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            yield name, content.decode("utf-8")


@pytest.mark.parametrize("forbidden", [UNFINISHED, SOMEONES_PLACE], ids=["unfinished", "place"])
def test_no_tracked_file_says(forbidden: re.Pattern[str]):
    found = [
        f"{name}:{text.count(chr(10), 0, hit.start()) + 1}: {hit.group()}"
        for name, text in tracked_text()
        for hit in forbidden.finditer(text)
    ]
    assert found == []


def test_the_words_that_no_file_says_are_recognised():
    assert UNFINISHED.search("# " + "TO" + "DO: later")
    assert SOMEONES_PLACE.search("open('/ho" + "me/me/x')")
    assert not SOMEONES_PLACE.search("https://example.org/root/x and ./home/x")
