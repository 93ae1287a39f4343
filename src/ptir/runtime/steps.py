"""The compiled steps of a causal language model: traced once, replayed for each chunk of tokens.

Knows no text and no sequence.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, ParamSpec, final

import numpy as np

from ptir import compiled, engine, profile
from ptir.engine import Plan
from ptir.functional import FunctionalRegistry
from ptir.models import CausalLM, ModelError
from ptir.nn import KVCache
from ptir.tensor import Tensor, as_tensor

Step = Literal["prefill", "decode", "score"]
P = ParamSpec("P")
Array = np.ndarray[Any, Any]

AS_THEY_ARE = FunctionalRegistry()
SHOWN_CAPACITY = 64  # of the cache in a plan that is only looked at; the plan serves every one


class Compiled(NamedTuple):
    """One model and the steps compiled for it."""

    model: CausalLM
    check: Callable[[], None]
    prefill: compiled.Compiled[[Tensor, KVCache, Tensor], tuple[Tensor, KVCache]]
    decode: compiled.Compiled[[Tensor, KVCache, Tensor], tuple[Tensor, KVCache]]
    score: compiled.Compiled[[Tensor], Tensor]


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
        """f32 logits [vocab] behind `ids`, which stand behind `past` positions of the cache.

        The cache is donated: go on with the one returned.
        """
        at_work = self._open()
        name = "decode" if len(ids) == 1 else "prefill"
        step = at_work.decode if name == "decode" else at_work.prefill
        noted = profile.span(name, "step", tokens=len(ids), past=past)
        with noted, self._functionals.installed():
            logits, cache = step(_array([ids]), cache, _array([past]))
            return _first(logits), cache

    def score(self, ids: Sequence[int]) -> Array:
        """f32 logits [T, vocab] behind each of `ids`."""
        at_work = self._open()
        noted = profile.span("score", "step", tokens=len(ids))
        with noted, self._functionals.installed():
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

    def _open(self) -> Compiled:
        if self._compiled is None:
            raise ModelError("the model is closed; load it again")
        self._compiled.check()
        return self._compiled


def _compile(model: CausalLM, check: Callable[[], None], backend: str) -> Compiled:
    def advance(ids: Tensor, cache: KVCache, past: Tensor) -> tuple[Tensor, KVCache]:
        hidden, new = model.hidden(ids, cache, past)
        return model.logits(hidden[:, -1]), cache if new is None else new

    def score(ids: Tensor) -> Tensor:
        return model.logits(model.hidden(ids)[0])

    tokens, capacity = {1: "T"}, {4: "C"}
    return Compiled(
        model,
        check,
        prefill=compiled.compile(
            advance, state=["cache"], symbolic={"ids": tokens, "cache": capacity}, backend=backend
        ),
        decode=compiled.compile(
            advance, state=["cache"], symbolic={"cache": capacity}, backend=backend
        ),
        score=compiled.compile(score, symbolic={"ids": tokens}, backend=backend),
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
