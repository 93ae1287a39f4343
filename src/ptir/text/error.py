"""What is said when text cannot become ids, a prompt or a stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from ptir.ir.error import PtirError

Reason = Literal[
    "syntax", "raised", "undefined", "security", "failed", "time", "memory", "output", "lost",
    "request", "special",
]  # fmt: skip


class TokenizerError(PtirError):
    """A tokenizer file that cannot be used, or a text or an id that a tokenizer cannot take."""


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Makes a TokenizerError, beginning with `what`, of what the `tokenizers` library raises.

    That is plain Exception, and for a panic in its Rust code a BaseException of its own.
    """
    try:
        yield
    except (TokenizerError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise TokenizerError(f"{what}: {str(error)[:300]}") from error


class StopError(PtirError, ValueError):
    """Stop strings that cannot stop anything."""


class ChatError(PtirError):
    """Messages that could not be made a prompt.

    `reason` is stable: the template is wrong (`syntax`), refused the messages itself (`raised`),
    used what is not there (`undefined`), reached for what it may not have (`security`) or failed
    otherwise (`failed`); it took too much `time`, `memory` or `output`; its process was `lost`; the
    `request` is none that a template can take; or its text would become a `special` token.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"chat template: {message}")
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[type["ChatError"], tuple[Reason, str]]:
        return ChatError, (self.reason, self.message)
