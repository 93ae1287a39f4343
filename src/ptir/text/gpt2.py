"""The tokenizer that GPT-2 published as `vocab.json` and `merges.txt`. Knows no special token."""

from collections.abc import Container
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from .document import MAX_FILE_BYTES, read_object, read_text
from .error import TokenizerError, refusing

VOCAB = "vocab.json"
MERGES = "merges.txt"
_MAX_ID = (1 << 32) - 1


def read_gpt2(folder: Path, *, add_prefix_space: bool = False) -> tokenizers.Tokenizer:
    """Byte-level BPE: text is split by GPT-2's pattern, bytes are spelled in visible characters.

    Bytes that the vocabulary lacks are left out, as in the published code. Raises TokenizerError.
    """
    vocab = _vocab(folder / VOCAB)
    merges = _merges(folder / MERGES, vocab)
    with refusing(f"tokenizer {str(folder / MERGES)!r}: cannot be used"):
        library = tokenizers.Tokenizer(models.BPE(vocab, merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    library.decoder = decoders.ByteLevel()
    return library


def _vocab(path: Path) -> dict[str, int]:
    vocab = read_object(path, MAX_FILE_BYTES)
    for token, id in vocab.items():
        if type(id) is not int or not 0 <= id <= _MAX_ID:
            fact = f"{token[:80]!r} has the id {id!r:.80}, wanted one from 0 to {_MAX_ID}"
            raise TokenizerError(f"tokenizer {str(path)!r}: {fact}")
    if len(set(vocab.values())) < len(vocab):
        raise TokenizerError(f"tokenizer {str(path)!r}: two tokens have the same id")
    return vocab


def _merges(path: Path, vocab: Container[str]) -> list[tuple[str, str]]:
    """A pair to a line, the most important first; `#version` may head them."""
    found = []
    # Not splitlines(): only a line feed ends a line here.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        pair = line.removesuffix("\r").split(" ")
        if line.startswith("#version") or pair == [""]:
            continue
        where = f"tokenizer {str(path)!r}: line {number}"
        if len(pair) != 2 or not all(pair):
            raise TokenizerError(f"{where} is {line[:80]!r}, wanted two tokens, a space between")
        lacking = next((token for token in (*pair, "".join(pair)) if token not in vocab), None)
        if lacking is not None:
            raise TokenizerError(f"{where} needs {lacking[:80]!r}, which {VOCAB} lacks")
        found.append((pair[0], pair[1]))
    return found
