"""What a model's folder says of its tokenizer beside the vocabulary. Knows no vocabulary.

The files are those that Hugging Face writes: `tokenizer_config.json`, `special_tokens_map.json`,
`generation_config.json`, `added_tokens.json`, `chat_template.jinja`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers

from .document import MAX_SETTINGS_BYTES, read_optional, read_text
from .error import TokenizerError, refusing

CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
GENERATION = "generation_config.json"
ADDED = "added_tokens.json"
TEMPLATE = "chat_template.jinja"
# The names under which templates know special tokens.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_MAX_ID = (1 << 32) - 1


@dataclass(frozen=True)
class Settings:
    """Empty where the folder says nothing."""

    named: Mapping[str, tokenizers.AddedToken] = field(default_factory=dict)  # by `bos_token`, …
    extra: tuple[tokenizers.AddedToken, ...] = ()  # further special tokens
    added: Mapping[int, tokenizers.AddedToken] = field(default_factory=dict)  # by id
    ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # by `eos_token_id`, …
    add_bos: bool | None = None
    add_prefix_space: bool = False
    kind: str | None = None  # the class that Hugging Face reads it with
    chat_templates: Mapping[str, str] = field(default_factory=dict)  # by name; mostly `default`


def read_settings(folder: Path) -> Settings:
    """The settings in `folder`. Raises TokenizerError for a file that says what cannot be."""
    config = _Said(folder / CONFIG)
    special = _Said(folder / SPECIAL)
    generation = _Said(folder / GENERATION)
    return Settings(
        # A null in the config is a word: there is no such token.
        named={
            name: token
            for name in NAMED
            if (token := (config if name in config.object else special).token(name)) is not None
        },
        extra=tuple(
            token
            for said in (special, config)
            for key in ("additional_special_tokens", "extra_special_tokens")
            for token in said.tokens(key)
        ),
        added={**_Said(folder / ADDED).added_tokens(), **config.added_tokens_decoder()},
        ids={key: generation.ids(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
        add_bos=config.flag("add_bos_token"),
        add_prefix_space=bool(config.flag("add_prefix_space")),
        kind=config.text("tokenizer_class"),
        chat_templates={**config.chat_templates(), **_template_files(folder)},
    )


class _Said:
    """One file's object, whose values are checked as they are taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.object = read_optional(path)

    def text(self, key: str) -> str | None:
        value = self.object.get(key)
        return value if value is None or isinstance(value, str) else self._refuse(key, "a string")

    def flag(self, key: str) -> bool | None:
        value = self.object.get(key)
        return value if value is None or isinstance(value, bool) else self._refuse(key, "a boolean")

    def ids(self, key: str) -> tuple[int, ...]:
        value = self.object.get(key)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(id) is int and 0 <= id <= _MAX_ID for id in listed):
            self._refuse(key, f"an id or a list of ids from 0 to {_MAX_ID}")
        return tuple(listed)

    def token(self, key: str) -> tokenizers.AddedToken | None:
        value = self.object.get(key)
        return None if value is None else self._token(key, value, special=True)

    def tokens(self, key: str) -> list[tokenizers.AddedToken]:
        """Special tokens that have no name, or one that only some templates know."""
        value = self.object.get(key) or []
        listed = list(value.values()) if isinstance(value, dict) else value
        if not isinstance(listed, list):
            self._refuse(key, "a list of tokens")
        return [self._token(key, each, special=True) for each in listed]

    def added_tokens(self) -> dict[int, tokenizers.AddedToken]:
        """Of a file that maps each token to its id."""
        listed = [(id, {"content": text}) for text, id in self.object.items()]
        return self._by_id("an object of ids by token", listed)

    def added_tokens_decoder(self) -> dict[int, tokenizers.AddedToken]:
        key, value = "added_tokens_decoder", self.object.get("added_tokens_decoder") or {}
        if not isinstance(value, dict) or not all(
            id.isascii() and id.isdigit() and len(id) <= 10 for id in value
        ):
            self._refuse(key, "an object of tokens by id")
        return self._by_id(key, [(int(id), token) for id, token in value.items()])

    def chat_templates(self) -> dict[str, str]:
        """By name. The file has one as a string, or a list of objects."""
        value = self.object.get("chat_template")
        if isinstance(value, list):
            objects = [each for each in value if isinstance(each, dict)]
            pairs = [(each.get("name"), each.get("template")) for each in objects]
            found = {k: v for k, v in pairs if isinstance(k, str) and isinstance(v, str)}
            if len(found) == len(value):
                return found
            self._refuse("chat_template", "a list of objects with a name and a template")
        text = self.text("chat_template")
        return {} if text is None else {"default": text}

    def _by_id(self, key: str, listed: list[tuple[Any, Any]]) -> dict[int, tokenizers.AddedToken]:
        if not all(type(id) is int and 0 <= id <= _MAX_ID for id, _ in listed):
            self._refuse(key, f"tokens with ids from 0 to {_MAX_ID}")
        return {id: self._token(key, token, special=False) for id, token in listed}

    def _token(self, key: str, value: Any, special: bool) -> tokenizers.AddedToken:
        """A token that is spelled as a string, or as an object with its content and flags."""
        said = {"content": value} if isinstance(value, str) else value
        content = said.get("content") if isinstance(said, dict) else None
        if not isinstance(content, str) or not content:
            self._refuse(key, "a token: its text, or an object with content")
        flags = {flag: said[flag] for flag in _FLAGS if isinstance(said.get(flag), bool)}
        flags = {"normalized": False} | flags | ({"special": True} if special else {})
        with refusing(f"tokenizer {str(self.path)!r}: {key}"):
            return tokenizers.AddedToken(content, **flags)

    def _refuse(self, key: str, wanted: str) -> Any:
        found = repr(self.object.get(key))[:80]
        raise TokenizerError(f"tokenizer {str(self.path)!r}: {key} is {found}, wanted {wanted}")


def _template_files(folder: Path) -> dict[str, str]:
    path = folder / TEMPLATE
    return {"default": read_text(path, MAX_SETTINGS_BYTES)} if path.exists() else {}
