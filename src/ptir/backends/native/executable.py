"""A plan at work: bound to sizes, given memory, run by the library and, where it says so, here."""

from array import array
from collections.abc import Mapping, Sequence
from ctypes import byref, c_int
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter_ns
from typing import Any, NamedTuple, final

import numpy as np

from ptir import ops, profile
from ptir.ir import (
    PARAM,
    Attrs,
    Input,
    Node,
    Op,
    Program,
    SpecError,
    Type,
    bind,
    param,
    rebuild,
)
from ptir.ops.evaluate import Interpreter

from .handle import Array, Handle
from .library import library
from .lower import Lowering, tensors
from .memory import ARENAS, BLOCKS, refuse_excess
from .observe import layers, record
from .plan import Bound, Host, Plan, Span
from .size import value
from .threads import threads
from .view import Buffer, View

SLICE = 0.05  # seconds between two looks at signals: Ctrl-C ends a long run
KEPT_SIZES = 32  # of one symbolic plan: lengths that come back


class Ready(NamedTuple):
    """A plan for known sizes, and where its words lie."""

    bound: Bound
    words: int


@final
@dataclass(frozen=True, slots=True)
class Run:
    """The memory that one run works in."""

    bound: Bound
    arena: Array
    constants: Array
    inputs: Sequence[Handle]
    outputs: Sequence[Handle]

    def array(self, view: View) -> Array:
        """The value of a view as an array on the same memory."""
        symbols, element = self.bound.symbols, view.dtype.numpy
        shape = tuple(value(n, symbols) for n in view.shape)
        if 0 in shape:
            return np.empty(shape, element)
        memory, start = self._memory(view.buffer)
        start += value(view.offset, symbols) * element.itemsize
        strides = [value(s, symbols) * element.itemsize for s in view.strides]
        return np.ndarray(shape, element, memory, start, strides)

    def _memory(self, buffer: Buffer) -> tuple[Any, int]:
        if buffer.place == "arena":
            return self.arena, self.bound.places[buffer]
        if buffer.place == "constant":
            return self.constants, 0
        held = (self.inputs if buffer.place == "input" else self.outputs)[buffer.number]
        return held.array.reshape(-1).view(np.uint8), 0


@final
class Executable:
    """A compiled program; called with handles by input, gives handles by result.

    May be called from several threads at once.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.plan: Plan = Lowering(program).plan()
        self._level = library().level()
        self._run = library().calls.ptir_run
        self._constants = self.plan.constants
        self._constants_at = self._constants.ctypes.data
        places = [view.buffer for view in self.plan.results]
        self._results = [(place.place == "output", place.number) for place in places]
        types = [t for i in program.inputs for t in tensors(i.type)]
        self._symbolic = tuple(slot for slot, t in enumerate(types) if t.symbols)
        self._symbolic_types = tuple(types[slot] for slot in self._symbolic)
        self._ready: dict[tuple[tuple[int, ...], ...], Ready] = {}
        self._hosts: dict[Node, Interpreter] = {}

    @cached_property
    def _layers(self) -> Mapping[int, Sequence[str]]:
        return layers(self.plan, self.program)

    def __call__(self, *handles: Handle) -> list[Handle]:
        bound, words = self._bind(handles)
        outputs = [
            Handle(BLOCKS.take(shape, element, number in bound.zeros))
            for number, (shape, element) in enumerate(bound.outputs)
        ]
        arena = ARENAS.take(bound.arena)
        try:
            addresses = [arena.address, self._constants_at]
            addresses += [h.address for h in handles]
            addresses += [h.address for h in outputs]
            pointers = array("Q", addresses)
            base = pointers.buffer_info()[0]
            run = Run(bound, arena.array, self._constants, handles, outputs)
            for span in self.plan.spans:
                if isinstance(span, Span):
                    self._native(span, words, base, run)
                else:
                    self._host(span, run)
        finally:
            ARENAS.give_back(arena)
        return [(outputs if is_made else handles)[number] for is_made, number in self._results]

    def memory(self, symbols: Mapping[str, int]) -> int:
        """The bytes that one run takes for these sizes, beside inputs and parameters."""
        bound = self.plan.bind(symbols)
        outputs = sum(int(np.prod(s, dtype=np.int64)) * d.itemsize for s, d in bound.outputs)
        return bound.arena + outputs + self._constants.nbytes

    # --- sizes ---

    def _bind(self, handles: Sequence[Handle]) -> Ready:
        key = tuple([handles[slot].shape for slot in self._symbolic])
        ready = self._ready.get(key)
        if ready is None:
            symbols = bind(self._symbolic_types, key, "program")
            self._check(symbols)
            bound = self.plan.bind(symbols)
            for shape, element in bound.outputs:
                refuse_excess(int(np.prod(shape, dtype=np.int64)) * element.itemsize)
            ready = Ready(bound, bound.words.ctypes.data)
            if len(self._ready) >= KEPT_SIZES:
                self._ready.clear()
            self._ready[key] = ready
        return ready

    def _check(self, symbols: Mapping[str, int]) -> None:
        """Hold every type rule against the sizes that are known now; raises `SpecError`."""
        if symbols:
            for op, types, attrs in self._rules:
                op.infer(*[t.substitute(symbols) for t in types], **attrs.substitute(symbols))

    @cached_property
    def _rules(self) -> Sequence[tuple[Op, tuple[Type, ...], Attrs]]:
        """What is left to check once sizes are known: layers ask the same again and again."""
        nodes = (node for program in self.program.nested for node in program.nodes)
        rules = {(n.op, tuple([x.type for x in n.operands]), n.attrs): None for n in nodes}
        known = (PARAM, ops.composite, ops.call)
        return [rule for rule in rules if rule[0] not in known and _is_symbolic(*rule[1:])]

    # --- running ---

    def _native(self, span: Span, words: int, base: int, run: Run) -> None:
        recorder = profile.current()
        if recorder is None:
            self._walk(span, words, base, run, None)
            return
        took = np.zeros(len(span.steps), np.int64)
        begun = perf_counter_ns()
        self._walk(span, words, base, run, took)
        names = self._layers[span.start]
        record(recorder, span.steps, names, took.tolist(), begun, run.bound.symbols)

    def _walk(self, span: Span, words: int, base: int, run: Run, took: Array | None) -> None:
        """Run the words of a span; comes back to Python now and then, where signals are seen."""
        code = c_int()
        at = span.start
        times = None if took is None else took.ctypes.data
        slice_s = SLICE if took is None else 0.0  # times are those of one walk
        while at < span.end:
            at = self._run(
                self._level, words, span.end, at, base, threads(), slice_s, times, byref(code)
            )
            if code.value:
                self._fail(span, at, code.value, run)

    def _fail(self, span: Span, at: int, code: int, run: Run) -> None:
        """Raise what the reference raises for the call that gave a code."""
        if code < 0:
            raise MemoryError("the native library got no memory for its threads")
        place, steps = span.start, iter(span.steps)
        call = next(steps)
        while place < at:
            place += 2 + int(run.bound.words[place + 1])
            call = next(steps)
        if call.node is not None:
            self._meaning(call.node, call.operands, run)
        raise SpecError("native", call.kernel, "the kernel refused what the reference takes")

    def _host(self, step: Host, run: Run) -> None:
        with profile.span("reference", "op", kernel="reference", functional=step.node.op.name):
            made = self._meaning(step.node, step.operands, run)
            for view, result in zip(step.results, _arrays(made), strict=True):
                np.copyto(run.array(view), result, casting="no")

    def _meaning(self, node: Node, operands: tuple[Any, ...], run: Run) -> Any:
        """The NumPy meaning of a node on values that lie in the memory of a run."""
        known = self._hosts.get(node)
        if known is None:
            known = self._hosts[node] = Interpreter(_alone(node))
        (made,) = known([_read(x, run) for x in operands], run.bound.symbols)
        return made


def _alone(node: Node) -> Program:
    """A node as a program of its operands."""
    operands = tuple(param(slot, x.type) for slot, x in enumerate(node.operands))
    return Program(tuple(Input(x.type) for x in node.operands), (rebuild(node, operands),))


def _is_symbolic(types: Sequence[Type], attrs: Attrs) -> bool:
    return bool(attrs.symbols or any(t.symbols for t in types))


def _read(operand: Any, run: Run) -> Any:
    """The value of a view, or of a tuple of them."""
    if isinstance(operand, tuple):
        return tuple(_read(x, run) for x in operand)
    return run.array(operand)


def _arrays(value: Any) -> list[Array]:
    return [x for item in value for x in _arrays(item)] if isinstance(value, tuple) else [value]
