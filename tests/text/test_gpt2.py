"""GPT-2's two files, against the library's own readers and the algorithm in plain Python."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import regex  # type: ignore[import-untyped] # it has no types
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from ptir.text import Tokenizer, TokenizerError
from tests.text.libraries import END, byte_level, byte_spellings, write_gpt2

ADVERSARIAL = [
    "",
    " ",
    "\0\0 \x01\x1b[31m\x7f\x80\x9f",
    "line\r\nline\rline\n\n\n  \t\r\n ",
    "👨‍👩‍👧‍👦🏳️‍🌈👍🏽🇩🇪 🙂",
    "e\u0301\u0327 a\u030a\u0300\u0301 Z̷̢̛a̸l̵g̶o",
    "שָׁלוֹם عليكم \u202eright to left\u202c \u200f\u200e",
    "\u200b\u200d\ufeff\u2028\u2029\u0085\u00a0\u3000x",
    "\ufffd\ufffe\uffff\U0010ffff\ue000",
    "don't we'll I'VE 'S 'ſ can’t they'd've",
    "1234567890 ½ ٣ ४ Ⅳ ²",
    "a" * 5000,
    " " * 5000 + "x",
    "\n" * 3000,
    "東京" * 1000,
    "🙂" * 1000,
    "-=" * 2000,
    END,
    f"a{END}b <|endoftext| |>",
    "#version: 0.2\n# #",
]
# GPT-2's published pattern.
PATTERN = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("gpt2")
    write_gpt2(path, byte_level(size=700))
    return path


@cache
def loaded(path: Path) -> Tokenizer:
    return Tokenizer.load(path)


@cache
def plain_python(path: Path) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    lines = (path / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    pairs = [line.split(" ") for line in lines if line]
    vocab = json.loads((path / "vocab.json").read_text(encoding="utf-8"))
    return vocab, {(a, b): rank for rank, (a, b) in enumerate(pairs)}


def encoded_in_plain_python(path: Path, text: str) -> list[int]:
    vocab, ranks = plain_python(path)
    spelling = byte_spellings()
    ids = []
    for word in PATTERN.findall(text):
        parts = [spelling[byte] for byte in word.encode()]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            merged, i = [], 0
            while i < len(parts):
                joins = i + 1 < len(parts) and (parts[i], parts[i + 1]) == best
                merged.append("".join(parts[i : i + 1 + joins]))
                i += 1 + joins
            parts = merged
        ids += [vocab[part] for part in parts]
    return ids


@pytest.mark.parametrize("text", ADVERSARIAL, ids=lambda text: ascii(text[:16]))
def test_ids_are_those_of_the_librarys_own_readers(files, text):
    ours = loaded(files)
    own = tokenizers.ByteLevelBPETokenizer(str(files / "vocab.json"), str(files / "merges.txt"))
    theirs = transformers.GPT2Tokenizer.from_pretrained(str(files))
    assert ours.encode(text, special=True) == theirs(text)["input_ids"]
    assert ours.encode(text) == own.encode(text).ids
    assert ours.decode(ours.encode(text)) == text
    assert ours.decode(ours.encode(text)) == own.decode(own.encode(text).ids)


@settings(max_examples=500)
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(ADVERSARIAL[:11])).map("".join))
def test_ids_are_those_of_the_published_algorithm(files, text):
    ours = loaded(files)
    assert ours.encode(text) == encoded_in_plain_python(files, text)
    assert ours.decode(ours.encode(text)) == text


def test_the_end_of_text_is_special_and_the_only_one(files):
    tokenizer = loaded(files)
    assert tokenizer.encode(END, special=True) == [tokenizer.eos_id] == [0]
    assert (tokenizer.bos_id, tokenizer.add_bos) == (None, False)
    assert tokenizer.eos_id not in tokenizer.encode(END)
    with pytest.raises(TokenizerError, match="cannot be encoded"):
        tokenizer.encode("a\udfff")


def test_settings_beside_them_count(tmp_path):
    write_gpt2(tmp_path, byte_level(size=400))
    size = Tokenizer.load(tmp_path).vocab_size
    named = {f"{name}_token": END for name in ("bos", "eos", "unk")}
    added = {str(size): {"content": "<|im_end|>", "special": True}}
    config = {**named, "add_bos_token": True, "add_prefix_space": True, "model_max_length": 1e30}
    config |= {"added_tokens_decoder": added, "tokenizer_class": "GPT2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<x>": size + 1}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, size]}))
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.bos_id, tokenizer.add_bos, tokenizer.eos_ids) == (0, True, (0, size))
    assert tokenizer.encode("<|im_end|><x>", special=True) == [size, size + 1]
    assert tokenizer.is_special(size)
    assert not tokenizer.is_special(size + 1)
    assert tokenizer.encode("the") == Tokenizer(byte_level(size=400)).encode(" the")


def test_windows_line_ends_do_not_matter(files, tmp_path):
    vocab, merges = ((files / name).read_bytes() for name in ("vocab.json", "merges.txt"))
    (tmp_path / "vocab.json").write_bytes(vocab)
    (tmp_path / "merges.txt").write_bytes(merges.replace(b"\n", b"\r\n"))
    text = "the theatre, then there"
    assert Tokenizer.load(tmp_path).encode(text) == loaded(files).encode(text)


@pytest.mark.parametrize(
    "vocab, merges, fact",
    [
        ({"a": 0, "b": 1}, "a b", "merges.txt': line 1 needs 'ab', which vocab.json lacks"),
        ({"a": 0}, "#version: 0.2\na x", "line 2 needs 'x'"),
        ({"a": 0}, "a a a", "line 1 is 'a a a', wanted two tokens"),
        ({"a": 0}, "a", "line 1 is 'a', wanted two tokens"),
        ({"a": 0}, " a", "line 1 is ' a', wanted two tokens"),
        ({"a": -1}, "", "'a' has the id -1, wanted one from 0"),
        ({"a": "0"}, "", "'a' has the id '0', wanted one from 0"),
        ({"a": 1 << 32}, "", "wanted one from 0 to 4294967295"),
        ({"a": 0, "b": 0}, "", "two tokens have the same id"),
        ([], "", "is a JSON list"),
    ],
)
def test_files_that_do_not_fit_together_are_named(tmp_path, vocab, merges, fact):
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(TokenizerError, match=fact):
        Tokenizer.load(tmp_path)


def test_an_id_that_another_token_has_is_refused(tmp_path):
    write_gpt2(tmp_path, byte_level())
    (tmp_path / "added_tokens.json").write_text('{"<x>": 5}')
    with pytest.raises(TokenizerError, match=r"'<x>' has the id \d+, but .* says 5"):
        Tokenizer.load(tmp_path)
