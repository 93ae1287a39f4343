"""The pages that show code do what they say: every block runs, and prints what stands below it.

The blocks of one section make one program, run in a copy of the package. A block that begins with
the name of a file is that file. A page is thus also the list of the files that a recipe takes.
"""

import doctest
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/howto.md")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# What each example prints, beside what it asserts itself.
FACTS = {
    "compile_a_function": [r"\(1000, 4\)", r"%0: f32\[\?T, 4\] = argument\(0\)"],
    "fuse_pattern": [
        r"(?s)before.*= logistic\(.*after",
        r'(?s)after((?!logistic).)*= custom_call\(%\d+\) {target="example.quick_gelu.v1"',
        r"largest difference: \d",
    ],
    "generate": [r"\w+", r"\n'.+'\n$"],
    "override_matmul": [
        r"force=strassen: ran matmul\.strassen, relative difference [1-9]",
        r"force=split_k: ran matmul\.split_k, relative difference [1-9]",
        r"benchmark: ran matmul",
        r"did you mean 'strassen'",
    ],
}

SEPARATOR = "\x1e"  # printed behind each block: never part of an output
NAMED = re.compile(r"# ([\w/]+\.py)\n")
OUTPUT_OPTIONS = doctest.ELLIPSIS  # `...` stands for anything


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page on which the text begins."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is, if its first line names one."""
        named = NAMED.match(self.text)
        return named[1] if named and self.language == "python" else None


@dataclass(frozen=True)
class Section:
    """What stands under one `##` of a page."""

    page: str
    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def files(self) -> dict[str, Block]:
        return {block.file: block for block in self.blocks if block.file}

    @property
    def script(self) -> list[Block]:
        return [b for b in self.blocks if b.language == "python" and not b.file]

    def expected(self, block: Block) -> str:
        """The output that the page shows below a block: nothing, unless it shows some."""
        behind = self.blocks[self.blocks.index(block) + 1 :]
        return behind[0].text if behind and behind[0].language == "text" else ""

    def __str__(self) -> str:
        return f"{Path(self.page).stem}: {self.title}"


def sections(page: str, text: str) -> list[Section]:
    """The sections of a page that have blocks with a language."""
    found, block = [Section(page, "top")], None
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if line.startswith("```"):
            if block is not None:
                found[-1].blocks.append(block)
            block = Block(line[3:].strip(), "", number + 1) if block is None else None
        elif block is not None:
            block = Block(block.language, block.text + line, block.line)
        elif line.startswith("## "):
            found.append(Section(page, line[3:].strip()))
    return [s for s in found if any(b.language for b in s.blocks)]


def of_page(page: str) -> list[Section]:
    return sections(page, (ROOT / page).read_text(encoding="utf-8"))


SECTIONS = [section for page in PAGES for section in of_page(page)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the package, which recipes may add their files to."""
    place = tmp_path_factory.mktemp("checkout")
    package = ROOT / "src" / "ptir"
    shutil.copytree(package, place / "src" / "ptir", ignore=shutil.ignore_patterns("demo"))
    (place / "src" / "ptir" / "demo").symlink_to(package / "demo")
    return place


def run(*command: str | Path, at: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with the package that lies under `at`."""
    search = os.pathsep.join([str(at / "src"), str(at)])
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {
        "PATH": beside,
        "PYTHONPATH": search,
        "PYTHONWARNINGS": "error",
        "PTIR_CACHE_DIR": str(at / "cache"),
    }
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=at, env=environment, check=False,
        capture_output=True, text=True, encoding="utf-8", timeout=300,
    )  # fmt: skip


def scripted(section: Section) -> str:
    """The section's blocks on the lines of the page where they stand, so that tracebacks name
    them.
    """
    lines: list[str] = []
    for block in section.script:
        lines += [""] * (block.line - 1 - len(lines))
        lines += [*block.text.splitlines(), f"print({SEPARATOR!r})"]
    return "\n".join(lines)


def install(block: Block, at: Path) -> None:
    """Make the entry points of a `pyproject.toml` known, as installing it would."""
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    facts = at / "recipe-1.dist-info"
    facts.mkdir(exist_ok=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: recipe\nVersion: 1\n")
    rows = [
        row
        for group, names in groups.items()
        for row in (f"[{group}]", *(f"{name} = {value}" for name, value in names.items()))
    ]
    (facts / "entry_points.txt").write_text("\n".join(rows))


@pytest.mark.parametrize("section", [s for s in SECTIONS if s.script], ids=str)
def test_the_blocks_of_a_section_run_and_print_what_it_shows(section: Section, checkout: Path):
    made = []
    try:
        for name, block in section.files.items():
            path = checkout / name
            assert not path.exists(), f"{name} exists: a recipe adds files"
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            made.append(path)
        for block in section.blocks:
            if block.language == "toml":
                install(block, checkout)
        script = checkout / f"{Path(section.page).stem}.py"
        script.write_text(scripted(section), encoding="utf-8")
        done = run(script, at=checkout)
    finally:
        for path in made:
            path.unlink()
        shutil.rmtree(checkout / "recipe-1.dist-info", ignore_errors=True)
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split(f"{SEPARATOR}\n")
    for block, output in zip(section.script, outputs, strict=False):
        check_output(section, block, output)


def check_output(section: Section, block: Block, output: str) -> None:
    shown, printed = section.expected(block).rstrip(), output.rstrip()
    if not doctest.OutputChecker().check_output(shown, printed, OUTPUT_OPTIONS):
        place = f"{section.page}:{block.line}"
        pytest.fail(f"{place}: the page shows\n{shown}\nbut the block prints\n{printed}")


@pytest.mark.parametrize("section", of_page("docs/howto.md"), ids=str)
def test_a_recipe_takes_one_file_of_the_package(section: Section):
    assert len([name for name in section.files if name.startswith("src/")]) <= 1


def test_a_block_that_lies_is_caught(checkout):
    page = "## Lies\n```python\nprint(1)\n```\n```text\n2\n```\n"
    with pytest.raises(pytest.fail.Exception, match=r"page:3: the page shows\n2\n"):
        test_the_blocks_of_a_section_run_and_print_what_it_shows(*sections("page", page), checkout)
    page = "## Lies\n\n```python\nx = 1\n1 / 0\n```\n"
    with pytest.raises(AssertionError, match=r'page.py", line 5, in <module>'):
        test_the_blocks_of_a_section_run_and_print_what_it_shows(*sections("page", page), checkout)
    page = "## Lies\n```python\n# src/ptir/nn/layers.py\n```\n```python\nx = 1\n```\n"
    with pytest.raises(AssertionError, match="a recipe adds files"):
        test_the_blocks_of_a_section_run_and_print_what_it_shows(*sections("page", page), checkout)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_what_it_does(example: Path, checkout: Path):
    done = run(example, at=checkout)
    assert done.returncode == 0, done.stderr
    for fact in FACTS[example.stem]:
        assert re.search(fact, done.stdout), done.stdout
