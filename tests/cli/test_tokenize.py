"""`ptir tokenize`: ids and pieces of a text, and the text of ids."""

import json
from pathlib import Path

import pytest
import tokenizers

from ptir import runtime
from ptir.text import Tokenizer
from tests.runtime import tiny

DEMO = Path(runtime.__file__).parent.parent / "demo"
TEXT = "ROMEO: é\n"


@pytest.fixture
def begun(tmp_path):
    """A folder whose tokenizer begins texts with `<s>`."""
    library = tokenizers.Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    library.add_special_tokens([tokenizers.AddedToken("<s>", special=True)])
    library.save(str(tmp_path / "tokenizer.json"))
    settings = {"bos_token": "<s>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


def test_a_line_for_each_token_has_its_id_and_text(ptir):
    done = ptir("tokenize", "-p", TEXT)
    rows = [row.split(None, 1) for row in done.out.splitlines()]
    assert [int(id) for id, _ in rows] == Tokenizer.load(DEMO).encode(TEXT)
    assert "".join(json.loads(text) for _, text in rows).startswith("ROMEO: ")
    assert rows[-1][1] == r'"\n"'


def test_json_has_ids_and_pieces_and_decode_reads_them_back(ptir):
    facts = json.loads(ptir("tokenize", "-p", TEXT, "--json").out)
    assert facts["ids"] == Tokenizer.load(DEMO).encode(TEXT)
    assert len(facts["pieces"]) == len(facts["ids"])
    listed = ",".join(map(str, facts["ids"]))
    assert ptir("tokenize", "--decode", listed).out == TEXT + "\n"
    assert json.loads(ptir("tokenize", "--decode", listed, "--json").out)["text"] == TEXT


def test_the_text_is_read_from_a_file_or_stdin_and_may_be_empty(ptir, tmp_path):
    wanted = ptir("tokenize", "-p", TEXT).out
    (tmp_path / "text").write_text(TEXT)
    assert ptir("tokenize", "-f", tmp_path / "text").out == wanted
    assert ptir("tokenize", stdin=TEXT.encode()).out == wanted
    assert ptir("tokenize", "-p", "") == (0, "", "")


def test_a_tokenizer_is_named_by_model_folder_or_file(ptir, begun):
    model = tiny.write(begun / "m.gptrs")
    for path in (model, begun, begun / "tokenizer.json"):
        assert json.loads(ptir("tokenize", path, "-p", "<s>", "--special", "--json").out)[
            "ids"
        ] == [Tokenizer.load(begun).bos_id]


def test_special_tokens_are_made_only_if_asked(ptir, begun):
    plain = json.loads(ptir("tokenize", begun, "-p", "a<s>", "--json").out)
    assert "".join(plain["pieces"]) == "a<s>"
    assert len(plain["ids"]) > 2
    special = json.loads(ptir("tokenize", begun, "-p", "a<s>", "--special", "--json").out)
    assert special["pieces"] == ["<s>", "a", "<s>"]
    assert special["ids"][0] == special["ids"][2] == Tokenizer.load(begun).bos_id
    listed = ",".join(map(str, special["ids"]))
    assert ptir("tokenize", begun, "--decode", listed).out == "a\n"
    assert ptir("tokenize", begun, "--decode", listed, "--special").out == "<s>a<s>\n"


def test_what_a_text_holds_steers_no_terminal(ptir):
    out = ptir("tokenize", "-p", "\x1b[2J\x9b\u202e").out
    assert all(c.isprintable() for c in out.replace("\n", ""))
    assert r"\u001b" in out


@pytest.mark.parametrize("flags", [("-p", "x", "--decode", "1"), ("--decode", "1,x"), ("a", "b")])
def test_a_wrong_option_is_2(ptir, flags):
    assert ptir("tokenize", *flags)[:2] == (2, "")


def test_a_tokenizer_that_is_not_there_is_3(ptir, tmp_path):
    done = ptir("tokenize", tmp_path / "m.gptrs", "-p", "x")
    assert (done.code, done.out) == (3, "")
    assert str(tmp_path) in done.err
