"""`ptir doctor`: what is told of the machine, the installation and every backend."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptir import PtirError, backends
from ptir.backends.reference import Backend as Reference
from ptir.cli import doctor


@pytest.fixture(autouse=True)
def _reference(monkeypatch):
    """The default is a backend that works everywhere."""
    monkeypatch.setenv("PTIR_BACKEND", "reference")


def facts(ptir: Any, code: int = 0) -> dict[str, Any]:
    done = ptir("doctor", "--json")
    assert (done.code, done.err) == (code, "")
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_json_has_the_stated_sections(ptir):
    assert set(facts(ptir)) == {
        *("versions", "system", "processor", "memory", "compilers", "knobs"),
        *("default", "backends", "problems"),
    }


def test_versions_are_those_of_this_process(ptir):
    found = facts(ptir)["versions"]
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__


def test_every_backend_is_told_with_its_facts(ptir):
    found = facts(ptir)
    assert sorted(found["backends"]) == backends.names()
    assert found["backends"]["reference"] == {"version": "1", "numpy": np.__version__}


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_memory_and_processor_are_those_of_the_system(ptir):
    found = facts(ptir)
    assert found["memory"]["total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < found["memory"]["available"] <= found["memory"]["total"]
    assert found["processor"]["logical_cpus"] == os.cpu_count()


def test_a_knob_that_is_set_is_told(ptir, monkeypatch):
    monkeypatch.setenv("PTIR_PLAN_CACHE", "7")
    assert facts(ptir)["knobs"]["PTIR_PLAN_CACHE"] == "7"
    monkeypatch.delenv("PTIR_PLAN_CACHE")
    assert "PTIR_PLAN_CACHE" not in facts(ptir)["knobs"]


def test_the_page_has_the_same_facts(ptir):
    done = ptir("doctor")
    assert (done.code, done.err) == (0, "")
    assert "backend reference (default)\n  version  1\n" in done.out
    assert f"numpy       {np.__version__}" in done.out
    for title in ("versions", "system", "processor", "memory", "compilers", "knobs", "problems"):
        assert f"\n{title}\n" in f"\n{done.out}"


@pytest.mark.parametrize("error", [PtirError("the library is gone"), OSError("no such symbol")])
def test_a_default_backend_that_cannot_work_is_a_problem_and_3(ptir, monkeypatch, error):
    def fail(self: Reference) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(Reference, "facts", fail)
    found = facts(ptir, code=3)
    assert str(error) in found["backends"]["reference"]["error"]
    assert any(p.startswith("reference: ") and str(error) in p for p in found["problems"])
    assert str(error) in ptir("doctor").out


def test_a_default_backend_that_does_not_exist_is_a_problem_and_3(ptir, monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "refrence")
    found = facts(ptir, code=3)
    assert "did you mean 'reference'?" in found["backends"]["refrence"]["error"]
    assert "versions" in found


def test_a_compiler_that_fails_is_told_as_such(ptir, monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    good = tmp_path / "gcc"
    good.write_text("#!/bin/sh\necho 'gcc 12'\necho more\n")
    good.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = facts(ptir)["compilers"]
    assert found["cc"].startswith("does not run: ")
    assert found["gcc"] == "gcc 12"


def test_a_compiler_that_hangs_is_not_waited_for(ptir, monkeypatch, tmp_path):
    slow = tmp_path / "cc"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    monkeypatch.setattr(doctor, "COMPILERS", ("cc",))
    assert "timed out" in facts(ptir)["compilers"]["cc"]


def test_what_the_system_does_not_tell_is_unknown_and_no_failure(ptir, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "CPU", tmp_path)
    monkeypatch.setattr(doctor, "CGROUPS", ())
    monkeypatch.setattr(doctor, "_text", lambda path: "")
    found = facts(ptir)
    assert found["memory"] == {"total": None, "available": None, "limit": None}
    assert (found["processor"]["features"], found["processor"]["caches"]) == ([], {})
    assert ptir("doctor").code == 0
