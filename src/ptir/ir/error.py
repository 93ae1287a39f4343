"""What is said when a program breaks a rule: a stable code, the op, what came and the way out."""

from collections.abc import Iterable
from difflib import get_close_matches


class PtirError(Exception):
    """Any error that ptir raises on purpose."""


class SpecError(PtirError, ValueError):
    """A program or a call that breaks the PTIR contract.

    `code` is stable across versions (`shape`, `dtype`, `attribute`, …); `op` names the op or
    functional that refused; the message says what came, what was wanted, and the way out.
    """

    def __init__(self, code: str, op: str, message: str) -> None:
        super().__init__(f"{op}: {message} [{code}]")
        self.code = code
        self.op = op
        self.message = message

    def __reduce__(self) -> tuple[type["SpecError"], tuple[str, str, str]]:
        return SpecError, (self.code, self.op, self.message)


class LocatedError(SpecError):
    """A `SpecError` whose message begins with the place where a reader met it."""


def located(error: SpecError, place: str) -> LocatedError:
    """The same error, beginning with `place` unless it has its own."""
    if isinstance(error, LocatedError):
        return error
    return LocatedError(error.code, error.op, f"{place}: {error.message}")


def nearest(word: str, known: Iterable[str]) -> str:
    """The tail of an error message: the nearest known spelling, or all of them when none is
    near.
    """
    known = sorted(known)
    close = get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; have {', '.join(known)}" if known else ""
