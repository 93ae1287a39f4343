"""Bars on stderr, if that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from time import monotonic
from typing import Any

Told = Callable[[int, int], None]


@contextmanager
def bar(after: float = 0.0, **style: Any) -> Iterator[Told]:
    """What is to be told how much is done, of how much. It shows a bar in the style of tqdm from
    `after` seconds behind the first of this until all is done; what is told then begins another.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    begun: float | None = None
    shown: Any = None

    def tell(done: int, total: int) -> None:
        nonlocal begun, shown
        if begun is None:
            begun = monotonic()
        if shown is None and monotonic() - begun >= after:
            # Its import takes as long as a short command.
            shown = import_module("tqdm").tqdm(total=total, **style)
        if shown is not None:
            shown.update(done - shown.n)
        if done >= total:
            end()

    def end() -> None:
        nonlocal begun, shown
        if shown is not None:
            shown.close()
        begun = shown = None

    try:
        yield tell
    finally:
        end()
