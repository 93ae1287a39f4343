"""What ran, when and for how long: requests, steps, programs and ops, as a trace and as tables.

Off unless `recording()` is in force. Knows no backend and no model: they tell it what they do.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, get_ident
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Literal, NamedTuple, final

Category = Literal["request", "step", "program", "op"]

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")  # of a block: `blocks.0.attention`
LIMIT = 1_000_000  # events: some hundred megabytes; later ones are counted, not kept


@dataclass(frozen=True, slots=True)
class Event:
    """Something that took time. Nanoseconds are those of `time.perf_counter_ns`.

    The detail of an op says `kernel`, `functional` (or the op's name), `layer`, `bytes` and
    `flops`, that of a step how many `tokens` it took.
    """

    name: str
    category: Category
    start_ns: int
    took_ns: int
    thread: int = field(default_factory=get_ident)
    detail: Mapping[str, Any] = field(default_factory=dict)


class Ceilings(NamedTuple):
    """What a machine can do at most in a second: bytes read, operations of products of `dtype` (a
    multiply-add is two).
    """

    bytes_per_s: float
    flops_per_s: float
    dtype: str = "f32"

    def least_seconds(self, nbytes: float, flops: float) -> float:
        """The time that so much work takes at least."""
        return max(nbytes / self.bytes_per_s, flops / self.flops_per_s)


@final
class Recorder:
    """Events of all threads, up to a limit."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._events: list[Event] = []
        self._lock = Lock()

    def add(self, event: Event) -> None:
        """Keep an event, or count it as dropped when the recorder is full."""
        with self._lock:
            if len(self._events) < self._limit:
                self._events.append(event)
            else:
                self.dropped += 1

    @property
    def events(self) -> list[Event]:
        """What there is by now, in the order in which it ended."""
        with self._lock:
            return list(self._events)


_recorder: Recorder | None = None
_OFF = nullcontext()


def current() -> Recorder | None:
    """The recorder in force, for every thread; None when nothing is recorded."""
    return _recorder


@contextmanager
def recording() -> Iterator[Recorder]:
    """Within the block, what any thread does is recorded. An inner block has its own recorder."""
    global _recorder
    before, made = _recorder, Recorder()
    _recorder = made
    try:
        yield made
    finally:
        _recorder = before


def span(name: str, category: Category, **detail: Any) -> AbstractContextManager[None]:
    """A block that becomes an event, also when it raises; nothing at all when nothing records."""
    recorder = _recorder
    return _OFF if recorder is None else _Span(recorder, name, category, detail)


@final
class _Span(AbstractContextManager[None]):
    def __init__(
        self, recorder: Recorder, name: str, category: Category, detail: Mapping[str, Any]
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._category = category
        self._detail = detail
        self._start = 0

    def __enter__(self) -> None:
        self._start = perf_counter_ns()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took = perf_counter_ns() - self._start
        self._recorder.add(
            Event(self._name, self._category, self._start, took, detail=self._detail)
        )


# --- trace ---


def chrome_trace(recorder: Recorder) -> dict[str, Any]:
    """A trace in the Trace Event Format, which Perfetto and chrome://tracing load.

    One track for each thread, on which events nest by time; times are in microseconds from the
    first event. (Google, "Trace Event Format": complete events, `ph` X.)
    """
    events = sorted(recorder.events, key=lambda e: (e.start_ns, -e.took_ns))
    zero = events[0].start_ns if events else 0
    tracks = {thread: n for n, thread in enumerate(dict.fromkeys(e.thread for e in events), 1)}
    process = os.getpid()
    named = [_named("process_name", "ptir", process, 0)]
    named += [_named("thread_name", f"thread {n}", process, n) for n in tracks.values()]
    shown = [_complete(event, zero, process, tracks[event.thread]) for event in events]
    facts = {"dropped_events": recorder.dropped}
    return {"traceEvents": named + shown, "displayTimeUnit": "ms", "otherData": facts}


def save(recorder: Recorder, file: Path) -> None:
    """Write the trace into a file."""
    file.write_text(json.dumps(chrome_trace(recorder)), encoding="utf-8")


def _named(what: str, name: str, process: int, track: int) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": track, "args": {"name": name}}


def _complete(event: Event, zero: int, process: int, track: int) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": event.name,
        "cat": event.category,
        "ts": (event.start_ns - zero) / 1e3,
        "dur": event.took_ns / 1e3,
        "pid": process,
        "tid": track,
        "args": {name: _plain(value) for name, value in event.detail.items()},
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


# --- tables ---


@dataclass
class _Row:
    """Events of one name, taken together."""

    ns: int = 0
    calls: int = 0
    tokens: int = 0
    nbytes: int = 0
    flops: int = 0

    def note(self, event: Event) -> None:
        detail = event.detail
        self.ns += event.took_ns
        self.calls += 1
        self.tokens += detail.get("tokens", 0)
        self.nbytes += detail.get("bytes", 0)
        self.flops += detail.get("flops", 0)


STEP_HEAD = ("time ms", "calls", "tokens", "tokens/s")
OP_HEAD = ("time ms", "share", "calls", "MB", "GB/s", "GFLOP", "GFLOP/s", "of ceiling")


def table(recorder: Recorder, ceilings: Ceilings | None = None) -> str:
    """What took the time: steps, then ops by kernel, by functional (or op) and by layer, blocks
    that differ in their number taken together.

    An op's share is of the time of all steps; with `ceilings`, its last column is the least time
    that its bytes and flops can take over the time that it took. Where no backend told of its ops,
    whole programs stand in their place.
    """
    events = recorder.events
    whole = sum(e.took_ns for e in events if e.category == "step")
    ops = [e for e in events if e.category == "op"]
    parts = [_steps([e for e in events if e.category == "step"])]
    if ops:
        keys = "kernel", "functional", "layer"
        parts += [_ops(key, _by(ops, key), whole, ceilings) for key in keys]
    else:
        programs = [e for e in events if e.category == "program"]
        parts.append(_ops("program", _by(programs, "name"), whole, ceilings))
    if recorder.dropped:
        parts.append(f"{recorder.dropped} later events were dropped")
    return "\n\n".join(filter(None, parts))


def _steps(events: Sequence[Event]) -> str:
    rows = _by(events, "name")
    cells = {n: (_ms(r.ns), str(r.calls), str(r.tokens), _rate(r.tokens, r.ns)) for n, r in rows}
    return _grid("step", STEP_HEAD, cells)


def _ops(
    title: str, rows: Sequence[tuple[str, _Row]], whole: int, ceilings: Ceilings | None
) -> str:
    told = sum(row.ns for _, row in rows)
    cells = {n: _op_cells(row, whole or told, ceilings) for n, row in rows}
    if whole > told and rows:
        rest = _Row(whole - told)
        cells["(the rest of the steps)"] = _op_cells(rest, whole, None)
    return _grid(title, OP_HEAD, cells)


def _by(events: Sequence[Event], key: str) -> list[tuple[str, _Row]]:
    """Events by what their detail says under a key, else by their names; the longest first."""
    rows: dict[str, _Row] = {}
    for event in events:
        name = NUMBER.sub("*", event.detail.get(key) or event.name)
        rows.setdefault(name, _Row()).note(event)
    return sorted(rows.items(), key=lambda pair: -pair[1].ns)


def _op_cells(row: _Row, whole: int, ceilings: Ceilings | None) -> tuple[str, ...]:
    least = ceilings.least_seconds(row.nbytes, row.flops) if ceilings else 0.0
    return (
        _ms(row.ns),
        _percent(row.ns, whole),
        str(row.calls) if row.calls else "",
        f"{row.nbytes / 1e6:.2f}" if row.nbytes else "",
        _rate(row.nbytes / 1e9, row.ns),
        f"{row.flops / 1e9:.3f}" if row.flops else "",
        _rate(row.flops / 1e9, row.ns),
        _percent(least * 1e9, row.ns) if least else "",
    )


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3f}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _rate(amount: float, ns: int) -> str:
    """So much a second, of what took some time."""
    return f"{amount / ns * 1e9:.1f}" if amount and ns else ""


def _grid(title: str, head: Sequence[str], cells: Mapping[str, Sequence[str]]) -> str:
    """Rows under a head, numbers to the right; the empty string without rows."""
    if not cells:
        return ""
    lines = [(title, *head), *((name, *row) for name, row in cells.items())]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([one[0].ljust(wide[0]), *map(str.rjust, one[1:], wide[1:])]).rstrip()
        for one in lines
    )
