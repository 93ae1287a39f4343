"""`ptir export`, and the other commands on what it reads and writes."""

import io
import json
from typing import Any

import pytest
from transformers import GPT2Config, GPT2LMHeadModel


@pytest.fixture
def source(tmp_path, capsys):
    folder = tmp_path / "source"
    shape: dict[str, Any] = {"vocab_size": 300, "n_positions": 16, "n_embd": 8, "n_head": 2}
    config = GPT2Config(**shape, n_layer=1, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    letters = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyzĠ")}
    (folder / "vocab.json").write_text(json.dumps(letters))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    capsys.readouterr()  # a bar of the library that writes it
    return folder


def test_export_writes_a_model_that_the_other_commands_take(ptir, source, tmp_path):
    out = tmp_path / "out.gptrs"
    done = ptir("export", "gpt2", "--from", source, "--out", out)
    assert (done.code, done.err) == (0, "")
    first, beside, differ = done.out.splitlines()
    assert first.startswith(f"{out}: gpt, 17 tensors, 0.0")
    assert beside == "beside it: vocab.json, merges.txt, generation_config.json"
    assert differ.startswith("logits differ from the source's by ")
    options = ("-p", "abc", "--max-tokens", 4, "--temperature", 0, "--json")
    texts = [json.loads(ptir("generate", m, *options).out)["token_ids"] for m in (out, source)]
    assert texts[0] == texts[1] != []
    assert "17 parameters" in ptir("show", out).out
    assert "16 parameters" in ptir("show", source).out  # the head is tied


def test_export_json_has_the_same_facts(ptir, source, tmp_path):
    out = tmp_path / "out.gptrs"
    done = ptir("export", "gpt2", "--from", source, "--out", out, "--dtype", "bf16", "--json")
    facts = json.loads(done.out)
    assert 0 < facts.pop("difference") < 0.1
    assert facts == {
        "path": str(out),
        "kind": "gpt",
        "nbytes": out.stat().st_size,
        "tensors": 17,
        "beside": ["vocab.json", "merges.txt", "generation_config.json"],
    }


def test_a_file_is_replaced_only_by_force(ptir, source, tmp_path):
    out = tmp_path / "out.gptrs"
    out.write_text("precious")
    given = ("export", "gpt2", "--from", source, "--out", out)
    done = ptir(*given)
    assert (done.code, done.out) == (3, "")
    assert "is there already; pass force (--force) to replace it" in done.err
    assert out.read_text() == "precious"
    assert ptir(*given, "--force").code == 0
    assert ptir("show", out).code == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "gpt3"}, "no model reads Hugging Face's model_type 'gpt3'; have gpt2"),
        ({"--dtype": "f64"}, "'f64' is not one of 'f32', 'bf16', 'f16'"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(ptir, tmp_path, change, message):
    options = [word for pair in change.items() if pair[0].startswith("--") for word in pair]
    model_type = change.get("model_type", "gpt2")
    done = ptir("export", model_type, "--from", tmp_path, "--out", tmp_path / "o.gptrs", *options)
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())


def test_a_source_that_is_none_is_3(ptir, tmp_path):
    done = ptir("export", "gpt2", "--from", tmp_path, "--out", tmp_path / "o.gptrs")
    assert (done.code, done.out) == (3, "")
    assert "config.json with model.safetensors" in done.err


def test_a_terminal_sees_how_far_it_is(ptir, source, tmp_path, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", terminal)
    assert ptir("export", "gpt2", "--from", source, "--out", tmp_path / "o.gptrs").code == 0
    assert "17/17" in terminal.getvalue()
