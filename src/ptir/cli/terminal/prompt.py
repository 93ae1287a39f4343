"""Messages to the token ids that a model goes on from: by its chat template, or as plain text."""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from typing import final

from ptir.text import Chat, Tokenizer

from .message import Message


class Prompt(ABC):
    """A way to put a conversation before a model."""

    note: str
    """What the user should know of it; may be empty."""

    @abstractmethod
    def ids(self, messages: Sequence[Message]) -> list[int]:
        """The prompt behind which the answer to the last message comes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what it holds. May be called again."""


@final
class Templated(Prompt):
    """By the tokenizer's chat template."""

    note = ""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._chat = Chat(tokenizer)
        self._add_bos = tokenizer.add_bos

    def ids(self, messages: Sequence[Message]) -> list[int]:
        said = [{"role": m.role, "content": m.content} for m in messages]
        return self._chat.ids(said, add_generation_prompt=True, add_bos=self._add_bos)

    def close(self) -> None:
        self._chat.close()


@final
class Plain(Prompt):
    """As one text: what was said, line after line, as it stands on the screen."""

    note = "The model has no chat template: what is said is one text, which it goes on with."

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def ids(self, messages: Sequence[Message]) -> list[int]:
        text = "".join(f"{m.content}\n" for m in messages)
        return self._tokenizer.encode(text, add_bos=self._tokenizer.add_bos)

    def close(self) -> None:
        """Nothing is held."""


def prompt_of(tokenizer: Tokenizer) -> Prompt:
    """By the template of the tokenizer if it has one."""
    return Templated(tokenizer) if tokenizer.chat_templates else Plain(tokenizer)


def continued(tokenizer: Tokenizer, seen: list[int], ids: list[int]) -> list[int]:
    """`ids`, with the tokens `seen` in the place of those that spell the same text.

    A model may write a text in other tokens than the tokenizer would. With its own, which its cache
    holds, the next prompt is read from where the answer ended.
    """
    text = tokenizer.decode(seen, keep_special=True)

    def length(count: int) -> int:
        return len(tokenizer.decode(ids[:count], keep_special=True))

    count = bisect_left(range(len(ids) + 1), len(text), key=length)
    if tokenizer.decode(ids[:count], keep_special=True) == text:
        return seen + ids[count:]
    return ids
