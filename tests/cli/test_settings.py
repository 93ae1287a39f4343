"""Settings of generation: where a value may be stated, which one counts, and what is refused."""

import json
import shutil
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from ptir import Sampling, load_model, runtime
from ptir.cli.shared.table import TABLE
from tests.runtime import tiny

# Of each setting: words of a flag, text of its variable, what a file has, and the value.
SPELLED: dict[str, tuple[tuple[str, ...], str, Any, Any]] = {
    "max_tokens": (("3",), "3", 3, 3),
    "temperature": (("0.5",), "0.5", 0.5, 0.5),
    "seed": (("7",), "7", 7, 7),
    "top_k": (("4",), "4", 4, 4),
    "top_p": (("0.9",), "0.9", 0.9, 0.9),
    "min_p": (("0.1",), "0.1", 0.1, 0.1),
    "typical_p": (("0.7",), "0.7", 0.7, 0.7),
    "repetition_penalty": (("1.5",), "1.5", 1.5, 1.5),
    "presence_penalty": (("-1",), "-1", -1, -1.0),
    "frequency_penalty": (("0.25",), "0.25", 0.25, 0.25),
    "logit_bias": (("5=-1.5,7=2",), "5=-1.5,7=2", {"5": -1.5, "7": 2}, {"5": -1.5, "7": 2.0}),
    "stop": (("a,b",), "a,b", "a,b", ["a,b"]),
    "stop_token_ids": (("1, 2",), "1,2", [1, 2], [1, 2]),
    "ignore_eos": ((), "on", True, True),
    "min_tokens": (("2",), "2", 2, 2),
    "logprobs": (("0",), "0", 0, 0),
    "prompt_logprobs": (("3",), "3", 3, 3),
    "overflow": (("slide",), "slide", "slide", "slide"),
    "reuse_prefix": ((), "true", True, True),
}


@pytest.fixture
def told(ptir, tmp_path, monkeypatch):
    """What --show-config says with these flags, in a folder whose `ptir.toml` has these lines."""

    def run(*flags: str, toml: str = "") -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        Path("ptir.toml").write_text(toml)
        done = ptir("generate", "--show-config", "--json", *flags)
        assert (done.code, done.err) == (0, "")
        found: dict[str, Any] = json.loads(done.out)
        return found

    return run


def toml(name: str, value: object) -> str:
    if isinstance(value, dict):
        return f"[{name}]\n" + "".join(f"{key} = {each}\n" for key, each in value.items())
    return f"{name} = {json.dumps(value)}\n"


def test_every_field_of_sampling_but_code_and_every_option_is_a_setting():
    options = {*runtime.Options.__annotations__} - {"sampling"}
    assert set(TABLE) == {f.name for f in fields(Sampling) if f.name != "processors"} | options
    assert set(SPELLED) == set(TABLE)


def test_defaults_are_those_of_the_runtime():
    for field in fields(Sampling):
        if field.name in TABLE:
            made = field.default_factory
            assert TABLE[field.name].default == (field.default if made is MISSING else made())
    defaults = runtime.TextModel.start.__kwdefaults__ or {}
    assert {name: TABLE[name].default for name in defaults if name != "sampling"} == {
        name: value for name, value in defaults.items() if name != "sampling"
    }


@pytest.mark.parametrize("name", SPELLED)
def test_a_setting_is_spelled_as_flag_variable_or_line(told, monkeypatch, name):
    words, text, held, value = SPELLED[name]
    flag = "--" + name.replace("_", "-")
    assert told(flag, *words)[name] == {"value": value, "from": flag}
    assert told(toml=toml(name, held))[name] == {"value": value, "from": "ptir.toml"}
    monkeypatch.setenv(f"PTIR_{name.upper()}", text)
    assert told()[name] == {"value": value, "from": f"PTIR_{name.upper()}"}


def test_a_flag_beats_a_variable_beats_the_file_beats_the_model(told, tmp_path, monkeypatch):
    model = tiny.write(tmp_path / "m.gptrs")
    generation = tmp_path / "generation_config.json"
    generation.write_text(json.dumps({"top_k": 1, "max_new_tokens": 11, "top_p": None}))
    lines = "top_k = 2\nmin_p = 0.5\n"

    def top_k(*flags: str, lines: str = "") -> dict[str, Any]:
        found: dict[str, Any] = told(str(model), *flags, toml=lines)["top_k"]
        return found

    assert top_k() == {"value": 1, "from": str(generation)}
    assert top_k(lines=lines) == {"value": 2, "from": "ptir.toml"}
    monkeypatch.setenv("PTIR_TOP_K", "3")
    assert top_k(lines=lines) == {"value": 3, "from": "PTIR_TOP_K"}
    assert top_k("--top-k", "4", lines=lines) == {"value": 4, "from": "--top-k"}
    every = told(str(model), toml=lines)
    assert every["max_tokens"] == {"value": 11, "from": str(generation)}
    assert every["top_p"] == {"value": 1.0, "from": "default"}
    assert every["min_p"] == {"value": 0.5, "from": "ptir.toml"}


def test_a_switch_is_turned_off_by_its_flag(told, monkeypatch):
    monkeypatch.setenv("PTIR_IGNORE_EOS", "1")
    assert told("--no-ignore-eos")["ignore_eos"] == {"value": False, "from": "--ignore-eos"}


def test_a_model_that_does_not_sample_is_greedy(told, tmp_path):
    model = tiny.write(tmp_path / "m.gptrs")
    (tmp_path / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.6}')
    assert told(str(model))["temperature"]["value"] == 0
    (tmp_path / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6}')
    assert told(str(model))["temperature"]["value"] == 0.6


def test_the_users_own_file_counts_where_the_folder_has_none(ptir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    own = tmp_path / "xdg" / "ptir" / "ptir.toml"
    own.parent.mkdir(parents=True)
    own.write_text("top_k = 9\n")
    told = json.loads(ptir("generate", "--show-config", "--json").out)
    assert told["top_k"] == {"value": 9, "from": str(own)}
    Path("ptir.toml").write_text("")
    assert json.loads(ptir("generate", "--show-config", "--json").out)["top_k"]["value"] == 0


def test_knobs_are_told_too(told, monkeypatch):
    monkeypatch.setenv("PTIR_THREADS", "2")
    found = told("--backend", "reference", toml='threads = 3\nplan_cache = 7\nbackend = "native"')
    assert found["threads"] == {"value": 2, "from": "PTIR_THREADS"}
    assert found["plan_cache"] == {"value": 7, "from": "ptir.toml"}
    assert found["backend"] == {"value": "reference", "from": "--backend"}
    assert found["mmap"] == {"value": True, "from": "default"}


def test_the_file_chooses_the_backend_of_any_command_and_leaves_nothing_behind(
    ptir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("ptir.toml").write_text('backend = "reference"\n')
    assert "\n* reference " in ptir("backends").out
    Path("ptir.toml").unlink()
    assert "* native " in ptir("backends").out


def test_the_table_has_a_row_for_each_with_its_source(ptir):
    done = ptir("generate", "--show-config", "--stop", "é\n", "--logit-bias", "3=-inf")
    rows = [row.split() for row in done.out.splitlines()]
    assert [row[0] for row in rows][: len(TABLE)] == list(TABLE)
    assert ["stop", "=", '["\\u00e9\\n"]', "--stop"] in rows
    assert ["logit_bias", "=", '{"3":', '"-inf"}', "--logit-bias"] in rows
    assert ["seed", "=", "none", "default"] in rows
    assert ["mmap", "=", "true", "default"] in rows


def test_settings_reach_the_generation(ptir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ptir.toml").write_text("max_tokens = 5\ntemperature = 0\n")
    monkeypatch.setenv("PTIR_LOGPROBS", "2")
    facts = json.loads(ptir("generate", "-p", "ROMEO:", "--json").out)
    with load_model() as model:
        sampling = Sampling(0, logprobs=2)
        done = tiny.text_model(model).generate("ROMEO:", max_tokens=5, sampling=sampling)
    assert facts["token_ids"] == done.token_ids
    assert [each["token"] for each in facts["logprobs"]] == done.token_ids
    assert [len(each["top"]) for each in facts["logprobs"]] == [2] * 5
    assert facts["logprobs"][0]["logprob"] == pytest.approx(done.logprobs[0].logprob)


def test_a_stop_text_ends_and_is_told(ptir):
    greedy = ("generate", "-p", "ROMEO:", "--json", "--temperature", 0, "--max-tokens", 8)
    whole = json.loads(ptir(*greedy).out)["text"]
    facts = json.loads(ptir(*greedy, "--stop", "%", "--stop", whole[3:5]).out)
    assert (facts["stop"], facts["finish_reason"]) == (whole[3:5], "stop")
    assert facts["text"] == whole[: whole.index(whole[3:5])]


# --- what is refused ---


@pytest.mark.parametrize(
    "line, said",
    [
        ("top_q = 1", "ptir.toml: 'top_q' is no setting; did you mean top_"),
        ("xyz = 1", "ptir.toml: 'xyz' is no setting\n"),
        ("top_k = 1.5", "ptir.toml: top_k is '1.5', wanted a whole number"),
        ("top_k = true", "ptir.toml: top_k is 'True', wanted a whole number"),
        ("top_p = 2", "ptir.toml: top_p is 2, wanted a number from 0 to 1"),
        ("seed = -1", "ptir.toml: seed is -1, wanted 0 ≤ seed < 2**64"),
        ("stop = [1]", "ptir.toml: stop is '[1]', wanted a list of texts"),
        ("stop_token_ids = [-1]", "ptir.toml: stop_token_ids is -1, wanted token ids"),
        ("logit_bias = {a = 1}", "ptir.toml: logit_bias is \"{'a': 1}\", wanted a table"),
        ("logit_bias = {1 = nan}", "ptir.toml: logit_bias[1] is nan, wanted finite numbers"),
        ("threads = 0", "ptir.toml: threads is '0', wanted a whole number from 1"),
        ("threads = 1.5", "ptir.toml: threads is '1.5', wanted a whole number from 1"),
        ("library = 'evil.so'", "ptir.toml: library names a file, which this file may not"),
        ("cache_dir = '.'", "ptir.toml: cache_dir names a file, which this file may not"),
        ("top_k = ", "ptir.toml: is not TOML: "),
        ("x = " + "[" * 5000, "ptir.toml: is not TOML: "),
    ],
    ids=lambda text: text[:24],
)
def test_a_line_of_the_file_that_cannot_be_is_3(ptir, tmp_path, monkeypatch, line, said):
    monkeypatch.chdir(tmp_path)
    Path("ptir.toml").write_text(line)
    done = ptir("generate", "-p", "x", "--max-tokens", 1)
    assert (done.code, done.out) == (3, "")
    assert said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--help",), ("generate", "--help")])
def test_help_comes_whatever_the_file_says(ptir, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    Path("ptir.toml").write_text("nonsense")
    assert ptir(*arguments).code == 0


def test_a_file_that_has_no_end_is_3(ptir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ptir.toml").write_text("#" * (1 << 20) + "\n")
    assert "bytes are no settings" in ptir("backends").err


@pytest.mark.parametrize(
    "variable, text, said",
    [
        ("TOP_K", "many", "PTIR_TOP_K='many': 'many' is not a valid integer"),
        ("TOP_P", "2", "PTIR_TOP_P: top_p is 2.0, wanted a number from 0 to 1"),
        ("TEMPRATURE", "1", "PTIR_TEMPRATURE='1' is not a setting; did you mean PTIR_TEMPERATURE?"),
        ("LOGIT_BIAS", "5", "PTIR_LOGIT_BIAS='5': '5' is no list of ID=BIAS"),
        ("STOP_TOKEN_IDS", "a", "PTIR_STOP_TOKEN_IDS='a': 'a' is no list of token ids"),
    ],
)
def test_a_variable_that_cannot_be_is_3(ptir, monkeypatch, variable, text, said):
    monkeypatch.setenv(f"PTIR_{variable}", text)
    done = ptir("generate", "-p", "x", "--max-tokens", 1)
    assert (done.code, done.out) == (3, "")
    assert said in done.err


def test_a_variable_of_something_else_is_none_of_ours(ptir, monkeypatch):
    monkeypatch.setenv("PTIR_HOMEPAGE", "x")
    assert ptir("generate", "-p", "x", "--max-tokens", 0).code == 0


@pytest.mark.parametrize(
    "flags", [("--top-p", "2"), ("--logit-bias", "1"), ("--overflow", "x"), ("--stop", "")]
)
def test_a_flag_that_cannot_be_is_2(ptir, flags):
    done = ptir("generate", "-p", "x", *flags)
    assert (done.code, done.out) == (2, "")
    assert "Usage: ptir generate" in done.err


@pytest.mark.parametrize(
    "said, why",
    [
        ('{"temperature": "hot"}', "temperature is 'hot', wanted a number"),
        ('{"top_p": 3}', "top_p is 3, wanted a number from 0 to 1"),
        ("[]", "is a JSON list; an object is wanted"),
    ],
)
def test_a_models_own_settings_that_cannot_be_are_3(ptir, tmp_path, said, why):
    model = tiny.write(tmp_path / "m.gptrs", vocab_size=768)
    with load_model() as demo:
        shutil.copy(Path(demo.path).parent / "tokenizer.json", tmp_path)
    (tmp_path / "generation_config.json").write_text(said)
    done = ptir("generate", model, "-p", "x")
    assert (done.code, done.out) == (3, "")
    assert why in done.err
    assert "generation_config.json" in done.err
