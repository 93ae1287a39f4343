"""Text to token ids and back, by the `tokenizers` library. Knows no model and no prompt format."""

import os
import stat
import threading
from collections.abc import Iterable
from typing import final

import tokenizers

from ptir.ir.error import PtirError, nearest

MAX_FILE_BYTES = 1 << 28
_MAX_ID = (1 << 32) - 1
# How published tokenizers spell the end of a text, the more specific spelling first.
_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "<|eot_id|>")


class TokenizerError(PtirError):
    """A tokenizer file that cannot be used, or a text or an id that a tokenizer cannot take."""


@final
class Tokenizer:
    """A `tokenizer.json`. Every method may be called from any thread.

    `eos` names the special token that ends a text; without it, one with a usual spelling is taken.
    """

    def __init__(self, library: tokenizers.Tokenizer, *, eos: str | None = None) -> None:
        # Settings for training batches: they would silently cut or fill a prompt.
        library.no_truncation()
        library.no_padding()
        self._library = library
        self._lock = threading.Lock()
        added = library.get_added_tokens_decoder()
        self._special = {id: token.content for id, token in added.items() if token.special}
        self.eos_id = self._find_eos(eos)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, eos: str | None = None) -> "Tokenizer":
        """The tokenizer in the `tokenizer.json` at `path`. Raises TokenizerError."""
        shown = repr(os.fspath(path))
        try:
            library = tokenizers.Tokenizer.from_str(_read_text(path))
        except TokenizerError:
            raise
        except Exception as error:  # the library raises plain Exception
            raise TokenizerError(f"tokenizer {shown}: cannot be used: {error}") from error
        return cls(library, eos=eos)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added and special ones among them."""
        return self._library.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """The ids of `text`; nothing is put before or after them.

        A special token spelled in `text` is encoded as the plain text that it is; `allow_special`
        makes it that token instead. Raises TokenizerError for text that is not valid Unicode (half
        a surrogate pair) or that only a special token could encode.
        """
        try:
            with self._lock:  # the switch belongs to the tokenizer, not to the call
                self._library.encode_special_tokens = not allow_special
                ids = self._library.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library raises plain Exception and TypeError
            raise TokenizerError(f"encode: {text[:80]!a} cannot be encoded: {error}") from error
        if not allow_special and not self._special.keys().isdisjoint(ids):
            self._refuse_spelled(text, ids)
        return ids

    def decode(self, ids: Iterable[int], *, keep_special: bool = False) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Special tokens are left out unless `keep_special`; an id without a token has no text. Raises
        TokenizerError for an id that is negative or beyond 32 bits.
        """
        plain = [int(id) for id in ids]
        wrong = next((id for id in plain if not 0 <= id <= _MAX_ID), None)
        if wrong is not None:
            raise TokenizerError(f"decode: {wrong} is not a token id; ids are from 0 to {_MAX_ID}")
        return self._library.decode(plain, skip_special_tokens=not keep_special)

    def token(self, id: int) -> str | None:
        """The token of `id` as the vocabulary spells it; None if there is none."""
        return self._library.id_to_token(id) if 0 <= id <= _MAX_ID else None

    def is_special(self, id: int) -> bool:
        """Whether `id` is a control token, which stands for no text."""
        return id in self._special

    def _find_eos(self, eos: str | None) -> int | None:
        by_name = {content: id for id, content in self._special.items()}
        if eos is None:
            return next((by_name[name] for name in _END_OF_TEXT if name in by_name), None)
        if eos not in by_name:
            raise TokenizerError(f"tokenizer: no special token {eos!r}{nearest(eos, by_name)}")
        return by_name[eos]

    def _refuse_spelled(self, text: str, ids: Iterable[int]) -> None:
        """The unknown token, for what the vocabulary lacks, is fine; a token by its name is not."""
        for id in ids:
            content = self._special.get(id)
            if content and content in text:
                why = "this tokenizer has no other encoding; pass allow_special=True if it is meant"
                raise TokenizerError(f"encode: the text has the special token {content!r}: {why}")


def _read_text(path: str | os.PathLike[str]) -> str:
    shown = repr(os.fspath(path))
    try:
        # O_NONBLOCK: opening a FIFO must not wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise TokenizerError(f"tokenizer {shown}: is not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                fact = f"has {status.st_size} bytes; at most {MAX_FILE_BYTES} are read"
                raise TokenizerError(f"tokenizer {shown}: {fact}")
            return file.read(MAX_FILE_BYTES).decode("utf-8")
    except OSError as error:
        raise TokenizerError(f"tokenizer {shown}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TokenizerError(f"tokenizer {shown}: cannot be read: {error}") from error
