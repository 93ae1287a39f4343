"""How much work a step of a model is, whoever runs it: bytes to be read and operations of products.

Counted on the program as captured, so that backends are measured by one yardstick.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from ptir import ops
from ptir.engine import Plan
from ptir.ir import PARAM, Node, Program, Role, TensorType
from ptir.profile import Ceilings

from .memory import type_bytes
from .text_model import TextModel

ROWS = frozenset({ops.take, ops.gather, ops.gather_nd})  # these read of an operand what they give


@dataclass(frozen=True)
class Work:
    """Bytes of parameters and caches that are read, and operations of products (a multiply-add is
    two).
    """

    nbytes: int
    flops: int

    def least_seconds(self, ceilings: Ceilings) -> float:
        """The time it takes at least."""
        return ceilings.least_seconds(self.nbytes, self.flops)


def work(
    model: TextModel, step: Literal["prefill", "decode"], tokens: int, length: int, batch: int = 1
) -> Work:
    """A step that takes so many tokens of each sequence, to a length of `length` with what the
    caches hold. Sequences lie side by side.
    """
    return _work(model.plan(step, batch), {"T": tokens, "C": length, "B": batch, "S": batch})


def _work(plan: Plan, symbols: dict[str, int]) -> Work:
    program = plan.key.program.substitute(symbols)
    nbytes = 0
    for slot, given in enumerate(program.inputs):
        if given.role is Role.STATE:
            nbytes += type_bytes(given.type)
        elif given.role is Role.PARAMETER:
            nbytes += min(type_bytes(given.type), _read(program, slot))
    return Work(nbytes, _flops(program, {}))


def _read(program: Program, slot: int) -> int:
    """The bytes of an input that a program reads, an input read twice counted twice."""
    return sum(_read_by(node, index) for node, index in _uses(program, slot))


def _uses(program: Program, slot: int) -> Iterator[tuple[Node, int]]:
    """The nodes that have the input for an operand, and which."""
    for node in program.nodes:
        for index, operand in enumerate(node.operands):
            if operand.op is PARAM and operand.attrs["slot"] == slot:
                yield node, index


def _read_by(node: Node, index: int) -> int:
    if node.op is ops.composite:
        return _read(node.attrs["body"], index)
    if node.op in ROWS and index == 0:
        return type_bytes(node.type)
    return type_bytes(node.operands[index].type)


def _flops(program: Program, known: dict[Program, int]) -> int:
    """The operations of a program's products, those of a loop's body as often as it is run."""
    found = known.get(program)
    if found is None:
        found = known[program] = sum(_node_flops(node, known) for node in program.nodes)
    return found


def _node_flops(node: Node, known: dict[Program, int]) -> int:
    if node.op is ops.dot_general:
        left = node.operands[0].type
        assert isinstance(left, TensorType)
        depth: int = prod(left.static_shape[axis] for axis in node.attrs["contract_lhs"])
        return 2 * depth * _size(node)
    inside = sum(_flops(v, known) for v in node.attrs.values() if isinstance(v, Program))
    return inside * _turns(node) if inside else 0


def _size(node: Node) -> int:
    assert isinstance(node.type, TensorType)
    return prod(node.type.static_shape)


def _turns(node: Node) -> int:
    """How often a node runs its body; a loop without a known length counts once."""
    if node.op is not ops.scan:
        return 1
    length = node.attrs["length"]
    if length is not None:
        return int(length)
    scanned = node.operands[node.attrs["carries"]].type
    assert isinstance(scanned, TensorType)
    return int(scanned.static_shape[0])
