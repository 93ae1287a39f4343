"""`ptir score`: how well a model predicts a text."""

import json
import shutil
from math import exp, log

import pytest

from ptir import load_model
from ptir.runtime import score_text
from tests.runtime import tiny

TEXT = "ROMEO:\nIs the day so young? é\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "text"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def expected() -> list[float]:
    with load_model() as model:
        assert model.tokenizer is not None
        choices = score_text(tiny.text_model(model), model.tokenizer.encode(TEXT))
        return [choice.logprob or 0.0 for choice in choices]


def test_perplexity_is_told_of_tokens_and_bytes(ptir, file, expected):
    facts = json.loads(ptir("score", file, "--json").out)
    nats = -sum(expected)
    assert facts["tokens"] == len(expected)
    assert facts["nats"] == pytest.approx(nats, rel=1e-5)
    assert facts["perplexity"] == pytest.approx(exp(nats / len(expected)), rel=1e-5)
    assert facts["bytes"] == len(TEXT.encode()) - len("R")
    assert facts["bits_per_byte"] == pytest.approx(nats / log(2) / facts["bytes"], rel=1e-5)
    line = ptir("score", file).out
    assert line.startswith(f"perplexity {facts['perplexity']:.4f}: {facts['nats_per_token']:.4f} ")
    assert f"{facts['bits_per_byte']:.4f} bits per byte; {len(expected)} tokens, " in line


def test_each_token_is_shown_if_asked(ptir, file, expected):
    rows = ptir("score", file, "--per-token").out.splitlines()[:-1]
    assert [float(row.split()[1]) for row in rows] == pytest.approx(expected, abs=1e-3)
    facts = json.loads(ptir("score", file, "--per-token", "--json").out)
    assert [t["logprob"] for t in facts["per_token"]] == pytest.approx(expected, abs=1e-3)
    assert [json.loads(row.split(None, 2)[2]) for row in rows] == [
        t["text"] for t in facts["per_token"]
    ]
    assert "".join(t["text"] for t in facts["per_token"]).startswith("OMEO:\nIs")


def test_windows_are_as_asked(ptir, file):
    with load_model() as model:
        assert model.tokenizer is not None
        ids = model.tokenizer.encode(TEXT)
        choices = [*score_text(tiny.text_model(model), ids, context=5, stride=2)]
    facts = json.loads(ptir("score", file, "--json", "--context", 5, "--stride", 2).out)
    assert facts["nats"] == pytest.approx(-sum(c.logprob or 0.0 for c in choices), rel=1e-4)
    assert facts["nats"] != pytest.approx(json.loads(ptir("score", file, "--json").out)["nats"])


def test_the_first_token_counts_behind_one_of_the_model(ptir, tmp_path, file):
    with load_model() as demo:
        shutil.copy(demo.path.replace("demo.gptrs", "tokenizer.json"), tmp_path)
    settings = {"bos_token": "<|endoftext|>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    plain = json.loads(ptir("score", file, "--json").out)
    begun = json.loads(ptir("score", file, "--json", "--tokenizer", tmp_path).out)
    assert begun["tokens"] == plain["tokens"] + 1
    assert begun["bytes"] == len(TEXT.encode())


def test_a_model_is_named_before_the_file_and_text_may_be_piped(ptir, tmp_path, file):
    path = tiny.write(tmp_path / "m.gptrs", vocab_size=768)
    with load_model() as demo:
        tokenizer = demo.path.replace("demo.gptrs", "tokenizer.json")
    done = ptir("score", path, file, "--json", "--tokenizer", tokenizer)
    assert json.loads(done.out)["model"] == str(path)
    assert ptir("score", "-", stdin=TEXT.encode()).out == ptir("score", file).out


@pytest.mark.parametrize(
    "arguments", [(), ("a", "b", "c"), ("a", "--context", "1"), ("a", "--stride", "0")]
)
def test_a_wrong_option_is_2(ptir, arguments):
    done = ptir("score", *arguments)
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize(
    "text, flags, why",
    [
        ("", (), "has nothing that could be predicted"),
        ("x", (), "has nothing that could be predicted"),
        (TEXT, ("--context", 257), "wanted 2 to the model's context of 256"),
        (TEXT, ("--context", 4, "--stride", 4), "a stride of 4 tokens, wanted 1 to 3"),
        (b"\xff", (), "is not UTF-8 text"),
    ],
)
def test_what_cannot_be_scored_is_3(ptir, tmp_path, text, flags, why):
    (tmp_path / "text").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = ptir("score", tmp_path / "text", *flags)
    assert (done.code, done.out) == (3, "")
    assert why in done.err


def test_a_text_that_is_not_there_is_3(ptir, tmp_path):
    done = ptir("score", tmp_path / "none")
    assert (done.code, done.err) == (3, f"ptir: {tmp_path}/none: No such file or directory\n")
