"""Tokenizers on disk: the files of a folder, what they say, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from ptir.text import Tokenizer, TokenizerError
from ptir.text.document import MAX_SETTINGS_BYTES
from tests.mutate import mutants
from tests.text.libraries import END, byte_fallback, byte_level, metaspace, word_pieces, write_gpt2


def folder(path: Path, **files: Any) -> Path:
    """A folder with a byte-level `tokenizer.json` and JSON files beside it."""
    byte_level("<s>", "</s>", "<pad>", "<|im_end|>").save(str(path / "tokenizer.json"))
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def spelled(tokenizer: Tokenizer, *ids: int | None) -> list[str | None]:
    return [None if id is None else tokenizer.token(id) for id in ids]


def test_a_file_gives_the_ids_that_the_library_gives(tmp_path):
    library = byte_level()
    library.enable_truncation(4)
    library.enable_padding(length=100)
    library.save(str(tmp_path / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    text = "the naïve theatre 東京 over there"
    for path in (tmp_path / "tokenizer.json", tmp_path, str(tmp_path)):
        tokenizer = Tokenizer.load(path)
        assert tokenizer.encode(text) == library.encode(text).ids
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.vocab_size == library.get_vocab_size()


@pytest.mark.parametrize("name", ["", "tokenizer.json"])
def test_the_files_beside_it_name_the_special_tokens(tmp_path, name):
    config = {
        "bos_token": "<s>",
        "eos_token": {"content": "</s>", "lstrip": False, "normalized": False},
        "pad_token": "<pad>",
        "unk_token": None,
        "add_bos_token": True,
        "chat_template": "{{ messages }}",
    }
    generation = {"eos_token_id": [3, 7], "bos_token_id": 1, "pad_token_id": 0}
    folder(tmp_path, tokenizer_config=config, generation_config=generation)
    tokenizer = Tokenizer.load(tmp_path / name)
    assert spelled(tokenizer, tokenizer.bos_id, tokenizer.pad_id) == ["<s>", "<pad>"]
    end = tokenizer.encode("</s>", special=True)
    assert tokenizer.eos_ids == (3, 7, *end)  # what generation is told comes first
    assert tokenizer.add_bos
    assert tokenizer.special_tokens == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    assert tokenizer.chat_templates == {"default": "{{ messages }}"}


def test_the_map_of_special_tokens_says_what_the_config_leaves_open(tmp_path):
    special = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": "<pad>"}
    config = {"eos_token": "<|im_end|>", "pad_token": None}
    tokenizer = Tokenizer.load(
        folder(tmp_path, tokenizer_config=config, special_tokens_map=special)
    )
    assert tokenizer.special_tokens == {"bos_token": "<s>", "eos_token": "<|im_end|>"}
    assert spelled(tokenizer, *tokenizer.eos_ids) == ["<|im_end|>"]
    assert not tokenizer.add_bos
    assert tokenizer.pad_id is None


def test_generation_alone_may_name_ids(tmp_path):
    generation = {"eos_token_id": 9, "bos_token_id": 5, "pad_token_id": None}
    tokenizer = Tokenizer.load(folder(tmp_path, generation_config=generation))
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.pad_id) == (5, (9,), None)


def test_what_the_caller_names_ends_a_text_whatever_the_files_say(tmp_path):
    folder(tmp_path, tokenizer_config={"eos_token": "</s>"}, generation_config={"eos_token_id": 9})
    tokenizer = Tokenizer.load(tmp_path, eos=END)
    assert spelled(tokenizer, *tokenizer.eos_ids) == [END]


def test_tokens_that_the_settings_call_special_are_not_made_of_text(tmp_path):
    library = byte_level()
    library.add_tokens([AddedToken(text, special=False) for text in ("<end>", "<tool>", "<x>")])
    library.save(str(tmp_path / "tokenizer.json"))
    config = {"eos_token": "<end>", "additional_special_tokens": ["<tool>", "<absent>"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.load(tmp_path)
    named = [tokenizer.encode(text, special=True) for text in ("<end>", "<tool>", "<x>")]
    assert [len(ids) for ids in named] == [1, 1, 1]
    assert [tokenizer.is_special(ids[0]) for ids in named] == [True, True, False]
    assert len(tokenizer.encode("<end><tool>")) > 2


def test_how_a_token_meets_spaces_stays_as_its_own_file_says(tmp_path):
    library = byte_level()
    library.add_tokens([AddedToken("<a>", lstrip=True, special=False)])
    library.add_special_tokens([AddedToken("<b>", lstrip=True)])
    library.save(str(tmp_path / "tokenizer.json"))
    config = {"bos_token": "<a>", "eos_token": "<b>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.load(tmp_path)
    for text in ("the  <a>", "the  <b>"):
        assert tokenizer.encode(text, special=True)[:-1] == tokenizer.encode("the")


def test_templates_come_from_the_config_by_name_or_from_their_own_file(tmp_path):
    listed = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    folder(tmp_path, tokenizer_config={"chat_template": listed})
    assert Tokenizer.load(tmp_path).chat_templates == {"default": "a", "tool_use": "b"}
    (tmp_path / "chat_template.jinja").write_text("ç", encoding="utf-8")
    assert Tokenizer.load(tmp_path).chat_templates == {"default": "ç", "tool_use": "b"}


def test_a_folder_tells_whether_it_has_a_tokenizer(tmp_path):
    assert not Tokenizer.lies_in(tmp_path)
    (tmp_path / "vocab.json").touch()
    assert not Tokenizer.lies_in(tmp_path)
    (tmp_path / "merges.txt").touch()
    assert Tokenizer.lies_in(tmp_path)


# What is refused.


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model": {"type": "BPE"}}',
        b"\x80\x04.",
        # Makes the library panic, which is no Exception.
        b'{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}',
    ],
    ids=lambda v: repr(v[-8:]),
)
def test_a_bad_file_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json'"):
        Tokenizer.load(path)


def test_every_prefix_of_a_file_is_refused(tmp_path):
    text = byte_level().to_str()
    path = tmp_path / "tokenizer.json"
    for length in range(0, len(text), 97):
        path.write_text(text[:length], encoding="utf-8")
        with pytest.raises(TokenizerError, match=r"tokenizer\.json'"):
            Tokenizer.load(path)


@pytest.mark.parametrize("make", [byte_fallback, metaspace, word_pieces, byte_level])
def test_a_damaged_file_is_refused_or_works(tmp_path, make):
    path = tmp_path / "tokenizer.json"
    refused = 0
    for content in mutants(make().to_str().encode(), [], seed=5, count=150):
        path.write_bytes(content)
        try:
            tokenizer = Tokenizer.load(path)
            tokenizer.decode(tokenizer.encode("the théâtre\n", special=True))
        except TokenizerError:
            refused += 1
    assert 0 < refused < 150


def test_damaged_settings_are_refused_or_read(tmp_path):
    config = {
        "bos_token": {"content": "<s>", "lstrip": True},
        "eos_token": "</s>",
        "add_bos_token": False,
        "chat_template": [{"name": "default", "template": "{{ x }}"}],
        "additional_special_tokens": ["<pad>"],
    }
    folder(tmp_path)
    sample, path = json.dumps(config).encode(), tmp_path / "tokenizer_config.json"
    refused = 0
    for content in mutants(sample, [], seed=6, count=300):
        path.write_bytes(content)
        try:
            Tokenizer.load(tmp_path)
        except TokenizerError:
            refused += 1
    assert 0 < refused < 300


@pytest.mark.parametrize(
    "file, content, fact",
    [
        ("tokenizer_config", [], "is a JSON list; an object is wanted"),
        ("tokenizer_config", {"bos_token": 3}, "bos_token is 3, wanted a token"),
        ("tokenizer_config", {"bos_token": {"content": ""}}, "wanted a token"),
        ("tokenizer_config", {"bos_token": "\ud800"}, "tokenizer_config.json.*bos_token"),
        ("tokenizer_config", {"bos_token": "<absent>"}, "'<absent>', which the vocabulary lacks"),
        ("tokenizer_config", {"add_bos_token": "yes"}, "add_bos_token is 'yes', wanted a boolean"),
        ("tokenizer_config", {"chat_template": 1}, "chat_template is 1, wanted a string"),
        ("tokenizer_config", {"chat_template": [{"name": "a"}]}, "with a name and a template"),
        ("tokenizer_config", {"additional_special_tokens": "x"}, "wanted a list of tokens"),
        ("tokenizer_config", {"added_tokens_decoder": {"x": "y"}}, "an object of tokens by id"),
        ("tokenizer_config", {"x": float("nan")}, "NaN is not a JSON number"),
        ("added_tokens", {"x": -1}, "tokens with ids from 0"),
        ("generation_config", {"eos_token_id": "2"}, "eos_token_id is '2', wanted an id"),
        ("generation_config", {"eos_token_id": [2, -1]}, "wanted an id or a list of ids"),
        ("generation_config", {"eos_token_id": True}, "wanted an id or a list of ids"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path, file, content, fact):
    with pytest.raises(TokenizerError, match=fact):
        Tokenizer.load(folder(tmp_path, **{file: content}))


@pytest.mark.parametrize(
    "raw, fact",
    [
        (b'{"a": 1, "a": 2}', "the key 'a' appears twice"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a": ' * 200_000, "nested too deep"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "is not valid JSON"),
        (b"\xff", "cannot be read"),
        (b"{", "is not valid JSON"),
    ],
    ids=lambda v: repr(v[:8]),
)
def test_settings_that_are_no_json_object_are_named(tmp_path, raw, fact):
    (folder(tmp_path) / "tokenizer_config.json").write_bytes(raw)
    with pytest.raises(TokenizerError, match=f"tokenizer_config.json.*{fact}"):
        Tokenizer.load(tmp_path)


def test_settings_that_are_too_large_are_not_read(tmp_path):
    path = folder(tmp_path) / "generation_config.json"
    path.touch()
    os.truncate(path, 1 << 40)  # sparse
    with pytest.raises(TokenizerError, match=f"at most {MAX_SETTINGS_BYTES} are read"):
        Tokenizer.load(tmp_path)


def test_what_is_not_a_file_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, fact in [
        ("fifo", "not a regular file"),
        ("absent", "No such file"),
        ("", "the folder has no tokenizer.json, or vocab.json and merges.txt"),
    ]:
        with pytest.raises(TokenizerError, match=fact) as caught:
            Tokenizer.load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    os.mkfifo(folder(tmp_path) / "special_tokens_map.json")
    with pytest.raises(TokenizerError, match=r"special_tokens_map\.json': is not a regular file"):
        Tokenizer.load(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.touch()
    os.truncate(path, 1 << 40)  # sparse
    with pytest.raises(TokenizerError, match="at most 268435456 are read"):
        Tokenizer.load(path)


def test_a_pair_of_gpt2_files_is_not_mistaken_for_another_kind(tmp_path):
    write_gpt2(tmp_path, byte_level())
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    with pytest.raises(TokenizerError, match=r"'CLIPTokenizer'; only GPT-2's are read.*convert"):
        Tokenizer.load(tmp_path)
