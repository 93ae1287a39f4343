"""Device forms of parameters, kept by key for as long as all that they were made of lives."""

import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, final


@dataclass(frozen=True, eq=False, slots=True)
class _Entry:
    handle: Any
    owners: tuple["weakref.ref[object]", ...]  # alive as long as the entry, to be told of an end


@final
class ParamResolver:
    """A backend's cache of parameter handles, and of forms derived from them, by full key.

    An entry goes when the first of its owners does, so nothing outlives its model.
    """

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def fetch(self, key: Hashable, owners: Sequence[object], make: Callable[[], Any]) -> Any:
        """The handle under `key`; made once, whichever thread asks first.

        The caller holds on to the owners meanwhile. If `make` raises, the next caller tries again.
        """
        found = self._entries.get(key)
        if found is not None:
            return found.handle
        with self._lock:
            turn = self._making.setdefault(key, Lock())
        with turn:  # of this key alone: what is made may stand on other entries
            found = self._entries.get(key)
            if found is None:
                try:
                    found = self._entries[key] = self._entry(key, owners, make())
                finally:
                    with self._lock:
                        self._making.pop(key, None)
        return found.handle

    def find(self, key: Hashable) -> Any | None:
        """The handle under `key`, if there is one."""
        found = self._entries.get(key)
        return None if found is None else found.handle

    def __len__(self) -> int:
        return len(self._entries)

    def _entry(self, key: Hashable, owners: Sequence[object], handle: Any) -> _Entry:
        entries = self._entries

        def drop(owner: object) -> None:
            # Runs wherever an owner ends, perhaps in the middle of `fetch`: it takes no lock.
            entries.pop(key, None)

        return _Entry(handle, tuple(weakref.ref(owner, drop) for owner in owners))
