"""Text to token ids and back, by the `tokenizers` library. Knows no model and no prompt format."""

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import final

import tokenizers

from ptir.ir.error import nearest

from .document import read_text
from .error import TokenizerError, refusing
from .gpt2 import MERGES, VOCAB, read_gpt2
from .settings import ADDED, CONFIG, NAMED, SPECIAL, Settings, read_settings

FILE = "tokenizer.json"
_MAX_ID = (1 << 32) - 1
# How published tokenizers spell the end of a text, the more specific spelling first.
_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "<|eot_id|>")
_GPT2 = ("GPT2Tokenizer", "GPT2TokenizerFast")
_NOTHING_SAID = Settings()


@final
class Tokenizer:
    """A vocabulary and what its folder says of it. Every method may be called from any thread.

    `bos_id` begins a text and `pad_id` fills one up (None: the model has none); any of `eos_ids`
    ends one. `add_bos` says whether the model wants `bos_id` before a prompt. `special_tokens` are
    spellings by the names that templates use (`bos_token`), `chat_templates` sources by name,
    `added` those tokens by id, special or not, that are made wherever a text spells them.
    `eos` names the special token that ends a text, over all that files say.
    """

    def __init__(
        self,
        library: tokenizers.Tokenizer,
        settings: Settings = _NOTHING_SAID,
        *,
        eos: str | None = None,
    ) -> None:
        # Settings for training batches: they would silently cut or fill a prompt.
        library.no_truncation()
        library.no_padding()
        self._library = library
        self._lock = threading.Lock()
        _make_special(library, settings)
        added = library.get_added_tokens_decoder()
        self._special = {id: token.content for id, token in added.items() if token.special}
        self.added: Mapping[int, str] = MappingProxyType({i: t.content for i, t in added.items()})
        named = {name: token.content for name, token in settings.named.items()}
        self.special_tokens: Mapping[str, str] = MappingProxyType(named)
        self.chat_templates: Mapping[str, str] = MappingProxyType(dict(settings.chat_templates))
        first, bos = self._prepended(), self._named_id("bos", settings)
        self.bos_id = first if bos is None else bos
        self.pad_id = self._named_id("pad", settings)
        self.eos_ids = self._find_eos(eos, settings)
        wanted = first == self.bos_id if settings.add_bos is None else settings.add_bos
        self.add_bos = wanted and self.bos_id is not None

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, eos: str | None = None) -> "Tokenizer":
        """The tokenizer of a folder, or a `tokenizer.json` with the settings that lie beside it.

        A folder has `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`. Raises
        TokenizerError.
        """
        path = Path(path)
        if not path.is_dir():
            return cls(_read(path), read_settings(path.parent), eos=eos)
        settings = read_settings(path)
        if (path / FILE).exists():
            return cls(_read(path / FILE), settings, eos=eos)
        if not all((path / name).exists() for name in (VOCAB, MERGES)):
            wanted = f"{FILE}, or {VOCAB} and {MERGES}"
            raise TokenizerError(f"tokenizer {str(path)!r}: the folder has no {wanted}")
        if settings.kind not in (None, *_GPT2):
            fact = f"{VOCAB} and {MERGES} are those of {settings.kind!r:.80}; only GPT-2's are read"
            raise TokenizerError(f"tokenizer {str(path)!r}: {fact}; convert them to {FILE}")
        library = read_gpt2(path, add_prefix_space=settings.add_prefix_space)
        _add_stated(library, settings, path)
        return cls(library, settings, eos=eos)

    @staticmethod
    def lies_in(folder: str | os.PathLike[str]) -> bool:
        """Whether `load` finds the files of a tokenizer in `folder`."""
        here = Path(folder)
        return (here / FILE).exists() or all((here / name).exists() for name in (VOCAB, MERGES))

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added and special ones among them."""
        return self._library.get_vocab_size(with_added_tokens=True)

    @property
    def eos_id(self) -> int | None:
        """The first of `eos_ids`."""
        return self.eos_ids[0] if self.eos_ids else None

    @property
    def unk_id(self) -> int | None:
        """The token for what the vocabulary lacks."""
        name = getattr(self._library.model, "unk_token", None)  # Unigram does not tell
        name = name or self.special_tokens.get("unk_token", "<unk>")
        return self._library.token_to_id(name)

    def encode(self, text: str, *, special: bool = False, add_bos: bool = False) -> list[int]:
        """The ids of `text`; nothing is put before or after them unless asked.

        A special token spelled in `text` is encoded as the plain text that it is; `special` makes
        it that token instead. `add_bos` puts `bos_id` before ids that do not begin with it. Raises
        TokenizerError for text that is not valid Unicode (half a surrogate pair) or that only a
        special token could encode, and for `add_bos` without a `bos_id`.
        """
        if not isinstance(text, str):
            raise TokenizerError(f"encode: {type(text).__name__} is no text; pass a str")
        with refusing(f"encode: {text[:80]!a} cannot be encoded"), self._lock:
            # The switch belongs to the tokenizer, not to the call: hence the lock.
            self._library.encode_special_tokens = not special
            ids = self._library.encode(text, add_special_tokens=False).ids
        if not special and not self._special.keys().isdisjoint(ids):
            self._refuse_spelled(text, ids)
        return self.begun(ids) if add_bos else ids

    def begun(self, ids: list[int]) -> list[int]:
        """`ids` with `bos_id` in front, once. Raises TokenizerError if there is none."""
        if self.bos_id is None:
            raise TokenizerError("encode: the tokenizer names no BOS token; leave add_bos out")
        return ids if ids[:1] == [self.bos_id] else [self.bos_id, *ids]

    def decode(self, ids: Iterable[int], *, keep_special: bool = False) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Special tokens are left out unless `keep_special`; an id without a token has no text. Raises
        TokenizerError for an id that is negative or beyond 32 bits.
        """
        plain = [int(id) for id in ids]
        wrong = next((id for id in plain if not 0 <= id <= _MAX_ID), None)
        if wrong is not None:
            raise TokenizerError(f"decode: {wrong} is not a token id; ids are from 0 to {_MAX_ID}")
        with refusing("decode: the ids cannot be decoded"):
            return self._library.decode(plain, skip_special_tokens=not keep_special)

    def token(self, id: int) -> str | None:
        """The token of `id` as the vocabulary spells it; None if there is none."""
        return self._library.id_to_token(id) if 0 <= id <= _MAX_ID else None

    def is_special(self, id: int) -> bool:
        """Whether `id` is a control token, which stands for no text."""
        return id in self._special

    def _named_id(self, name: str, settings: Settings) -> int | None:
        """The id of `bos` or `pad`: the token's, or the one that generation is told to use."""
        token = settings.named.get(f"{name}_token")
        stated = settings.ids.get(f"{name}_token_id") or (None,)
        return stated[0] if token is None else self._library.token_to_id(token.content)

    def _prepended(self) -> int | None:
        """The special token that the file itself puts before a text, if it puts nothing behind."""
        with refusing("tokenizer: cannot encode"):
            ids = self._library.encode("", add_special_tokens=True).ids
            behind = self._library.encode("a", add_special_tokens=True).ids
        return ids[0] if len(ids) == 1 and behind[:1] == ids and ids[0] in self._special else None

    def _find_eos(self, eos: str | None, settings: Settings) -> tuple[int, ...]:
        """What generation is told first, then what the tokenizer names, then a usual spelling."""
        by_name = {content: id for id, content in self._special.items()}
        if eos is not None:
            if eos not in by_name:
                raise TokenizerError(f"tokenizer: no special token {eos!r}{nearest(eos, by_name)}")
            return (by_name[eos],)
        found = list(settings.ids.get("eos_token_id", ()))
        if (token := settings.named.get("eos_token")) is not None:
            found.append(by_name[token.content])
        if not found:
            found = [by_name[name] for name in _END_OF_TEXT if name in by_name][:1]
        return tuple(dict.fromkeys(found))

    def _refuse_spelled(self, text: str, ids: Iterable[int]) -> None:
        """The unknown token, for what the vocabulary lacks, is fine; a token by its name is not."""
        for id in set(ids) - {self.unk_id}:
            content = self._special.get(id)
            if content and content in text:
                why = "this tokenizer has no other encoding; pass special=True if it is meant"
                raise TokenizerError(f"encode: the text has the special token {content!r}: {why}")


def _read(path: Path) -> tokenizers.Tokenizer:
    text = read_text(path)
    with refusing(f"tokenizer {str(path)!r}: cannot be used"):
        return tokenizers.Tokenizer.from_str(text)


def _add_stated(library: tokenizers.Tokenizer, settings: Settings, path: Path) -> None:
    """Tokens that stand beside a vocabulary, each with the id that its file states."""
    end = tokenizers.AddedToken(_END_OF_TEXT[0], special=True, normalized=False)
    if library.token_to_id(end.content) is not None:
        library.add_tokens([end])
    for id, token in sorted(settings.added.items(), key=lambda item: item[0]):
        library.add_tokens([token])
        if (got := library.token_to_id(token.content)) != id:
            fact = f"{token.content!r} has the id {got}, but {CONFIG} or {ADDED} says {id}"
            raise TokenizerError(f"tokenizer {str(path)!r}: {fact}")


def _make_special(library: tokenizers.Tokenizer, settings: Settings) -> None:
    """Tokens that the settings call special are, if the vocabulary has them.

    How an added token meets the spaces around it stays as its own file says.
    """
    added = {token.content: token for token in library.get_added_tokens_decoder().values()}
    for name, stated in [*settings.named.items(), *((SPECIAL, token) for token in settings.extra)]:
        token = added.get(stated.content, stated)
        if library.token_to_id(token.content) is None:
            if name not in NAMED:
                continue
            fact = f"{name} is {token.content!r}, which the vocabulary lacks"
            raise TokenizerError(f"tokenizer: {fact}; correct {CONFIG} or {SPECIAL}")
        if token is stated or not token.special:
            token.special = True
            library.add_special_tokens([token])
