"""Chains of elementwise ops, and single ones: instructions of one kernel that works by tiles."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import final

from ptir import ops
from ptir.backends.native.library import library
from ptir.backends.native.lower import Lowering, Value, fits, lowers, shape_of
from ptir.backends.native.plan import Part
from ptir.backends.native.view import View
from ptir.ir import CONSTANT, PARAM, Node, Program, TensorType
from ptir.passes.elementwise import NAME
from ptir.passes.facts import ELEMENTWISE, may_refuse

EMPTY: Mapping[Node, int] = MappingProxyType({})
MOST_REGISTERS = 48  # inputs and temporaries of one call: what tiles in the cache have room for


def _instruction(node: Node) -> str:
    return f"compare_{node.attrs['op']}" if node.op is ops.compare else node.op.name


def _computes_in(node: Node) -> TensorType:
    """The type that a node computes in: that of its operands, but for a condition."""
    chosen = node.operands[1] if node.op is ops.select else node.operands[0]
    assert isinstance(chosen.type, TensorType)
    return chosen.type


def _runs(node: Node) -> bool:
    """Whether the kernel has an instruction for this elementwise node."""
    known = library()
    if not known.supports(_instruction(node), _computes_in(node).dtype.name):
        return False
    assert isinstance(node.type, TensorType)
    return node.op is not ops.cast or known.supports("cast", node.type.dtype.name)


def chain_runs(node: Node) -> bool:
    """Whether the kernel takes a composite of elementwise ops."""
    body = node.attrs["body"]
    return (
        all(
            fits(x) and (x.op is PARAM or x.op is CONSTANT or x.op is ops.broadcast_to or _runs(x))
            for x in body.nodes
        )
        and len(body.nodes) <= MOST_REGISTERS
    )


@lowers(*(op.name for op in ELEMENTWISE), when=_runs)
def _single(low: Lowering, node: Node) -> Value:
    chain = _Chain()
    chain.add(node, {x: low.read(x) for x in node.operands})
    # What may refuse must not have written over its operand: the reference is asked about it then.
    return _call(low, chain, low.result(node) if may_refuse(node) else low.over(node))


@lowers(f"composite {NAME}", when=chain_runs)
def _chain(low: Lowering, node: Node) -> Value:
    chain, operands = _Chain(), [low.read(x) for x in node.operands]
    chain.fill(low, node.attrs["body"], operands)
    return _call(low, chain, low.result(node))


def chain_words(low: Lowering, body: Program, operand: View) -> list[Part]:
    """A chain on one operand and constants, as it stands behind another kernel's words: how many
    inputs, instructions and registers, the constants, the instructions. The operand is input 0.
    """
    (value,) = (x for x in body.nodes if x.op is PARAM)
    chain = _Chain({value: 0}, [operand])
    chain.fill(low, body, [operand])
    words, count = chain.words()
    constants = [View(x.buffer, x.dtype, (), (), x.offset) for x in chain.inputs[1:]]
    return [len(chain.inputs), len(chain), count, *constants, *words]


def _call(low: Lowering, chain: "_Chain", out: View) -> View:
    """Emit the call that leaves the last instruction's value in `out`."""
    words, count = chain.words()
    inputs = [view.broadcast_to(out.shape) for view in chain.inputs]
    low.call("elementwise", len(inputs), len(chain), count, out, *inputs, *words)
    return out


@final
class _Chain:
    """Instructions in order, each on inputs or on what earlier ones made."""

    def __init__(self, known: Mapping[Node, int] = EMPTY, inputs: Sequence[View] = ()) -> None:
        self.inputs = list(inputs)
        self._known = dict(known)  # inputs of the chain, by number
        self._made: dict[Node, int] = {}  # instructions, by number
        self._instructions: list[tuple[Node, list[tuple[bool, int]]]] = []

    def fill(self, low: Lowering, body: Program, operands: Sequence[View]) -> None:
        """Add what a body computes."""
        views: dict[Node, View] = {}
        for inner in body.nodes:
            if inner.op is PARAM:
                views[inner] = operands[inner.attrs["slot"]]
            elif inner.op is CONSTANT:
                views[inner] = low.constant(inner.attrs["value"].array)
            elif inner.op is ops.broadcast_to:
                views[inner] = views[inner.operands[0]].broadcast_to(shape_of(inner.type))
            else:
                self.add(inner, views)

    def add(self, node: Node, views: Mapping[Node, View]) -> None:
        operands = [self._operand(x, views) for x in node.operands]
        self._made[node] = len(self._instructions)
        self._instructions.append((node, operands))

    def _operand(self, x: Node, views: Mapping[Node, View]) -> tuple[bool, int]:
        """Whether an operand is made by an instruction, and its number."""
        if x in self._made:
            return True, self._made[x]
        if x not in self._known:
            self._known[x] = len(self.inputs)
            self.inputs.append(views[x])
        return False, self._known[x]

    def __len__(self) -> int:
        return len(self._instructions)

    def words(self) -> tuple[list[int], int]:
        """The instructions in words, and how many registers they use."""
        registers, count = self._registers()
        words: list[int] = []
        for (node, operands), register in zip(self._instructions, registers, strict=True):
            words += self._words(node, operands, registers, register)
        return words, count

    def _words(
        self, node: Node, operands: Sequence[tuple[bool, int]], registers: list[int], to: int
    ) -> list[int]:
        known = library()
        sources = [registers[n] if made else n for made, n in operands]
        sources += [0] * (3 - len(sources))
        if node.op is ops.cast:
            assert isinstance(node.type, TensorType)
            sources[2] = known.dtypes[node.type.dtype.name]
        computed = known.dtypes[_computes_in(node).dtype.name]
        return [known.elementwise[_instruction(node)], computed, to, *sources]

    def _registers(self) -> tuple[list[int], int]:
        """A register for each instruction, used again once its value is not needed; their count."""
        last = {n: i for i, (_, xs) in enumerate(self._instructions) for made, n in xs if made}
        free: list[int] = []
        registers: list[int] = []
        count = len(self.inputs)
        for number, (_, operands) in enumerate(self._instructions):
            if free:
                registers.append(free.pop())
            else:
                registers.append(count)
                count += 1
            done = {n for made, n in operands if made and last[n] == number}
            free += [registers[n] for n in sorted(done)]
        return registers, count
