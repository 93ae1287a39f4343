"""Knobs: what is read, when, and what is refused."""

import os
from pathlib import Path

import pytest

from ptir import config

VALUES = [
    ("BACKEND", "native", "native"),
    ("EAGER", "1", True),
    ("EAGER", "Off", False),
    ("VERIFY", "true", True),
    ("PASSES", "-fold, -fuse", {"fold", "fuse"}),
    ("MMAP", "0", False),
    ("PLAN_CACHE", "12", 12),
    ("DUMP_DIR", "out dir", Path("out dir")),
    ("DUMP_MODE", "all", "all"),
    ("CACHE_DIR", "kept here", Path("kept here")),
    ("DERIVED_CACHE", "0", 0),
    ("DERIVED_CACHE", "64", 64),
    ("THREADS", "3", 3),
    ("ISA", "avx2", "avx2"),
    ("LIBRARY", "my lib.so", Path("my lib.so")),
]
DEFAULTS = {
    "backend": "native", "eager": False, "verify": False, "passes": frozenset(), "mmap": True,
    "check_digests": False,
    "plan_cache": 256, "dump_dir": None, "dump_mode": "compile", "cache_dir": None,
    "derived_cache": 16, "threads": None, "isa": None, "library": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for variable in [v for v in os.environ if v.startswith("PTIR_")]:
        monkeypatch.delenv(variable)


def test_the_defaults_are_these():
    assert {name: getattr(config.current(), name) for name in DEFAULTS} == DEFAULTS
    assert set(config.knobs()) == {f"PTIR_{name.upper()}" for name in DEFAULTS}


@pytest.mark.parametrize("name,text,value", VALUES)
def test_a_variable_counts_as_soon_as_it_is_set_or_unset(monkeypatch, name, text, value):
    knobs = config.current()
    monkeypatch.setenv(f"PTIR_{name}", text)
    assert getattr(knobs, name.lower()) == value
    monkeypatch.setenv(f"PTIR_{name}", "")
    assert getattr(knobs, name.lower()) == DEFAULTS[name.lower()]
    monkeypatch.delenv(f"PTIR_{name}")
    assert getattr(knobs, name.lower()) == DEFAULTS[name.lower()]


MALFORMED = [
    ("BACKEND", "two words"), ("BACKEND", "x\x1b[0m"), ("EAGER", "yes please"), ("EAGER", "2"),
    ("PASSES", "fold"), ("PASSES", "-"), ("PASSES", "-a,,-b"), ("MMAP", "maybe"),
    ("PLAN_CACHE", "0"), ("PLAN_CACHE", "-1"), ("PLAN_CACHE", "1.5"), ("PLAN_CACHE", "9" * 5000),
    ("PLAN_CACHE", "٣"), ("PLAN_CACHE", "1_0"), ("DUMP_MODE", "ALL"),
    ("DERIVED_CACHE", "-1"), ("DERIVED_CACHE", "00"), ("DERIVED_CACHE", "1.5"),
]  # fmt: skip


@pytest.mark.parametrize("name,text", MALFORMED)
def test_a_malformed_value_is_refused_with_what_is_accepted(monkeypatch, name, text):
    monkeypatch.setenv(f"PTIR_{name}", text)
    knob = config.knobs()[f"PTIR_{name}"]
    for ask in (lambda: getattr(config.current(), name.lower()), config.check):
        with pytest.raises(config.ConfigError) as caught:
            ask()
        message = str(caught.value)
        assert message.startswith(f"PTIR_{name}=")
        assert knob.form.accepted in message
        assert message.isprintable()


@pytest.mark.parametrize(
    "variable,meant",
    [
        ("PTIR_EAGRE", "PTIR_EAGER"),
        ("PTIR_PLANCACHE", "PTIR_PLAN_CACHE"),
        ("PTIR_BACKENDS", "PTIR_BACKEND"),
        ("PTIR_DUMPDIR", "PTIR_DUMP_DIR"),
        ("PTIR_mmap", "PTIR_MMAP"),
    ],
)
def test_a_misspelled_variable_is_refused_with_the_nearest(monkeypatch, variable, meant):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(config.ConfigError, match=f"^{variable}='1' is not a knob.*{meant}\\?$"):
        config.check()


def test_a_variable_that_is_near_no_knob_is_left_alone(monkeypatch):
    monkeypatch.setenv("PTIR_TEST_WORKDIR", "x")
    monkeypatch.setenv("EAGRE", "1")
    config.check()


def test_the_table_has_a_row_for_each_knob():
    rows = config.table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(config.knobs())
    assert "| `PTIR_PLAN_CACHE` | count | `256` |" in config.table()
    assert "| `PTIR_DUMP_DIR` | folder | none |" in config.table()


CACHES = [
    ({"PTIR_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
    ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/ptir"),
    ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/ptir"),
    ({"HOME": "/h"}, "/h/.cache/ptir"),
]


@pytest.mark.parametrize("environment,folder", CACHES)
def test_measurements_are_kept_where_the_user_or_xdg_says(monkeypatch, environment, folder):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for variable, text in environment.items():
        monkeypatch.setenv(variable, text)
    assert config.cache_folder() == Path(folder)


SETTINGS = [
    ({"XDG_CONFIG_HOME": "{}/x", "HOME": "{}/h"}, "x/ptir/ptir.toml"),
    ({"XDG_CONFIG_HOME": "x", "HOME": "{}/h"}, "h/.config/ptir/ptir.toml"),
    ({"HOME": "{}/h"}, "h/.config/ptir/ptir.toml"),
]


@pytest.mark.parametrize("environment,file", SETTINGS)
def test_settings_are_in_this_folder_or_where_xdg_says(monkeypatch, tmp_path, environment, file):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for variable, text in environment.items():
        monkeypatch.setenv(variable, text.format(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert config.settings_file() is None
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).touch()
    assert config.settings_file() == tmp_path / file
    (tmp_path / "ptir.toml").touch()
    assert config.settings_file() == Path("ptir.toml")


def test_what_variables_say_is_told_by_name(monkeypatch):
    monkeypatch.setenv("PTIR_THREADS", "2")
    monkeypatch.setenv("PTIR_TOP_K", "3")
    monkeypatch.setenv("PTIR_ISA", "")
    assert {"threads": "2", "top_k": "3"}.items() <= config.stated().items()
    assert "isa" not in config.stated()
