"""The compiled steps of a causal language model: traced once, replayed for each chunk of tokens.

Knows no text and no sequence.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, ParamSpec, final

import numpy as np

from ptir import compiled, engine, ops, profile
from ptir.engine import Plan
from ptir.functional import FunctionalRegistry
from ptir.models import CausalLM, ModelError
from ptir.nn import KVCache
from ptir.tensor import Tensor, as_tensor

Step = Literal["prefill", "decode", "score"]
P = ParamSpec("P")
Array = np.ndarray[Any, Any]

AS_THEY_ARE = FunctionalRegistry()
CLOSED = "the model is closed; load it again"
SHOWN_CAPACITY = 64  # of the cache in a plan that is only looked at; the plan serves every one


class Compiled(NamedTuple):
    """One model and the steps compiled for it."""

    model: CausalLM
    check: Callable[[], None]
    prefill: compiled.Compiled[[Tensor, KVCache, Tensor], tuple[Tensor, KVCache]]
    decode: compiled.Compiled[[Tensor, KVCache, Tensor], tuple[Tensor, KVCache]]
    every: compiled.Compiled[[Tensor, KVCache, Tensor], tuple[Tensor, KVCache]]
    score: compiled.Compiled[[Tensor], Tensor]
    take_row: compiled.Compiled[[KVCache, Tensor], KVCache]
    put_row: compiled.Compiled[[KVCache, Tensor, KVCache], KVCache]


@final
class Steps:
    """Prefill (any number of tokens), decode (one) and score (a whole sequence without a cache).

    `check` raises when the weights can no longer be read as they were opened. Every method raises
    `ModelError` once this is closed.
    """

    def __init__(
        self,
        model: CausalLM,
        backend: str,
        check: Callable[[], None],
        functionals: FunctionalRegistry = AS_THEY_ARE,
    ) -> None:
        self.context_length = model.context_length
        self.vocab_size = model.vocab_size
        self._functionals = functionals  # in force around each step
        self._compiled: Compiled | None = _compile(model, check, backend)

    def cache(self, capacity: int) -> KVCache:
        """An empty cache of one sequence."""
        return self._open().model.cache(1, capacity)

    def advance(self, ids: Sequence[int], cache: KVCache, past: int) -> tuple[Array, KVCache]:
        """f32 logits [vocab] behind `ids`, which stand behind `past` positions of the cache's first
        row.

        The cache is donated: go on with the one returned.
        """
        if len(ids) == 1:
            logits, cache = self.decode(ids, cache, [past])
            return logits[0], cache
        at_work = self._open()
        with self._noted("prefill", tokens=len(ids), past=past):
            logits, cache = at_work.prefill(_array([ids]), cache, _array([past]))
            return _first(logits), cache

    def every(self, ids: Sequence[int], cache: KVCache, past: int) -> tuple[Array, KVCache]:
        """As `advance`, with logits [T, vocab] behind each of the ids."""
        at_work = self._open()
        with self._noted("prefill", tokens=len(ids), past=past):
            logits, cache = at_work.every(_array([ids]), cache, _array([past]))
            return _first(logits), cache

    def decode(
        self, ids: Sequence[int], cache: KVCache, past: Sequence[int]
    ) -> tuple[Array, KVCache]:
        """f32 logits [B, vocab] behind one token of each of the cache's first B sequences.

        The cache is donated: go on with the one returned.
        """
        at_work = self._open()
        with self._noted("decode", tokens=len(ids), past=sum(past)):
            logits, cache = at_work.decode(_array([[i] for i in ids]), cache, _array(past))
            return logits.numpy(), cache

    def take_row(self, cache: KVCache, row: int) -> KVCache:
        """A copy of one row of a cache, as a cache of one sequence."""
        found: KVCache = self._open().take_row(cache, _array([0, 0, row, 0, 0, 0]))
        return found

    def put_row(self, cache: KVCache, row: int, new: KVCache) -> KVCache:
        """The cache, which is donated, with `new` of one sequence for a row.

        They have the same capacity.
        """
        changed: KVCache = self._open().put_row(new, _array([0, 0, row, 0, 0, 0]), cache)
        return changed

    def score(self, ids: Sequence[int]) -> Array:
        """f32 logits [T, vocab] behind each of `ids`."""
        at_work = self._open()
        with self._noted("score", tokens=len(ids)):
            return _first(at_work.score(_array([ids])))

    def plan(self, step: Step, batch: int = 1) -> Plan:
        """The plan of a step on so many sequences side by side. Nothing is run and no weight is
        read.
        """
        at_work = self._open()
        one, two = _tensor([[0]] * batch), _tensor([[0, 0]] * batch)
        with self._functionals.installed():
            if step == "score":
                return _plan(at_work.score, two)
            past = _tensor([0] * batch)
            cache = at_work.model.cache(batch, min(SHOWN_CAPACITY, self.context_length))
            if step == "decode":
                return _plan(at_work.decode, one, cache, past)
            return _plan(at_work.prefill, two, cache, past)

    def close(self) -> None:
        """Let go of the model and of everything compiled for it."""
        self._compiled = None

    @contextmanager
    def _noted(self, step: str, **facts: int) -> Iterator[None]:
        """Around a step: the functionals in force, and its place in a profile."""
        with profile.span(step, "step", **facts), self._functionals.installed():
            yield

    def _open(self) -> Compiled:
        if self._compiled is None:
            raise ModelError(CLOSED)
        self._compiled.check()
        return self._compiled


def _compile(model: CausalLM, check: Callable[[], None], backend: str) -> Compiled:
    def every(ids: Tensor, cache: KVCache, past: Tensor) -> tuple[Tensor, KVCache]:
        hidden, new = model.hidden(ids, cache, past)
        return model.logits(hidden), cache if new is None else new

    def advance(ids: Tensor, cache: KVCache, past: Tensor) -> tuple[Tensor, KVCache]:
        hidden, new = model.hidden(ids, cache, past)
        return model.logits(hidden[:, -1]), cache if new is None else new

    def score(ids: Tensor) -> Tensor:
        return model.logits(model.hidden(ids)[0])

    def take_row(cache: KVCache, start: Tensor) -> KVCache:
        layers, two, _, *rest = cache.data.shape
        return KVCache(ops.dynamic_slice(cache.data, start, sizes=(layers, two, 1, *rest)))

    def put_row(new: KVCache, start: Tensor, cache: KVCache) -> KVCache:
        return KVCache(ops.dynamic_update_slice(cache.data, new.data, start))

    tokens, rows = {1: "T"}, {2: "S", 4: "C"}
    prefill = {"ids": tokens, "cache": {4: "C"}}
    decode = {"ids": {0: "B"}, "cache": rows, "past": {0: "B"}}
    make = functools.partial(compiled.compile, backend=backend)
    return Compiled(
        model,
        check,
        prefill=make(advance, state=["cache"], symbolic=prefill),
        decode=make(advance, state=["cache"], symbolic=decode),
        every=make(every, state=["cache"], symbolic=prefill),
        score=make(score, symbolic={"ids": tokens}),
        take_row=make(take_row, symbolic={"cache": rows}),
        put_row=make(put_row, state=["cache"], symbolic={"cache": rows, "new": {4: "C"}}),
    )


def _plan(step: compiled.Compiled[P, Any], *args: P.args, **kwargs: P.kwargs) -> Plan:
    """The plan of a call. The step is not bound to it, which would read the weights."""
    return engine.plan_of(step.trace(*args, **kwargs).program, step.backend)[0]


def _array(numbers: Sequence[int] | Sequence[Sequence[int]]) -> Array:
    return np.array(numbers, np.int32)


def _tensor(numbers: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
    return as_tensor(_array(numbers))


def _first(batch: Tensor) -> Array:
    row: Array = batch.numpy()[0]
    return row
