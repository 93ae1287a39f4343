"""A conversation with a model: what was said, what of it the model sees, and what it cost.

Knows no terminal.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import final

from ptir.ir import PtirError
from ptir.runtime import Generation, TextModel, Usage

from .message import Message
from .prompt import continued, prompt_of
from .settings import Settings


@final
class Conversation:
    """Turns of user and model. Close it, or use it in a `with` block.

    `forgotten` counts the messages, oldest first, that the model no longer sees. `last` is the last
    answer, None if the last turn had none. `totals` is what all answers took.
    """

    def __init__(self, lm: TextModel, settings: Settings) -> None:
        assert lm.tokenizer is not None
        self.settings = settings
        self.messages: list[Message] = []  # the user's and the model's in turns, the user's first
        self.forgotten = 0
        self.last: Generation | None = None
        self.totals = Usage(0, 0, 0)
        self.context_length = lm.context_length
        self._lm = lm
        self._tokenizer = lm.tokenizer
        self._prompt = prompt_of(lm.tokenizer)
        self._seen: list[int] = []  # prompt and answer of the last turn

    @property
    def note(self) -> str:
        """What the user should know of how the model is asked; may be empty."""
        return self._prompt.note

    @property
    def context_used(self) -> int:
        """Tokens in the context when the last answer ended."""
        return min(len(self._seen), self.context_length)

    @property
    def system(self) -> list[Message]:
        """The system prompt, if there is one."""
        text = self.settings.system
        return [] if text is None else [Message("system", text)]

    def ask(self, text: str, show: Callable[[str], None]) -> None:
        """Say `text`; `show` sees each piece of the answer as it comes.

        Whatever ends it (Ctrl-C, say) is raised, and what was said until then stays. Of a turn that
        ended before its answer began nothing stays. Raises PtirError for what the model cannot
        take.
        """
        self.last = None
        question = Message("user", text)
        ids, forgotten = self._fitted(question)
        answer = self._lm.start(
            ids,
            max_tokens=self.settings.max_tokens,
            sampling=self.settings.sampling,
            overflow=self.settings.overflow,
        )
        try:
            for piece in answer.pieces():
                show(piece.text)
        finally:
            answer.cancel()
            done = answer.generation()
            if done.text or done.finish_reason not in ("cancelled", "error"):
                self.forgotten = forgotten
                self._keep(question, done)
                self._seen = ids + done.token_ids

    def set(self, name: str, text: str) -> None:
        """Change a setting, or raise PtirError and leave it as it was."""
        before = self.settings.sampling
        self.settings.put(name, text)
        try:
            self.settings.sampling.check_vocab(self._lm.vocab_size)
        except PtirError:
            self.settings.sampling = before
            raise

    def restart(self, messages: list[Message]) -> None:
        """Forget what was said, and go on from these messages."""
        self.messages = messages
        self.forgotten, self.last, self._seen = 0, None, []

    def close(self) -> None:
        """Let go of what it started. May be called again."""
        self._prompt.close()

    def _fitted(self, question: Message) -> tuple[list[int], int]:
        """The prompt, and how many messages it leaves out.

        When the context is full, messages that take half of it are left out at once: each time that
        some are, what is left has to be read anew.
        """
        ids, size = self._ids(self.forgotten, question), self.context_length
        if self.settings.overflow == "stop":
            if len(ids) > size:
                fact = f"the conversation has {len(ids)} tokens and the model's context {size}"
                raise PtirError(f"{fact}; /reset it, or /set overflow slide")
            return ids, self.forgotten
        if len(ids) + min(self.settings.max_tokens, size // 4) <= size:
            return ids, self.forgotten
        starts = range(self.forgotten, len(self.messages), 2)
        fits = bisect_left(starts, -(size // 2), key=lambda start: -len(self._ids(start, question)))
        forgotten = starts[fits] if fits < len(starts) else len(self.messages)
        return self._ids(forgotten, question), forgotten

    def _ids(self, start: int, question: Message) -> list[int]:
        ids = self._prompt.ids([*self.system, *self.messages[start:], question])
        return continued(self._tokenizer, self._seen, ids)

    def _keep(self, question: Message, done: Generation) -> None:
        ended = None if done.finish_reason == "stop" else done.finish_reason
        self.messages += [question, Message("assistant", done.text, ended)]
        self.last = done
        self.totals = Usage(
            self.totals.prompt_tokens + done.usage.prompt_tokens,
            self.totals.cached_tokens + done.usage.cached_tokens,
            self.totals.completion_tokens + done.usage.completion_tokens,
        )

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
