"""The plan cache: compiled programs by their full key, bounded, each miss with its reason in
words.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from .plan import Plan, PlanKey
from .reason import explain_miss

KEPT_REASONS = 1000


@dataclass
class Stats:
    """Counters since the start or the last `clear`."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    reasons: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_REASONS))


class PlanCache:
    """Least recently used plans go first. One thread compiles a key while others wait for it."""

    def __init__(self) -> None:
        self._plans: OrderedDict[PlanKey, Plan] = OrderedDict()
        self._evicted: OrderedDict[PlanKey, None] = OrderedDict()
        self._compiling: dict[PlanKey, Lock] = {}
        self._lock = Lock()
        self.stats = Stats()

    def fetch(
        self, key: PlanKey, capacity: int, compile: Callable[[PlanKey, str], Plan]
    ) -> tuple[Plan, bool]:
        """The plan of `key`, and whether it was there already."""
        found = self._hit(key)
        if found is not None:
            return found, True
        with self._lock:
            turn = self._compiling.setdefault(key, Lock())
        with turn:
            found = self._hit(key)
            if found is not None:
                return found, True
            try:
                plan = compile(key, self.reason(key))
                self._insert(plan, capacity)
            finally:
                with self._lock:
                    self._compiling.pop(key, None)
        return plan, False

    def clear(self) -> None:
        """Forget all plans and counters."""
        with self._lock:
            self._plans.clear()
            self._evicted.clear()
            self.stats = Stats()

    def __len__(self) -> int:
        return len(self._plans)

    def _hit(self, key: PlanKey) -> Plan | None:
        with self._lock:
            found = self._plans.get(key)
            if found is not None:
                self._plans.move_to_end(key)
                self.stats.hits += 1
            return found

    def reason(self, key: PlanKey) -> str:
        """Why the cache has no plan of `key`, in words; the empty string if it has one."""
        with self._lock:
            if key in self._plans:
                return ""
            if key in self._evicted:
                return "evicted: it was compiled before, but the cache was full"
            known = list(self._plans)
        return explain_miss(key, reversed(known))

    def _insert(self, plan: Plan, capacity: int) -> None:
        with self._lock:
            self.stats.misses += 1
            self.stats.reasons.append(plan.reason)
            self._evicted.pop(plan.key, None)
            self._plans[plan.key] = plan
            while len(self._plans) > capacity:
                old, _ = self._plans.popitem(last=False)
                self._evicted[old] = None
                self.stats.evictions += 1
            while len(self._evicted) > capacity:
                self._evicted.popitem(last=False)
