"""A plan: calls of kernels in order, over buffers whose places are decided for known sizes.

Knows no op, but for those that run on the host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from struct import pack, unpack
from typing import Any, final

import numpy as np

from ptir.ir import Node

from .library import library
from .size import Extent, Polynomial, value
from .view import Buffer, View

ALIGNMENT = 64  # bytes; a cache line

Part = View | Polynomial | int | float
"""What stands in the words of a call; a float stands as the bits of an f64."""


@final
@dataclass(frozen=True, eq=False)
class Call:
    """One kernel on its parts, for the sake of `node`."""

    kernel: str
    parts: tuple[Part, ...]
    node: Node | None = None  # what the reference is asked about when the kernel refuses
    operands: tuple[Any, ...] = ()

    @property
    def views(self) -> tuple[View, ...]:
        return tuple(part for part in self.parts if isinstance(part, View))

    def written(self, names: Mapping[Buffer, str]) -> str:
        return f"{self.kernel} {', '.join(_written(part, names) for part in self.parts)}"


@final
@dataclass(frozen=True, eq=False)
class Host:
    """A node that runs as its NumPy meaning, on the host."""

    node: Node
    operands: tuple[Any, ...]  # views, or tuples of them
    results: tuple[View, ...]

    @property
    def views(self) -> tuple[View, ...]:
        return (*leaves(self.operands), *self.results)

    def written(self, names: Mapping[Buffer, str]) -> str:
        parts = ", ".join(_written(view, names) for view in self.views)
        return f"reference.{self.node.op.name} {parts}"


Step = Call | Host


@final
@dataclass(frozen=True)
class Span:
    """Words that run in one go."""

    start: int
    end: int
    steps: tuple[Call, ...]


@final
@dataclass(frozen=True, eq=False)
class Bound:
    """A plan for known sizes."""

    symbols: Mapping[str, int]
    words: np.ndarray[Any, Any]
    arena: int  # bytes
    places: Mapping[Buffer, int]  # of buffers in the arena
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    zeros: frozenset[int]


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """Steps over buffers. Base pointers are: the arena, the constants, inputs, then outputs."""

    steps: tuple[Step, ...]
    results: tuple[View, ...]
    inputs: int
    outputs: tuple[View, ...]
    zeros: frozenset[int]  # of the outputs, those that are zeros before anything runs
    constants: np.ndarray[Any, Any]  # bytes
    _template: "_Template" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_template", _Template.of(self.steps, self.inputs))

    @property
    def spans(self) -> "tuple[Span | Host, ...]":
        return self._template.spans

    @cached_property
    def _lives(self) -> dict[Buffer, tuple[int, int]]:
        """The first and last step that uses each buffer of the arena."""
        lives: dict[Buffer, tuple[int, int]] = {}
        for number, step in enumerate(self.steps):
            for view in step.views:
                if view.buffer.place == "arena":
                    first, _ = lives.get(view.buffer, (number, number))
                    lives[view.buffer] = first, number
        return lives

    def bind(self, symbols: Mapping[str, int]) -> Bound:
        """The plan for these values of its symbols: words filled in, buffers placed."""
        sizes = {buffer: value(buffer.nbytes, symbols) for buffer in self._lives}
        places, arena = _place(self._lives, sizes)
        words = self._template.fill(symbols, places)
        outputs = tuple(
            (tuple(value(n, symbols) for n in view.shape), view.dtype.numpy)
            for view in self.outputs
        )
        return Bound(symbols, words, arena, places, outputs, self.zeros)

    def __str__(self) -> str:
        names = {buffer: f"b{number}" for number, buffer in enumerate(self._lives)}
        return "".join(f"{n:4} {step.written(names)}\n" for n, step in enumerate(self.steps))


@dataclass(frozen=True)
class _Template:
    """The words of all calls, with holes for what depends on sizes and places."""

    words: np.ndarray[Any, Any]
    sizes: tuple[tuple[int, Polynomial], ...]
    places: tuple[tuple[int, Buffer], ...]  # words that the place of a buffer is added to
    spans: "tuple[Span | Host, ...]"

    @staticmethod
    def of(steps: Sequence[Step], inputs: int) -> "_Template":
        made = _Writer(inputs)
        spans: list[Span | Host] = []
        run: list[Call] = []
        start = 0
        for step in (*steps, None):
            if isinstance(step, Call):
                made.call(step)
                run.append(step)
                continue
            if run:
                spans.append(Span(start, len(made.words), tuple(run)))
                run, start = [], len(made.words)
            if step is not None:
                spans.append(step)
        words = np.array(made.words, np.int64)
        return _Template(words, tuple(made.sizes), tuple(made.places), tuple(spans))

    def fill(
        self, symbols: Mapping[str, int], places: Mapping[Buffer, int]
    ) -> np.ndarray[Any, Any]:
        words = self.words.copy()
        for at, size in self.sizes:
            words[at] = size.at(symbols)
        for at, buffer in self.places:
            words[at] += places[buffer]
        return words


class _Writer:
    """Writes calls as words."""

    def __init__(self, inputs: int) -> None:
        self.words: list[int] = []
        self.sizes: list[tuple[int, Polynomial]] = []
        self.places: list[tuple[int, Buffer]] = []
        self._first = {"arena": 0, "constant": 1, "input": 2, "output": 2 + inputs}
        self._kernels, self._dtypes = library().kernels, library().dtypes

    def call(self, call: Call) -> None:
        self.words += [self._kernels[call.kernel], 0]
        start = len(self.words)
        for part in call.parts:
            if isinstance(part, View):
                self._view(part)
            else:
                self._number(part)
        self.words[start - 1] = len(self.words) - start

    def _view(self, view: View) -> None:
        buffer = view.buffer
        self.words.append(self._first[buffer.place] + buffer.number)
        if buffer.place == "arena":
            self.places.append((len(self.words), buffer))
        self._number(view.offset * view.dtype.numpy.itemsize)
        self.words += [self._dtypes[view.dtype.name], view.rank]
        for number in (*view.shape, *view.strides):
            self._number(number)

    def _number(self, number: Extent | float) -> None:
        if isinstance(number, Polynomial):
            self.sizes.append((len(self.words), number))
            number = 0
        elif isinstance(number, float):
            number = int(unpack("q", pack("d", number))[0])
        self.words.append(number)


def _place(
    lives: Mapping[Buffer, tuple[int, int]], sizes: Mapping[Buffer, int]
) -> tuple[dict[Buffer, int], int]:
    """Places in one arena such that what lives at once does not overlap; and the arena's size.

    The largest are placed first, each at the lowest gap that fits.
    """
    placed: list[tuple[int, int, int, int]] = []  # start, end in bytes; first, last step
    places: dict[Buffer, int] = {}
    for buffer in sorted(lives, key=lambda b: (-sizes[b], lives[b])):
        first, last = lives[buffer]
        size = -(-sizes[buffer] // ALIGNMENT) * ALIGNMENT
        at = 0
        for start, end, begun, done in sorted(placed):
            if begun <= last and first <= done:
                if start - at >= size:
                    break
                at = max(at, end)
        places[buffer] = at
        if size:
            placed.append((at, at + size, first, last))
    return places, max((end for _, end, _, _ in placed), default=0)


def leaves(value: Any) -> list[View]:
    """The views in a view or in nested tuples of them."""
    return [x for item in value for x in leaves(item)] if isinstance(value, tuple) else [value]


def _written(part: Part, names: Mapping[Buffer, str]) -> str:
    """A tensor as where it lies and its type; numbers as they are."""
    if not isinstance(part, View):
        return str(part)
    buffer = part.buffer
    where = {"input": f"in{buffer.number}", "output": f"out{buffer.number}", "constant": "const"}
    shape = ", ".join(map(str, part.shape))
    return f"{where.get(buffer.place) or names[buffer]}:{part.dtype}[{shape}]"
