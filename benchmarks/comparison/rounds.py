"""Rounds in which each peer does each work once, one after the other, and what came of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import numpy as np

from benchmarks import ceilings
from benchmarks.weights import Array

from .worker import PeerError, Setting, Worker, first_token, running

OURS = "ptir"


class Work(NamedTuple):
    """Something that a peer is asked for."""

    do: str
    batch: int
    tokens: int

    @property
    def name(self) -> str:
        return f"{self.do} {self.tokens}" + (f", batch {self.batch}" if self.batch > 1 else "")


@dataclass
class Group:
    """What was measured at one element type and one number of threads.

    `rates` are tokens a second of each round, by work and peer; a peer that fell out is in
    `missing`. `ceilings` are of the same rounds. `differs` is the largest difference of a peer's
    logits from ours, as a part of the largest of ours.
    """

    dtype: str
    threads: int
    rates: dict[Work, dict[str, list[float]]] = field(default_factory=dict)
    ceilings: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    differs: dict[str, float] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)  # cores that they kept busy, at each round

    def ratios(self, work: Work, peer: str) -> list[float]:
        """Our rate over the peer's, round by round."""
        rates = self.rates[work]
        return [a / b for a, b in zip(rates.get(OURS, []), rates[peer], strict=False)]


@dataclass
class Cold:
    """Starts of processes: seconds to the first token and peak bytes, by peer."""

    dtype: str
    threads: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: dict[str, list[int]] = field(default_factory=dict)


def compare(settings: Sequence[Setting], works: Sequence[Work], rounds: int) -> Group:
    """All settings have one element type and one number of threads."""
    group = Group(settings[0].dtype, settings[0].threads, {work: {} for work in works})
    with ExitStack() as stack:
        workers, logits = {}, {}
        for setting in settings:
            with _leaving(group, setting.peer):
                worker = stack.enter_context(running(setting, "serve"))
                logits[setting.peer] = _warm(worker, works)
                workers[setting.peer] = worker
        group.differs = _differences(logits)
        for number in range(rounds):
            _round(group, workers, works, number)
    return group


def _warm(worker: Worker, works: Sequence[Work]) -> Array:
    """Each work once: that compiles, packs and touches the weights. The logits are returned."""
    worker.answer()
    logits = np.array(worker.ask("logits")["logits"])
    for work in works:
        worker.ask(**work._asdict())
    return logits


def _round(group: Group, workers: dict[str, Worker], works: Sequence[Work], number: int) -> None:
    """Who begins changes from round to round: being first or last shall favour nobody."""
    group.others.append(ceilings.busy_cores())
    _measure_ceilings(group)
    names = list(workers)
    at = number % max(len(names), 1)
    for work, peer in product(works, names[at:] + names[:at]):
        if peer in group.missing:
            continue
        with _leaving(group, peer):
            seconds = workers[peer].ask(**work._asdict())["seconds"]
            rate = work.batch * work.tokens / seconds
            group.rates[work].setdefault(peer, []).append(rate)


@contextmanager
def _leaving(group: Group, peer: str) -> Iterator[None]:
    """A peer that fails is out of the comparison; the others go on."""
    try:
        yield
    except PeerError as error:
        group.missing[peer] = str(error)


def _measure_ceilings(group: Group) -> None:
    found = {
        "read": ceilings.bandwidth(group.threads),
        "multiply-adds": ceilings.multiply_adds(group.threads),
        "product f32": ceilings.product(group.threads, "f32"),
    }
    if group.dtype != "f32":
        name = f"product {group.dtype}"
        found[name] = ceilings.product(group.threads, group.dtype)
    for name, value in found.items():
        if value is not None:
            group.ceilings.setdefault(name, []).append(value)


def _differences(logits: Mapping[str, Array]) -> dict[str, float]:
    if OURS not in logits:
        return {}
    ours = logits[OURS]
    largest = np.abs(ours).max()
    far = {peer: np.abs(theirs - ours).max() / largest for peer, theirs in logits.items()}
    return {peer: float(by) for peer, by in far.items() if peer != OURS}


def starts(settings: Sequence[Setting], rounds: int) -> Cold:
    """Each peer's process started anew in each round."""
    cold = Cold(settings[0].dtype, settings[0].threads)
    for _, setting in product(range(rounds), settings):
        seconds, peak = first_token(setting)
        cold.seconds.setdefault(setting.peer, []).append(seconds)
        cold.peak_bytes.setdefault(setting.peer, []).append(peak)
    return cold
