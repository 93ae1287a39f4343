"""What the kernels of a run took, told to whoever records: time, bytes and operations of each."""

from collections.abc import Mapping, Sequence
from typing import Any

from ptir import ops
from ptir.ir import PARAM, Node, Program
from ptir.profile import Event, Recorder

from .plan import Call, Plan, Span
from .size import value
from .view import View, itemsize


def layers(plan: Plan, program: Program) -> dict[int, tuple[str, ...]]:
    """The layer of each call, for each span by its start.

    A call that reads a parameter, or what is made of it, belongs to the module that has it
    (`blocks.0.attention`), any other to that of the call before it.
    """
    found, layer = {}, ""
    for span in plan.spans:
        if isinstance(span, Span):
            names = []
            for call in span.steps:
                layer = _layer(call.node, program) or layer
                names.append(layer)
            found[span.start] = tuple(names)
    return found


def _layer(node: Node | None, program: Program) -> str:
    slots = [x.attrs["slot"] for x in node.operands if x.op is PARAM] if node else []
    name = next(filter(None, (program.inputs[slot].name for slot in slots)), "")
    name = name.rpartition(" of ")[2]  # `derived:0f3a… of blocks.0.attention.w_q`
    return name.rpartition(".")[0] or name


def record(
    recorder: Recorder,
    calls: Sequence[Call],
    layers: Sequence[str],
    took: Sequence[int],
    begun: int,
    symbols: Mapping[str, int],
) -> None:
    """Add an event for each call, one after another from `begun` on (nanoseconds)."""
    for call, layer, nanoseconds in zip(calls, layers, took, strict=True):
        detail = {
            "kernel": call.kernel,
            "functional": _label(call.node),
            "layer": layer,
            "bytes": sum(_nbytes(view, symbols) for view in _touched(call)),
            "flops": _flops(call, symbols),
        }
        recorder.add(Event(call.kernel, "op", begun, nanoseconds, detail=detail))
        begun += nanoseconds


def _label(node: Node | None) -> str:
    if node is None:
        return "result"
    name: Any = node.attrs["name"] if node.op is ops.composite else node.op.name
    return str(name)


def _touched(call: Call) -> Sequence[View]:
    """What a call reads or writes as a whole: of a table it reads as much as it writes."""
    if call.kernel in ("take", "gather", "gather_nd", "dynamic_slice"):
        return (*call.views[1:], call.views[-1])
    return call.views


def _nbytes(view: View, symbols: Mapping[str, int]) -> int:
    """The bytes that a view reaches; what it repeats counts once."""
    count = 1
    for size, stride in zip(view.shape, view.strides, strict=True):
        count *= value(size, symbols) if stride != 0 else 1
    return count * itemsize(view.dtype)


def _flops(call: Call, symbols: Mapping[str, int]) -> int:
    """Operations of a matrix product; of other kernels none are counted."""
    if call.kernel != "dot":
        return 0
    left, _, made = call.views[:3]
    count = 2 * value(left.shape[-1], symbols)
    for size in made.shape:
        count *= value(size, symbols)
    return count
