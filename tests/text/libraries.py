"""Small tokenizers of each kind that models come with, made on the spot."""

from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

from ptir.text import IncrementalDecoder, Tokenizer

END = "<|endoftext|>"
START, STOP = "<|im_start|>", "<|im_end|>"
HEADERS = ("<|begin|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
CORPUS = ["the naïve café — 東京タワー 🙂👨‍👩‍👧 the theatre, then there\n\n  over there"] * 4
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level(*special: str, size: int = 320) -> tokenizers.Tokenizer:
    """As GPT-2 and the demo model: tokens are bytes, a character may be split over several."""
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator(CORPUS, trainer)
    library.add_special_tokens(list(special))
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


def bytes_to_ids() -> dict[int, int]:
    """The token of each byte in BYTE_LEVEL."""
    ids = {BYTE_LEVEL.token(id): id for id in range(BYTE_LEVEL.vocab_size)}
    return {byte: ids[token] for byte, token in byte_spellings().items()}


def byte_spellings() -> dict[int, str]:
    """How GPT-2 spells each byte: what has no visible form moves up to U+0100."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {b: chr(0x100 + i) for i, b in enumerate(hidden)}


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = IncrementalDecoder(tokenizer)
    return [*map(decoder.feed, ids), decoder.flush()]


def write_gpt2(folder: Path, library: tokenizers.Tokenizer) -> None:
    """`vocab.json` and `merges.txt`, as GPT-2 was published."""
    library.model.save(str(folder))
