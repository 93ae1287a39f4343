"""Ids of text, with special tokens only where they are asked for."""

import json
import threading
import time
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, pre_tokenizers, processors

from ptir.text import Tokenizer, TokenizerError
from tests.text.libraries import BYTE_LEVEL, END, KINDS, byte_level, streamed, word_pieces

SPELLED = [END, "</s>", "<s>", "<unk>", "[SEP]", "[UNK]"]
FRAGMENTS = [*SPELLED, "<|", "endoftext", "|>", "<", "s>", "[", "the", " ", "é", "\0", "東"]


def without_unknown(tokenizer: Tokenizer, ids: list[int]) -> list[int]:
    return [id for id in ids if tokenizer.is_special(id) and id != tokenizer.unk_id]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=300)
@given(data=st.data())
def test_no_text_becomes_a_special_token(kind, data):
    tokenizer = KINDS[kind]
    before, after = (data.draw(st.lists(st.sampled_from(FRAGMENTS)).map("".join)) for _ in range(2))
    text = before + data.draw(st.sampled_from(SPELLED)) + after + data.draw(st.text(max_size=5))
    try:
        ids = tokenizer.encode(text)
    except TokenizerError as error:  # a unigram model may have no other encoding
        refused = str(error)
    else:
        refused = ""
        assert without_unknown(tokenizer, ids) == []
    assert not refused or ("no other encoding" in refused and kind == "metaspace")


@settings(max_examples=300)
@given(st.lists(st.sampled_from(FRAGMENTS)).map("".join))
def test_plain_text_comes_back_as_it_went_in(text):
    assert BYTE_LEVEL.decode(BYTE_LEVEL.encode(text)) == text


def test_a_special_token_is_made_only_when_it_is_allowed():
    ids = BYTE_LEVEL.encode(f"the{END}", special=True)
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
            ids = tokenizer.encode(f"the {END} there", special=allow)
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
    with pytest.raises(TokenizerError, match=r"special token '\[SEP\]'.*special=True"):
        tokenizer.encode("the [SEP]")
    assert tokenizer.encode("the [SEP]", special=True) == [2, 1]


def test_the_unknown_token_is_no_injection():
    tokenizer = KINDS["word_pieces"]
    assert tokenizer.encode("zzz [UNK]") == [0] * 4  # a word, two brackets and a name
    assert [*map(tokenizer.is_special, [0, 1])] == [True, True]


def test_eos_is_found_by_its_usual_spelling_or_named():
    assert BYTE_LEVEL.eos_id == 0
    assert KINDS["byte_fallback"].eos_ids == (2,)
    assert (KINDS["word_pieces"].eos_id, KINDS["word_pieces"].eos_ids) == (None, ())
    assert Tokenizer(word_pieces(), eos="[SEP]").eos_id == 1
    with pytest.raises(TokenizerError, match=r"did you mean '\[SEP\]'"):
        Tokenizer(word_pieces(), eos="[SPE]")


def beginning() -> tokenizers.Tokenizer:
    """One that puts a token before every text, as Llama 3."""
    library = byte_level("<s>")
    begin = processors.TemplateProcessing("<s> $A", None, [("<s>", library.token_to_id("<s>"))])
    library.post_processor = begin
    return library


def test_bos_comes_before_ids_once_and_only_when_asked():
    tokenizer = Tokenizer(beginning())
    bos, plain = tokenizer.bos_id, tokenizer.encode("the")
    assert bos == tokenizer._library.token_to_id("<s>")
    assert bos not in plain
    assert tokenizer.encode("the", add_bos=True) == [bos, *plain]
    assert tokenizer.encode("<s>the", special=True, add_bos=True) == [bos, *plain]
    assert tokenizer.encode("<s>the", add_bos=True) == [bos, *tokenizer.encode("<s>the")]
    assert tokenizer.encode("", add_bos=True) == [bos]


def test_a_tokenizer_tells_whether_its_model_wants_bos():
    assert Tokenizer(beginning()).add_bos
    assert not BYTE_LEVEL.add_bos
    with pytest.raises(TokenizerError, match="names no BOS token"):
        BYTE_LEVEL.encode("the", add_bos=True)


def test_a_token_put_around_a_text_is_no_bos():
    library = word_pieces()
    around = processors.TemplateProcessing("[SEP] $A [SEP]", None, [("[SEP]", 1)])
    library.post_processor = around
    assert Tokenizer(library).bos_id is None


# What is refused.


def test_ids_and_text_that_cannot_be_are_refused():
    for id in (-1, 1 << 32):
        with pytest.raises(TokenizerError, match="not a token id"):
            BYTE_LEVEL.decode([id])
        assert BYTE_LEVEL.token(id) is None
    for tokenizer in KINDS.values():
        with pytest.raises(TokenizerError, match=r"'a\\ud800' cannot be encoded"):
            tokenizer.encode("a\ud800")
    with pytest.raises(TokenizerError, match="bytes is no text"):
        BYTE_LEVEL.encode(b"a")  # type: ignore[arg-type]


def test_an_id_without_a_token_has_no_text():
    ids = [*BYTE_LEVEL.encode("the"), 60_000, *BYTE_LEVEL.encode("re")]
    assert BYTE_LEVEL.decode(ids) == "there"
    assert json.dumps(streamed(BYTE_LEVEL, ids)[-3:]).isprintable()


def test_a_token_that_is_not_special_is_text_like_any_other():
    think = next(id for id, text in BYTE_LEVEL.added.items() if text == "<think>")
    assert BYTE_LEVEL.encode("<think>") == [think]
    assert not BYTE_LEVEL.is_special(think)
    assert BYTE_LEVEL.decode([think]) == "<think>"
    assert AddedToken("<think>").special is False
