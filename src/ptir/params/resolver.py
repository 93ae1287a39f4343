"""Device forms of parameters, kept by key for as long as the parameter itself lives."""

import weakref
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Any, final


@final
class ParamResolver:
    """A backend's cache of parameter handles (and forms derived from them) by stable key.

    An entry goes when the owner that it was made for does, so nothing outlives its model.
    """

    def __init__(self) -> None:
        self._handles: dict[Hashable, Any] = {}
        self._lock = RLock()

    def fetch(self, key: Hashable, owner: object, make: Callable[[], Any]) -> Any:
        """The handle under `key`; made once, whichever thread asks first."""
        with self._lock:
            if key not in self._handles:
                self._handles[key] = make()
                weakref.finalize(owner, self._handles.pop, key, None)
            return self._handles[key]

    def __len__(self) -> int:
        return len(self._handles)
