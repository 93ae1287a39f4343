"""Caches of requests that have finished, for prompts that begin the same. Knows no model."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import final

from ptir.nn import KVCache

from .request import shared_prefix

LEAST = 16  # tokens: below, reading them again is cheaper than looking for them


@dataclass(frozen=True, eq=False)
class Kept:
    """The cache of some tokens, of one sequence."""

    ids: tuple[int, ...]
    cache: KVCache


@final
class Prefixes:
    """The last few caches, the one used longest ago first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[int, ...], Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, kept: Kept) -> None:
        """Keep a cache in the place of those whose tokens it begins with."""
        for ids in [ids for ids in self._kept if shared_prefix(ids, kept.ids) == len(ids)]:
            del self._kept[ids]
        self._kept[kept.ids] = kept
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def longest(self, ids: list[int]) -> tuple[Kept | None, int]:
        """The cache that begins with most of these tokens, and with how many."""
        best, most = None, 0
        for kept in self._kept.values():
            shared = shared_prefix(kept.ids, ids)
            if shared > most:
                best, most = kept, shared
        return best, most

    def take(self, kept: Kept) -> Kept:
        """A cache, which its user changes: it is not kept any longer."""
        return self._kept.pop(kept.ids)

    def clear(self) -> None:
        self._kept.clear()
