"""`ptir generate`: every option, where things are printed, and what is refused."""

import json
from typing import Any

import pytest

from ptir import Program, Sampling, engine, ir, load_model
from tests.runtime import tiny

GREEDY = ("--temperature", "0")
SHORT = ("--max-tokens", "6", *GREEDY)


@pytest.fixture(scope="module")
def expected() -> str:
    with load_model() as model:
        lm = tiny.text_model(model)
        return lm.generate("ROMEO:", max_tokens=6, sampling=Sampling(0)).text


def test_text_goes_to_stdout_and_figures_to_stderr(ptir, expected):
    done = ptir("generate", "--prompt", "ROMEO:", *SHORT)
    assert (done.code, done.out) == (0, expected + "\n")
    assert "4 tokens in" in done.err
    assert "6 out" in done.err
    assert "ended by length" in done.err
    assert done.err.count("\n") == 1


def test_echo_prints_the_prompt_first(ptir, expected):
    assert ptir("generate", "-p", "ROMEO:", "--echo", *SHORT).out == "ROMEO:" + expected + "\n"


def test_json_is_one_object_with_the_stated_fields(ptir, expected):
    done = ptir("generate", "-p", "ROMEO:", "--json", "--echo", *SHORT)
    facts: dict[str, Any] = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert set(facts) == {
        *("model", "kind", "backend", "text", "token_ids", "finish_reason", "usage", "seed"),
        "timings",
    }
    assert (facts["kind"], facts["text"], facts["finish_reason"]) == ("gpt", expected, "length")
    assert facts["usage"] == {"prompt_tokens": 4, "completion_tokens": 6}
    assert len(facts["token_ids"]) == 6
    assert facts["timings"].keys() == {"prefill_s", "decode_s"}
    assert all(seconds > 0 for seconds in facts["timings"].values())


def test_greedy_token_ids_are_the_same_each_time_and_op_by_op(ptir, monkeypatch):
    def token_ids(count: int) -> list[int]:
        arguments = ("--prompt", "ROMEO:", "--max-tokens", count, *GREEDY, "--json")
        ids: list[int] = json.loads(ptir("generate", *arguments).out)["token_ids"]
        return ids

    first = token_ids(64)
    assert len(first) == 64
    assert token_ids(64) == first
    monkeypatch.setenv("PTIR_EAGER", "1")
    assert token_ids(8) == first[:8]


def test_the_seed_that_is_told_repeats_a_generation(ptir):
    def facts(*more: object) -> dict[str, Any]:
        arguments = ("-p", "ROMEO:", "--max-tokens", 8, "--temperature", 1.5, "--json")
        found: dict[str, Any] = json.loads(ptir("generate", *arguments, *more).out)
        return found

    first = facts()
    assert facts("--seed", first["seed"])["token_ids"] == first["token_ids"]
    assert facts("--seed", first["seed"] + 1)["token_ids"] != first["token_ids"]


def test_one_token_is_told_in_the_singular(ptir):
    assert ptir("generate", "-p", "x", "--max-tokens", 0).err.startswith("[1 token in; ")


def test_max_tokens_0_generates_nothing(ptir):
    facts = json.loads(ptir("generate", "-p", "x", "--max-tokens", 0, "--json").out)
    assert (facts["text"], facts["token_ids"]) == ("", [])


# --- where the prompt comes from ---


@pytest.mark.parametrize("dash", [(), ("-f", "-"), ("--file", "-")])
def test_a_prompt_is_read_from_stdin(ptir, expected, dash):
    assert ptir("generate", *dash, *SHORT, stdin=b"ROMEO:").out == expected + "\n"


def test_a_prompt_is_read_from_a_file(ptir, expected, tmp_path):
    (tmp_path / "prompt").write_text("ROMEO:")
    assert ptir("generate", "-f", tmp_path / "prompt", *SHORT).out == expected + "\n"


def test_not_a_byte_of_a_prompt_is_lost(ptir):
    text = "naïve\r\n漢 \n"
    piped = ptir("generate", "--echo", "--max-tokens", 0, stdin=text.encode())
    assert piped.out == text + "\n"


def test_prompt_and_file_together_are_refused(ptir, tmp_path):
    done = ptir("generate", "-p", "x", "-f", tmp_path / "prompt")
    assert (done.code, done.out) == (2, "")
    assert "--prompt or --file, not both" in done.err


def test_a_terminal_without_a_prompt_is_refused(ptir):
    done = ptir("generate")
    assert (done.code, done.out) == (2, "")
    assert "give --prompt TEXT, --file FILE, or pipe one in" in done.err


@pytest.mark.parametrize("arguments, stdin", [(("-p", ""), None), ((), b"")])
def test_an_empty_prompt_is_refused(ptir, arguments, stdin):
    done = ptir("generate", *arguments, stdin=stdin)
    assert done.code == 2
    assert "the prompt is empty" in done.err


def test_bytes_that_are_not_utf_8_are_refused_by_place(ptir, tmp_path):
    done = ptir("generate", stdin=b"abc\xff")
    assert (done.code, done.out) == (3, "")
    assert done.err == "ptir: stdin: is not UTF-8 text: invalid start byte at byte 3\n"
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    done = ptir("generate", "-f", tmp_path / "latin")
    assert (done.code, done.err.partition(": is not")[0]) == (3, f"ptir: {tmp_path}/latin")


def test_an_endless_prompt_is_refused(ptir):
    done = ptir("generate", "-f", "/dev/zero")
    assert done.code == 3
    assert "bytes are no prompt" in done.err


def test_a_prompt_beyond_the_context_is_refused(ptir):
    done = ptir("generate", "-p", "so " * 1000)
    assert (done.code, done.out) == (3, "")
    assert "do not fit the model's context of 256; shorten the prompt" in done.err


# --- which model, on what ---


def test_a_model_and_its_tokenizer_are_named(ptir, tmp_path):
    path = tiny.write(tmp_path / "m.gptrs", vocab_size=768)
    with load_model() as demo:
        tokenizer = demo.path.replace("demo.gptrs", "tokenizer.json")
    done = ptir("generate", path, "-p", "so", "--json", *SHORT, "--tokenizer", tokenizer)
    assert json.loads(done.out)["model"] == str(path)
    bare = ptir("generate", path, "-p", "so")
    assert bare.code == 3
    assert "m.gptrs: no tokenizer.json lies beside it; name one with --tokenizer" in bare.err


def test_the_backend_is_named(ptir):
    done = ptir("generate", "-p", "x", "--json", *SHORT, "--backend", "reference")
    assert json.loads(done.out)["backend"] == "reference"
    wrong = ptir("generate", "-p", "x", "--backend", "referense")
    assert (wrong.code, wrong.out) == (3, "")
    assert "did you mean 'reference'?" in wrong.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("no/such/model",),
        (__file__,),
        ("--tokenizer", "no/such/file"),
        ("--dump-dir", f"{__file__}/x"),
        ("-f", "no/such/file"),
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_used_is_3_with_its_name_and_no_traceback(ptir, arguments):
    prompt = () if "-f" in arguments else ("-p", "x")
    done = ptir("generate", *prompt, *arguments)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("ptir: ")
    assert arguments[-1] in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-tokens", "-1"),
        ("--max-tokens", "many"),
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--temperature", "inf"),
        ("--seed", "-1"),
        ("--seed", str(1 << 64)),
        ("--dump-mode", "some"),
        ("--nothing",),
        ("one", "two"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_2(ptir, arguments):
    done = ptir("generate", "-p", "x", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage: ptir generate" in done.err


def test_a_malformed_knob_is_3(ptir, monkeypatch):
    monkeypatch.setenv("PTIR_EAGER", "maybe")
    done = ptir("generate", "-p", "x", *SHORT)
    assert (done.code, done.out) == (3, "")
    assert "PTIR_EAGER='maybe' is not 1, true, on" in done.err


def test_what_stands_in_a_file_cannot_steer_the_terminal(ptir, tmp_path):
    path = tiny.write(tmp_path / "a\x1b[2J.gptrs", context_length=1, vocab_size=768)
    done = ptir("generate", path, "-p", "x")
    assert done.code == 3
    assert done.err.strip().isprintable()


# --- dumps ---


@pytest.mark.parametrize("mode, arguments", [("compile", ()), ("all", ("--dump-mode", "all"))])
def test_dumps_are_programs_and_facts(ptir, tmp_path, mode, arguments):
    path = tiny.write(tmp_path / "m.gptrs", vocab_size=768)
    with load_model() as demo:
        tokenizer = demo.path.replace("demo.gptrs", "tokenizer.json")
    folder = tmp_path / "dump"
    engine.PLANS.clear()  # what an earlier test compiled would not be compiled again
    options = ("--tokenizer", tokenizer, "--dump-dir", folder, *arguments)
    assert ptir("generate", path, "-p", "so", "--max-tokens", 5, *options).code == 0
    programs, facts = sorted(folder.glob("*.ptir")), sorted(folder.glob("*.json"))
    assert [p.stem for p in programs] == [f.stem for f in facts]
    assert {p.suffix for p in folder.iterdir()} == {".ptir", ".json"}
    for one in programs:
        assert isinstance(ir.parse_program(one.read_text()).verify(), Program)
    told = [json.loads(f.read_text()) for f in facts]
    ran = [t["run_ms"] is not None for t in told]
    if mode == "compile":
        assert not any(ran)
        assert {t["cache"] for t in told} == {"miss"}
    else:
        assert all(ran)
        assert len(told) >= 5  # one for each token
    assert {t["backend"] for t in told} == {"native"}
