"""From a program to a plan: views where nothing moves, kernels where rules have them, and the
reference for the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from ptir import ops
from ptir.ir import (
    CONSTANT,
    PARAM,
    DType,
    Node,
    Program,
    Role,
    TensorType,
    TupleType,
    Type,
    dtype,
    uniform_value,
)
from ptir.passes import plan_info
from ptir.passes.liveness import ALIASES

from .plan import ALIGNMENT, Call, Host, Part, Plan, Step, leaves
from .size import Extent, extent, product
from .view import Buffer, View, itemsize, row_major

MAX_RANK = 8  # of a tensor that kernels take

Value = Union[View, tuple["Value", ...]]  # noqa: UP007 - it names itself

# What may be a view of its operand here: plan_info then never gives the buffer away too soon.
VIEWS = ALIASES | {ops.transpose, ops.broadcast_to, ops.slice_, ops.reverse}


@dataclass(frozen=True)
class Rule:
    """How one op or functional becomes steps, and which of its nodes it serves."""

    serves: Callable[[Node], bool]
    lower: Callable[["Lowering", Node], Value]


RULES: dict[str, Rule] = {}
"""By the name of an op, or `composite <name>` of a functional."""


def lowers(
    *names: str, when: Callable[[Node], bool] = lambda node: True
) -> Callable[[Callable[["Lowering", Node], Value]], Callable[["Lowering", Node], Value]]:
    """Register a function as the rule of ops (or functionals: `composite linear`)."""

    def register(
        lower: Callable[["Lowering", Node], Value],
    ) -> Callable[["Lowering", Node], Value]:
        for name in names:
            RULES[name] = Rule(when, lower)
        return lower

    return register


def rule_of(node: Node) -> Rule | None:
    """The rule that serves a node, if there is one."""
    name = node.op.name
    rule = RULES.get(f"composite {node.attrs['name']}" if node.op is ops.composite else name)
    if rule is None or not all(map(fits, (*node.operands, node))):
        return None
    return rule if rule.serves(node) else None


def fits(node: Node) -> bool:
    """Whether kernels can take the value of a node: a tensor (or some) of few axes."""
    return all(t.rank <= MAX_RANK for t in tensors(node.type))


def tensors(type: Type) -> list[TensorType]:
    """The tensors in a type."""
    if isinstance(type, TupleType):
        return [t for item in type.items for t in tensors(item)]
    return [type]


class Lowering:
    """One program on its way to a plan."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._info = plan_info(program, VIEWS)
        self._values: dict[Node, Value] = {}
        self._steps: list[Step] = []
        self._constants = bytearray()
        self._outputs: list[View] = []
        self._zeros: set[int] = set()
        self._node: Node | None = None  # the one in hand
        self._inputs = [self._input(slot, input.type) for slot, input in enumerate(program.inputs)]
        states = {i for i, x in enumerate(program.inputs) if x.role is Role.STATE}
        self._states = {self._inputs[i].buffer for i in states}
        self._owners: dict[Buffer, Node] = {}  # the result that each buffer is
        self._results = {_made(r) for r in program.results}

    def plan(self) -> Plan:
        for node in self._program.nodes:
            self._node = node
            self._values[node] = self._lower(node)
        self._node = None
        results = tuple(self._result(r) for r in self._program.results)
        constants = np.zeros(len(self._constants) + ALIGNMENT, np.uint8)
        constants[: len(self._constants)] = self._constants
        inputs = len(self._program.inputs)
        outputs, zeros = tuple(self._outputs), frozenset(self._zeros)
        return Plan(tuple(self._steps), results, inputs, outputs, zeros, constants)

    # --- what rules ask for ---

    def read(self, node: Node) -> View:
        """Where the value of an operand lies."""
        found = self._values[node]
        assert isinstance(found, View)
        return found

    def value(self, node: Node) -> Value:
        return self._values[node]

    def new(self, type: TensorType, order: Sequence[int] | None = None) -> View:
        """Room for a value. With `order`, its axes lie in memory in that order."""
        shape = shape_of(type)
        if order is None:
            return self.room(type.dtype, shape)
        return self.room(type.dtype, tuple(shape[a] for a in order)).transpose(_inverse(order))

    def room(self, element: DType, shape: tuple[Extent, ...]) -> View:
        """A new buffer of the arena."""
        buffer = Buffer("arena", product(shape) * itemsize(element))
        return View(buffer, element, shape, row_major(shape))

    def result(self, node: Node) -> View:
        """Room for the value of the node in hand: a result's own, a state's, or new."""
        slot = self._info.placed.get(node)
        if slot is not None:
            return self._inputs[slot]
        assert isinstance(node.type, TensorType)
        if node in self._results:
            return self._output(node.type)
        return self.new(node.type)

    def updated(self, node: Node, index: int = 0) -> View:
        """Operand `index` to be changed into the value of `node`: itself where nothing else needs
        it, else a copy.
        """
        given = self.read(node.operands[index])
        if self._info.in_place.get(node) == index and given.is_whole:
            return given
        made = self.result(node)
        self.copy(given, made)
        return made

    def over(self, node: Node) -> View:
        """Room for a value that is computed element by element: an operand's, if that is free."""
        index = self._info.in_place.get(node)
        if index is not None:
            given = self.read(node.operands[index])
            if given.is_whole and (node not in self._results or given.buffer in self._states):
                return given
        return self.result(node)

    def constant(self, array: Any) -> View:
        """An array that the plan brings along."""
        array = np.asarray(array)
        self._constants += bytes(-len(self._constants) % ALIGNMENT)
        start = len(self._constants)
        self._constants += array.tobytes()
        element = dtype(array.dtype)
        offset = start // itemsize(element)
        return View(CONSTANTS, element, array.shape, row_major(array.shape), offset)

    def call(self, kernel: str, *parts: Part) -> None:
        """One more call of a kernel."""
        operands = tuple(self._values[x] for x in self._node.operands) if self._node else ()
        self._steps.append(Call(kernel, parts, self._node, operands))

    def copy(self, source: View, to: View) -> None:
        self.call("copy", source, to)

    def contiguous(self, view: View) -> View:
        """The same value without gaps, copied if need be."""
        if view.is_contiguous:
            return view
        made = self.room(view.dtype, view.shape)
        self.copy(view, made)
        return made

    def reshape(self, view: View, shape: tuple[Extent, ...]) -> View:
        """The same elements in another shape, copied if strides cannot say it."""
        found = view.reshape(shape)
        if found is None:
            found = self.contiguous(view).reshape(shape)
        assert found is not None
        return found

    # --- nodes ---

    def _lower(self, node: Node) -> Value:
        if node.op is PARAM:
            slot: int = node.attrs["slot"]
            return self._inputs[slot]
        if node.op is CONSTANT:
            return self.constant(node.attrs["value"].array)
        rule = rule_of(node)
        return self._host(node) if rule is None else rule.lower(self, node)

    def _host(self, node: Node) -> Value:
        operands = tuple(self._values[x] for x in node.operands)
        made = self._rooms(node.type)
        self._steps.append(Host(node, operands, tuple(leaves(made))))
        return made

    def _rooms(self, type: Type) -> Value:
        if isinstance(type, TupleType):
            return tuple(self._rooms(item) for item in type.items)
        return self.new(type)

    def _input(self, slot: int, type: Type) -> View:
        assert isinstance(type, TensorType), "inputs of programs that run are tensors"
        shape = shape_of(type)
        buffer = Buffer("input", product(shape) * itemsize(type.dtype), slot)
        return View(buffer, type.dtype, shape, row_major(shape))

    def _output(self, type: TensorType) -> View:
        shape = shape_of(type)
        buffer = Buffer("output", product(shape) * itemsize(type.dtype), len(self._outputs))
        view = View(buffer, type.dtype, shape, row_major(shape))
        self._outputs.append(view)
        return view

    def _result(self, node: Node) -> View:
        """A result as the whole of a buffer that no other result has: an output, a state that it
        was written into, or the input that it is.
        """
        view = self.read(node)
        buffer = view.buffer
        own = node.op is PARAM or buffer.place == "output" or buffer in self._states
        if own and view.is_whole and self._owners.setdefault(buffer, node) is node:
            if buffer.place == "output":
                self._outputs[buffer.number] = view  # in the shape that the result has
            return view
        assert isinstance(node.type, TensorType)
        made = self._output(node.type)
        if _is_zero(node):
            self._zeros.add(made.buffer.number)
        else:
            self.copy(view, made)
        return made


CONSTANTS = Buffer("constant", 0)


def shape_of(type: Type) -> tuple[Extent, ...]:
    """The sizes of a tensor type as sizes of a plan."""
    assert isinstance(type, TensorType)
    return tuple(map(extent, type.shape))


def _made(result: Node) -> Node:
    """The node that makes a result, which may be it under another shape."""
    while result.op is ops.reshape:
        result = result.operands[0]
    return result


def _is_zero(node: Node) -> bool:
    """Whether every byte of a value is zero: an empty cache, say."""
    value = uniform_value(node)
    return value is not None and not np.asarray(value).tobytes().strip(b"\0")


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=lambda axis: order[axis])
