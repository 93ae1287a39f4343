"""Which requests the next step serves. Knows no model, no cache and no tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .session import PREFILL_CHUNK


@dataclass(frozen=True)
class Limits:
    """Of one batcher: requests that decode side by side, tokens of a prompt that run as one step,
    and caches of finished requests that are kept for prompts which begin the same.

    A chunk bounds how long those that decode wait for a prompt. It is the same however many there
    are, so that a request's numbers do not depend on its company.
    """

    batch: int = 8
    chunk: int = PREFILL_CHUNK
    kept: int = 4

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("chunk", 1), ("kept", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}, wanted a whole number from {least} up")


class Waiting(Protocol):
    """What is to be known of a request whose prompt is not read."""

    past: int

    @property
    def length(self) -> int: ...


R = TypeVar("R", bound=Waiting)


@dataclass(frozen=True)
class Turn(Generic[R]):
    """What one turn does: a chunk of a prompt, then a token for each request that decodes."""

    prompt: R | None
    tokens: int
    decodes: bool


def next_turn(waiting: Sequence[R], running: int, limits: Limits) -> Turn[R]:
    """The first that waits reads its prompt on, if it will have a place among those running.

    So prompts are read in the order in which they came, one chunk in a turn, and every request
    that runs gets a token in every turn.
    """
    if not waiting or running >= limits.batch:
        return Turn(None, 0, running > 0)
    first = waiting[0]
    return Turn(first, min(first.length - first.past, limits.chunk), running > 0)
