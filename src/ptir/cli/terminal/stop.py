"""Ctrl-C that ends a piece of work well. Knows nothing of the work."""

import signal
from types import FrameType
from typing import final

GRACE = 0.25  # seconds


@final
class Stop:
    """A block in which Ctrl-C is noted, and raised as KeyboardInterrupt where the work looks.

    So work that looks between its steps is not torn out of one, which would cost it its caches. If
    it does not look for a moment, or never, KeyboardInterrupt is raised wherever it is. Ctrl-C once
    more does nothing, so that what the first one ends can be put in order.
    """

    def __init__(self) -> None:
        self._is_noted = False

    def look(self) -> None:
        """Raise KeyboardInterrupt if there was Ctrl-C."""
        if self._is_noted:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._is_noted = False
            raise KeyboardInterrupt

    def __enter__(self) -> "Stop":
        self._before = [(n, signal.getsignal(n)) for n in (signal.SIGALRM, signal.SIGINT)]
        signal.signal(signal.SIGALRM, self._tear)
        if self._before[-1][1] != signal.SIG_IGN:  # whoever started us wants no Ctrl-C
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before:
            signal.signal(number, handler)
        self.look()

    def _note(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._is_noted = True
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _tear(self, number: int, frame: FrameType | None) -> None:
        self.look()
