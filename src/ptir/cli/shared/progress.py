"""Bars on stderr, if that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
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
    begun: tuple[float, int] | None = None
    shown: Any = None
    lock, is_over = Lock(), False  # requests may tell from threads of their own

    def tell(done: int, total: int) -> None:
        nonlocal begun, shown
        with lock:
            if is_over:
                return
            if shown is not None and (done < shown.n or total != shown.total):
                end()  # what was begun before did not come to its end
            begun = begun or (monotonic(), done)
            if shown is None and monotonic() - begun[0] >= after:
                # Its import takes as long as a short command.
                shown = import_module("tqdm").tqdm(total=total, initial=begun[1], **style)
                shown.start_t -= monotonic() - begun[0]
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
        with lock:
            is_over = True
            end()
