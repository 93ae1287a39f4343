"""Text from a stream of ids: whole characters, nothing lost, little work for each id."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from ptir.text import IncrementalDecoder, Tokenizer
from tests.text.libraries import BYTE_LEVEL, KINDS, byte_fallback, bytes_to_ids, streamed


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


@pytest.mark.parametrize("kind", ["byte_level", "byte_fallback"])
@settings(max_examples=300)
@given(text=st.text(max_size=60))
def test_no_piece_of_valid_text_is_broken(kind, text):
    pieces = streamed(KINDS[kind], KINDS[kind].encode(text))
    assert "".join(pieces) == text
    assert text.count("\ufffd") == sum(piece.count("\ufffd") for piece in pieces)


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*b"a\x80\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82\xff"]), max_size=60))
def test_what_has_been_shown_is_always_a_beginning_of_the_final_text(raw):
    alphabet = bytes_to_ids()
    decoder, shown = IncrementalDecoder(BYTE_LEVEL), ""
    final = bytes(raw).decode("utf-8", "replace")
    for byte in raw:
        shown += decoder.feed(alphabet[byte])
        assert final.startswith(shown)


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


class Counting:
    """A tokenizer that counts the ids that it decodes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.decoded = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def decode(self, ids: Iterable[int]) -> str:
        taken = list(ids)
        self.decoded += len(taken)
        return self._tokenizer.decode(taken)


def emoji() -> tuple[Tokenizer, list[int]]:
    return BYTE_LEVEL, [bytes_to_ids()[byte] for byte in "🙂".encode() * 1000]


def prose() -> tuple[Tokenizer, list[int]]:
    return BYTE_LEVEL, BYTE_LEVEL.encode("the 東京 🙂 " * 500) + [bytes_to_ids()[0x80]] * 500


def run_of_bytes() -> tuple[Tokenizer, list[int]]:
    return KINDS["byte_fallback"], [3 + byte for byte in "東".encode() * 1000] + [260] * 500


def silence() -> tuple[Tokenizer, list[int]]:
    return silent(), [0] * 2000 + [1] + [0] * 2000 + [1]


def murmur() -> tuple[Tokenizer, list[int]]:
    return silent(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1] * 400


def silent() -> Tokenizer:
    """One with a token that stands for no text, and another for a letter."""
    vocab = {"~": 0, "▁a": 1, "<unk>": 2}
    library = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    empty, space = decoders.Replace("~", ""), decoders.Replace("▁", " ")
    strip = decoders.Strip(" ", 1, 0)
    library.decoder = decoders.Sequence([empty, space, decoders.Fuse(), strip])
    return Tokenizer(library)


@pytest.mark.parametrize("stream", [emoji, prose, run_of_bytes, silence, murmur])
def test_a_long_stream_costs_a_bounded_number_of_decoded_ids_for_each(
    stream: Callable[[], tuple[Tokenizer, list[int]]],
):
    tokenizer, ids = stream()
    counting = Counting(tokenizer)
    assert "".join(streamed(cast(Tokenizer, counting), ids)) == tokenizer.decode(ids)
    assert len(ids) >= 3000
    assert counting.decoded < 128 * len(ids)


def test_tokens_without_text_do_not_push_the_context_out():
    assert "".join(streamed(silent(), [1, *[0] * 40, 1])) == "a a"


def test_special_tokens_inside_a_run_of_bytes_are_left_out():
    tokenizer = Tokenizer(byte_fallback())
    ids = [3 + 0xE6, 2, 3 + 0x9D, 3 + 0xB1]  # 東 around an end of text
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids) == "東"
