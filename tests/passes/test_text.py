"""Passes, text in and text out: each `.ptir` file here holds programs before and after.

A file is cases: `// case: name`, `// pass: a, b`, a program, `// ---`, the program expected. A
missing `// pass:` is that of the case before. `--update-golden` writes what came.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ptir import backends, passes
from ptir.ir import parse_program, print_program

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.ptir"))


@dataclass
class Case:
    name: str
    passes: str
    before: str
    after: str

    def ran(self) -> str:
        """The program after the passes, verified before and after each."""
        reference = backends.find("reference")
        legalizer = passes.legalizer(reference.claims, reference.name)
        known = passes.legalizing(passes.pipeline({}), legalizer)
        chosen = passes.named([word.strip() for word in self.passes.split(",")], known)
        program, _ = passes.apply(parse_program(self.before), chosen, verify=True)
        return print_program(program)


def read(path: Path) -> tuple[str, list[Case]]:
    """What stands above the first case, and the cases."""
    head, *parts = re.split(r"(?m)^// case: ", path.read_text(encoding="utf-8"))
    cases = list[Case]()
    for part in parts:
        name, _, text = part.partition("\n")
        stated = re.match(r"// pass: (.*)\n", text)
        if stated:
            text = text[stated.end() :]
        before, _, after = text.partition("// ---\n")
        cases.append(Case(name, stated[1] if stated else cases[-1].passes, before.strip(), after))
    return head, cases


def write(path: Path, head: str, cases: list[Case]) -> None:
    text, last = head, ""
    for case in cases:
        text += f"// case: {case.name}\n"
        text += "" if case.passes == last else f"// pass: {case.passes}\n"
        text += f"{case.before}\n// ---\n{case.ran()}\n"
        last = case.passes
    path.write_text(text.rstrip() + "\n", encoding="utf-8")


CASES = [
    pytest.param(path, case, id=f"{path.stem}-{case.name.replace(' ', '_')}")
    for path in FILES
    for case in read(path)[1]
]


@pytest.mark.parametrize("path, case", CASES)
def test_the_passes_make_the_program_that_is_expected(path: Path, case: Case, update_golden: bool):
    if update_golden:
        write(path, *read(path))
        return
    assert case.ran().strip() == case.after.strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_expected_programs_have_nothing_left_to_do(path: Path):
    for case in read(path)[1]:
        again = Case(case.name, case.passes, case.after.strip(), "")
        if "legalize" not in case.passes:
            assert again.ran().strip() == case.after.strip()


def test_every_pass_of_rules_has_a_file():
    ours = {"canonicalize", "simplify", "sink_broadcasts", "move_transposes", "group_elementwise"}
    known = {passes.name(p) for p in (*passes.LIBRARY, *passes.pipeline({}))}
    assert ours <= known
    assert ours <= {path.stem for path in FILES}
