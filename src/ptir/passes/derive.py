"""Param-only folding: what parameters alone decide is set apart, to be computed once and kept.

Knows no parameter's value and not who keeps what is computed.
"""

import functools
from collections.abc import Collection, Sequence

from blake3 import blake3

from ptir import ops
from ptir.ir import (
    PARAM,
    Input,
    Node,
    Program,
    Role,
    TensorType,
    Type,
    param,
    print_program,
    transform,
)

NAME = "derived:"
GROWTH = 2  # a derived value takes at most twice the bytes of its parameters: no broadcast weights
VIEW = 1 << 16  # bytes up to which a parameter is kept under another shape as well

_ID_DOMAIN = b"ptir:derived:v1\0"


def fold_parameters(program: Program) -> Program:
    """Put each value that parameters alone decide into a composite on those parameters.

    The composites are maximal: something that depends on other inputs uses them, or they are
    results. Their name is `derived:` and a short id; they are what the engine computes once. The
    value that would take more than twice the bytes of its parameters stays, and what it is made of
    may be set apart; so does a large parameter that is only seen under another shape, or turned
    for a product. A program of parameters alone is left as it is: it runs once anyway.
    """
    parameters = _parameters(program)
    if all(node in parameters for node in program.nodes):
        return program
    chosen = _choose(program, parameters)
    if not chosen:
        return program
    made = {node: _outline(node, slots, program.inputs) for node, slots in chosen.items()}
    return Program(program.inputs, transform(program.results, made.get))


def derived_nodes(program: Program) -> list[Node]:
    """The composites that `fold_parameters` put there."""
    return [
        node
        for node in program.nodes
        if node.op is ops.composite
        and node.attrs["name"].startswith(NAME)
        and all(_is_parameter(x, program) for x in node.operands)
    ]


def derived_id(derivation: Program, names: Sequence[str | None]) -> str:
    """128 bits, in hex, that tell a derivation of these parameters from any other: for logs and
    files.
    """
    text = "\0".join(["" if name is None else ascii(name) for name in names])
    return blake3(_ID_DOMAIN + _text(derivation) + text.encode()).hexdigest(length=16)


@functools.lru_cache(maxsize=256)
def _text(derivation: Program) -> bytes:
    return blake3(print_program(derivation, literals=True).encode()).digest()


def decided_by_parameters(program: Program) -> frozenset[Node]:
    """The nodes whose values parameters decide, with constants and with nothing else."""
    return frozenset(node for node, bits in _parameters(program).items() if bits)


def _parameters(program: Program) -> dict[Node, int]:
    """The nodes that parameters and constants alone decide, with the slots of those parameters as
    bits.
    """
    found: dict[Node, int] = {}
    for node in program.nodes:
        if node.type.symbols or node.attrs.symbols:
            continue
        if _is_parameter(node, program):
            found[node] = 1 << node.attrs["slot"]
        elif node.op is not PARAM and all(x in found for x in node.operands):
            bits = 0
            for x in node.operands:
                bits |= found[x]
            found[node] = bits
    return found


def _is_parameter(node: Node, program: Program) -> bool:
    if node.op is not PARAM or not isinstance(node.type, TensorType):
        return False
    return program.inputs[node.attrs["slot"]].role is Role.PARAMETER


def _choose(program: Program, parameters: dict[Node, int]) -> dict[Node, list[int]]:
    """The values to set apart, from results to inputs, each with the slots that it stands on."""
    room, turned = _Room(program.inputs), _turned(program)
    chosen: dict[Node, list[int]] = {}
    before = frozenset(derived_nodes(program))  # by an earlier run of the pass
    needed = set(program.results)
    for node in reversed(program.nodes):
        if node not in needed or node in before:
            continue
        bits = parameters.get(node, 0)
        if bits and not _is_view(node, turned) and room.takes(node, bits):
            chosen[node] = _slots(bits)
        else:
            needed.update(node.operands)
    return chosen


class _Room:
    """The bytes that derived values may take: for each set of parameters, a multiple of theirs."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = inputs
        self._left: dict[int, int] = {}

    def takes(self, node: Node, bits: int) -> bool:
        """Whether there is room for the value of `node`, which is then taken."""
        if not isinstance(node.type, TensorType):
            return False
        if bits not in self._left:
            self._left[bits] = GROWTH * sum(_bytes(self._inputs[s].type) for s in _slots(bits))
        left = self._left[bits] - _bytes(node.type)
        if left >= 0:
            self._left[bits] = left
        return left >= 0


def _is_view(node: Node, turned: Collection[Node]) -> bool:
    """A parameter as it is, or a large one under another shape or turned, which costs nothing where
    it is used.
    """
    base = node.operands[0] if node in turned else node
    while base.op is ops.reshape:
        base = base.operands[0]
    return base.op is PARAM and (base is node or _bytes(node.type) > VIEW)


def _turned(program: Program) -> set[Node]:
    """The transposed matrices that are used in products and nowhere else: a product reads rows and
    columns alike.
    """
    factors, others = set[Node](), set(program.results)
    for node in program.nodes:
        for index, x in enumerate(node.operands):
            if x.op is ops.transpose and len(x.attrs["perm"]) == 2:
                (factors if _multiplies(node, index) else others).add(x)
    return factors - others


def _multiplies(node: Node, index: int) -> bool:
    """Whether this operand is a factor of products, also within a composite, and nothing else."""
    if node.op is not ops.composite:
        return node.op is ops.dot_general
    body = node.attrs["body"]
    uses = [
        _multiplies(user, place)
        for user in body.nodes
        for place, x in enumerate(user.operands)
        if x.op is PARAM and x.attrs["slot"] == index
    ]
    return all(uses) and all(x.op is not PARAM or x.attrs["slot"] != index for x in body.results)


def _bytes(type: Type) -> int:
    assert isinstance(type, TensorType)
    size = type.size
    assert isinstance(size, int)
    return type.dtype.nbytes(size)


def _slots(bits: int) -> list[int]:
    slots = []
    while bits:
        lowest = bits & -bits
        slots.append(lowest.bit_length() - 1)
        bits ^= lowest
    return slots


def _outline(node: Node, slots: Sequence[int], inputs: Sequence[Input]) -> Node:
    """`node` as a composite on its parameters; equal derivations of others have the same body."""
    place = {slot: index for index, slot in enumerate(slots)}

    def renumber(x: Node) -> Node | None:
        return param(place[x.attrs["slot"]], x.type) if x.op is PARAM else None

    types = [inputs[slot].type for slot in slots]
    body = Program(tuple(map(Input, types)), transform([node], renumber))
    short = derived_id(body, [inputs[slot].name for slot in slots])[:12]
    operands = [param(slot, inputs[slot].type) for slot in slots]
    made: Node = ops.composite(*operands, name=f"{NAME}{short}", attributes={}, body=body)
    return made
