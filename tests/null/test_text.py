"""Tokenizers of each kind that models come with, and text from a stream of ids."""

import json
import os
import threading
import time
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from ptir.text import IncrementalDecoder, Tokenizer, TokenizerError

END = "<|endoftext|>"
CORPUS = ["the naïve café — 東京タワー 🙂👨‍👩‍👧 the theatre, then there\n\n  over there"] * 4
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level() -> tokenizers.Tokenizer:
    """As GPT-2 and the demo model: tokens are bytes, a character may be split over several."""
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator(CORPUS, trainer)
    library.add_tokens([AddedToken("<think>", special=False)])
    return library


def byte_fallback() -> tokenizers.Tokenizer:
    """As Llama 2: tokens are characters, what is rare is spelled in byte tokens."""
    tokens = ["<unk>", "<s>", "</s>", *BYTES, "▁", "a", "b", "t", "h", "▁t", "▁th", "é", "東"]
    vocab = {token: id for id, token in enumerate(tokens)}
    merges = [("▁", "t"), ("▁t", "h")]
    library = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    library.add_special_tokens(["<unk>", "<s>", "</s>"])
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    library.normalizer = normalizers.Sequence(spaces)
    library.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return library


def metaspace() -> tokenizers.Tokenizer:
    """As T5: a unigram model over words with their spaces."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁", -2.0), ("▁the", -1.0), ("a", -3.0), ("é", -4.0)]
    library = tokenizers.Tokenizer(models.Unigram(pieces, 0, False))
    library.add_special_tokens(["<unk>", "</s>"])
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    return library


def word_pieces() -> tokenizers.Tokenizer:
    """As BERT: whole words and their continuations."""
    tokens = ["[UNK]", "[SEP]", "the", "##a", "##tre", ",", "é", "do", "n't", "'", "s"]
    vocab = {token: id for id, token in enumerate(tokens)}
    library = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    library.add_special_tokens(["[UNK]", "[SEP]"])
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    return library


KINDS = {
    make.__name__: Tokenizer(make()) for make in (byte_level, byte_fallback, metaspace, word_pieces)
}
BYTE_LEVEL = KINDS["byte_level"]


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = IncrementalDecoder(tokenizer)
    return [*map(decoder.feed, ids), decoder.flush()]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300)
@given(data=st.data())
def test_the_joined_pieces_of_any_ids_are_what_decode_gives(kind, data):
    tokenizer = KINDS[kind]
    known = st.integers(0, tokenizer.vocab_size + 3)
    ids = data.draw(st.lists(known, max_size=80))
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids)


@settings(max_examples=300)
@given(
    ids=st.lists(st.sampled_from([3 + b for b in b"a\xc3\xa9\xf0\x9f\x99\x82\xff"] + [2, 260, 264]))
)
def test_the_joined_pieces_of_byte_tokens_are_what_decode_gives(ids):
    tokenizer = KINDS["byte_fallback"]
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids)


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*b"a\x80\xbf\xc3\xe2\x82\xac\xf0\x9f\x99\xff"]), max_size=60))
def test_the_joined_pieces_of_broken_bytes_are_what_python_decodes(raw):
    alphabet = bytes_to_ids()
    pieces = streamed(BYTE_LEVEL, [alphabet[byte] for byte in raw])
    assert "".join(pieces) == bytes(raw).decode("utf-8", "replace")


@settings(max_examples=300)
@given(st.text(max_size=60))
def test_no_piece_of_valid_text_is_broken(text):
    pieces = streamed(BYTE_LEVEL, BYTE_LEVEL.encode(text))
    assert "".join(pieces) == text
    assert text.count("\ufffd") == sum(piece.count("\ufffd") for piece in pieces)


def bytes_to_ids() -> dict[int, int]:
    """The token of each byte, by GPT-2's rule: what has no visible form moves up to U+0100."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    spelled = {byte: chr(byte) for byte in visible}
    spelled |= {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}
    ids = {BYTE_LEVEL.token(id): id for id in range(BYTE_LEVEL.vocab_size)}
    return {byte: ids[token] for byte, token in spelled.items()}


def test_a_character_is_shown_with_its_last_byte_and_not_before():
    alphabet = bytes_to_ids()
    pieces = streamed(BYTE_LEVEL, [alphabet[byte] for byte in "a🙂é".encode()])
    assert pieces == ["a", "", "", "", "🙂", "", "é", ""]


def test_plain_text_is_shown_at_once():
    ids = BYTE_LEVEL.encode("the theatre, then there")
    assert streamed(BYTE_LEVEL, ids) == [*(BYTE_LEVEL.decode([id]) for id in ids), ""]


def test_an_unfinished_character_is_flushed_as_a_replacement():
    ids = BYTE_LEVEL.encode("é")
    decoder = IncrementalDecoder(BYTE_LEVEL)
    assert decoder.feed(bytes_to_ids()[0xC3]) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""
    assert "".join([*map(decoder.feed, ids), decoder.flush()]) == "é"


def test_a_long_stream_decodes_few_ids_at_a_time():
    decoder = IncrementalDecoder(BYTE_LEVEL)
    ids = BYTE_LEVEL.encode("the 東京 🙂 " * 500) + [bytes_to_ids()[0x80]] * 500
    text, longest = "", 0
    for id in ids:
        text += decoder.feed(id)
        longest = max(longest, len(decoder._ids))
    assert text + decoder.flush() == BYTE_LEVEL.decode(ids)
    assert len(ids) > 4000
    assert longest <= 16


def test_tokens_without_text_do_not_push_the_context_out():
    vocab = {"~": 0, "▁a": 1, "<unk>": 2}
    library = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    empty, space = decoders.Replace("~", ""), decoders.Replace("▁", " ")
    strip = decoders.Strip(" ", 1, 0)
    library.decoder = decoders.Sequence([empty, space, decoders.Fuse(), strip])
    assert "".join(streamed(Tokenizer(library), [1, *[0] * 40, 1])) == "a a"


# Special tokens.


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([END, "<|", "endoftext", "|>", "the", " ", "é", "\0"])).map("".join)
)
def test_user_text_never_becomes_a_special_token(text):
    ids = BYTE_LEVEL.encode(text)
    assert BYTE_LEVEL.eos_id not in ids
    assert BYTE_LEVEL.decode(ids) == text


def test_a_special_token_is_made_only_when_it_is_allowed():
    ids = BYTE_LEVEL.encode(f"the{END}", allow_special=True)
    assert ids[-1] == BYTE_LEVEL.eos_id
    assert BYTE_LEVEL.decode(ids) == "the"
    assert BYTE_LEVEL.decode(ids, keep_special=True) == f"the{END}"
    assert BYTE_LEVEL.eos_id not in BYTE_LEVEL.encode(f"the{END}")


class Slow:
    """A library tokenizer that lets other threads run between its switch and its work."""

    encode_special_tokens = True

    def __init__(self, library):
        self.library = library

    def __getattr__(self, name):
        return getattr(self.library, name)

    def encode(self, text, **keywords):
        time.sleep(0.0005)
        self.library.encode_special_tokens = self.encode_special_tokens
        return self.library.encode(text, **keywords)


def test_threads_that_differ_in_special_tokens_do_not_mix():
    library: Any = Slow(byte_level())
    tokenizer = Tokenizer(library)
    wrong: list[bool] = []

    def work(allow: bool) -> None:
        for _ in range(50):
            ids = tokenizer.encode(f"the {END} there", allow_special=allow)
            wrong.extend([allow] if (tokenizer.eos_id in ids) != allow else [])

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_tokenizer_that_knows_no_plain_spelling_refuses_a_special_token():
    library = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "[SEP]": 1, "the": 2}, "[UNK]"))
    library.add_special_tokens(["[UNK]", "[SEP]"])
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = Tokenizer(library)
    assert tokenizer.encode("the other") == [2, 0]
    with pytest.raises(TokenizerError, match=r"special token '\[SEP\]'.*allow_special"):
        tokenizer.encode("the [SEP]")
    assert tokenizer.encode("the [SEP]", allow_special=True) == [2, 1]


def test_eos_is_found_by_its_usual_spelling_or_named():
    assert BYTE_LEVEL.eos_id == 0
    assert KINDS["byte_fallback"].eos_id == 2
    assert KINDS["word_pieces"].eos_id is None
    assert Tokenizer(word_pieces(), eos="[SEP]").eos_id == 1
    with pytest.raises(TokenizerError, match=r"did you mean '\[SEP\]'"):
        Tokenizer(word_pieces(), eos="[SPE]")


# What is refused.


def test_a_file_gives_the_ids_that_the_library_gives(tmp_path):
    library = byte_level()
    library.enable_truncation(4)
    library.enable_padding(length=100)
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(tmp_path / "tokenizer.json")
    library.no_truncation()
    library.no_padding()
    text = "the naïve theatre 東京 over there"
    assert tokenizer.encode(text) == library.encode(text).ids
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == library.get_vocab_size()


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
    ],
    ids=lambda v: repr(v[:8]),
)
def test_a_bad_file_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json'"):
        Tokenizer.from_file(path)


def test_every_prefix_of_a_file_is_refused(tmp_path):
    text = byte_level().to_str()
    path = tmp_path / "tokenizer.json"
    for length in range(0, len(text), 97):
        path.write_text(text[:length], encoding="utf-8")
        with pytest.raises(TokenizerError, match=r"tokenizer\.json'"):
            Tokenizer.from_file(path)


def test_what_is_not_a_file_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, fact in [
        ("fifo", "not a regular file"),
        ("absent", "No such file"),
        ("", "directory"),
    ]:
        with pytest.raises(TokenizerError, match=fact) as caught:
            Tokenizer.from_file(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.touch()
    os.truncate(path, 1 << 40)  # sparse
    with pytest.raises(TokenizerError, match="at most 268435456 are read"):
        Tokenizer.from_file(path)


def test_ids_and_text_that_cannot_be_are_refused():
    for id in (-1, 1 << 32):
        with pytest.raises(TokenizerError, match="not a token id"):
            BYTE_LEVEL.decode([id])
        assert BYTE_LEVEL.token(id) is None
    with pytest.raises(TokenizerError, match=r"'a\\ud800' cannot be encoded"):
        BYTE_LEVEL.encode("a\ud800")


def test_an_id_without_a_token_has_no_text():
    ids = [*BYTE_LEVEL.encode("the"), 60_000, *BYTE_LEVEL.encode("re")]
    assert BYTE_LEVEL.decode(ids) == "there"
    assert json.dumps(streamed(BYTE_LEVEL, ids)[-3:]).isprintable()
