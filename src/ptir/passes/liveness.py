"""Plan information: how long each value of a program is needed, and what may be written over.

A reading of a program in the order of its nodes. Knows no backend, no kernel and no address.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ptir import ops
from ptir.ir import CONSTANT, PARAM, Node, Op, Program, Role, TensorType, TupleType, Type

from .facts import ELEMENTWISE

# Ops whose result lies where their operands lie; every other result is a buffer of its own.
ALIASES = frozenset({ops.reshape, ops.bitcast, ops.stop_gradient, ops.tuple_, ops.item})

# Ops that give operand 0 with some elements changed: to write over it is to write those alone.
UPDATES = frozenset({ops.scatter, ops.scatter_nd, ops.dynamic_update_slice})


@dataclass(frozen=True)
class Life:
    """Positions in `program.nodes`: where a value is made, and first and last read.

    An input is made at −1. A result is read last at the end, behind all nodes.
    """

    made: int
    first: int
    last: int


Fate = Literal["in place", "written over", "unchanged", "copied"]


@dataclass(frozen=True)
class Donation:
    """What becomes of the buffer of a state input, and why.

    `in place`: the steps that make the new value change the buffer; `written over`: nothing reads
    the old value once the new one is made; `copied`: the new value is put there at the end.
    """

    slot: int
    result: int
    fate: Fate
    reason: str


@dataclass(frozen=True, eq=False)
class PlanInfo:
    """What can be planned of a program before anything is allocated.

    `in_place` says which operand a node may write its result over, for nothing reads it afterwards;
    `placed`, into the buffer of which state it may write instead. `peak_bytes` is the most that
    the values which steps make take at once, all of that done; inputs and constants bring their
    own. It is `None` where sizes are symbolic.
    """

    program: Program
    lives: Mapping[Node, Life]
    in_place: Mapping[Node, int]
    placed: Mapping[Node, int]
    donations: tuple[Donation, ...]
    peak_bytes: int | None


def plan_info(program: Program, aliases: frozenset[Op] = ALIASES) -> PlanInfo:
    """The plan information of a program; `aliases` are the ops that a backend runs as views."""
    lives = lives_of(program)
    buffers = _Buffers(program, lives, aliases)
    choice = _Choice(program, buffers)
    donations = tuple(choice.donations())
    choice.temporaries()
    return PlanInfo(program, lives, choice.chosen, choice.placed, donations, buffers.peak())


def lives_of(program: Program) -> dict[Node, Life]:
    """Where each value is made and read."""
    end = len(program.nodes)
    first: dict[Node, int] = {}
    last: dict[Node, int] = {}
    for place, node in enumerate(program.nodes):
        for x in node.operands:
            first.setdefault(x, place)
            last[x] = place
    for node in program.results:
        first.setdefault(node, end)
        last[node] = end
    return {
        node: Life(-1 if node.op is PARAM else place, first[node], last[node])
        for place, node in enumerate(program.nodes)
    }


class _Buffers:
    """Which values lie in one buffer: sets of nodes that grow as steps write over what they read.

    The nodes of a set are found through its root; all that is known of a buffer is kept there.
    """

    def __init__(
        self, program: Program, lives: Mapping[Node, Life], aliases: frozenset[Op]
    ) -> None:
        self._program = program
        self._parent: dict[Node, Node] = {}
        self._size: dict[Node, int | None] = {}
        self.aliases = aliases
        self.begun = {node: life.made for node, life in lives.items()}
        self.last = {node: life.last for node, life in lives.items()}
        self.fixed: dict[Node, bool] = {}  # holds a constant, or an input that nobody gave away
        self.states: dict[Node, frozenset[int]] = {}
        for node in program.nodes:
            self._add(node)

    def _add(self, node: Node) -> None:
        slot = node.attrs["slot"] if node.op is PARAM else None
        state = slot is not None and self._program.inputs[slot].role is Role.STATE
        self.states[node] = frozenset([slot]) if state and slot is not None else frozenset()
        self.fixed[node] = node.op is CONSTANT or (slot is not None and not state)
        outside = node.op is PARAM or node.op is CONSTANT
        self._size[node] = 0 if outside or node.op in self.aliases else nbytes(node.type)
        if node.op in self.aliases:
            for x in node.operands:
                self.join(x, node)

    def of(self, node: Node) -> Node:
        """The root of the buffer that a value lies in."""
        root = node
        while root in self._parent:
            root = self._parent[root]
        while node is not root:
            self._parent[node], node = root, self._parent[node]
        return root

    def join(self, x: Node, y: Node) -> None:
        """From here on, x and y lie in one buffer."""
        a, b = self.of(x), self.of(y)
        if a is b:
            return
        self._parent[b] = a
        self.begun[a] = min(self.begun[a], self.begun[b])
        self.last[a] = max(self.last[a], self.last[b])
        self.fixed[a] |= self.fixed[b]
        self.states[a] |= self.states[b]
        one, other = self._size[a], self._size[b]
        self._size[a] = None if one is None or other is None else one + other

    def write_over(self, node: Node, operand: Node) -> None:
        """The result of `node` takes the place of `operand`."""
        self.found_room(node)
        self.join(operand, node)

    def lay_into(self, slot: int, node: Node) -> None:
        """The result of `node` takes the place of a state."""
        self.found_room(node)
        self.states[self.of(node)] |= {slot}

    def found_room(self, node: Node) -> None:
        """The result of `node` needs no bytes of its own."""
        root, own = self.of(node), nbytes(node.type)
        size = self._size[root]
        self._size[root] = None if size is None or own is None else size - own

    def peak(self) -> int | None:
        """The most bytes that the buffers take at once; inputs and constants bring their own."""
        end = len(self._program.nodes)
        change = [0] * (end + 2)
        for node in self._program.nodes:
            size = self._size[node]
            if self.of(node) is not node or size == 0:
                continue
            if size is None:
                return None
            change[max(self.begun[node], 0)] += size
            change[self.last[node] + 1] -= size
        most = now = 0
        for step in change:
            now += step
            most = max(most, now)
        return most


class _Choice:
    """Which operand each node writes over, if any: new states first, then temporaries."""

    def __init__(self, program: Program, buffers: _Buffers) -> None:
        self._program = program
        self._place = {node: place for place, node in enumerate(program.nodes)}
        self._buffers = buffers
        self.chosen: dict[Node, int] = {}
        self.placed: dict[Node, int] = {}

    def temporaries(self) -> None:
        """Let nodes write over what only steps before them made."""
        for node in self._program.nodes:
            if node in self.chosen or node in self.placed:
                continue
            for index in self._candidates(node):
                x = node.operands[index]
                if not self._buffers.states[self._buffers.of(x)]:
                    self._choose(node, index)
                    break

    def donations(self) -> Iterator[Donation]:
        """What becomes of each state, in order."""
        first = len(self._program.results) - self._program.states
        slots = [s for s, i in enumerate(self._program.inputs) if i.role is Role.STATE]
        given = {n.attrs["slot"]: n for n in self._program.nodes if n.op is PARAM}
        for result, slot in enumerate(slots, first):
            new = self._program.results[result]
            yield Donation(slot, result, *self._fate(slot, given.get(slot), new))

    def _fate(self, slot: int, old: Node | None, new: Node) -> tuple[Fate, str]:
        buffers, made = self._buffers, _origin(new, self._buffers.aliases)
        root = buffers.of(new)
        if made is old:
            return "unchanged", "it is its new value"
        if made.op is PARAM or made.op is CONSTANT:
            return "copied", "its new value is an input or a constant"
        if buffers.states[root]:
            return "copied", "its new value lies in the buffer of another state"
        path = None if old is None else self._path(made, old)
        if path is not None:
            for node, index in path:
                self._choose(node, index)
            steps = " · ".join(node.op.name for node, _ in path)
            return "in place", f"{steps}, at its last use"
        last = -1 if old is None else buffers.last[buffers.of(old)]
        order = f"its last use, {self._at(last)}, its new value, {self._at(self._place[made])}"
        if last >= self._place[made] or made.type != self._program.inputs[slot].type:
            return "copied", order
        self.placed[made] = slot
        buffers.lay_into(slot, made)
        return "written over", order

    def _path(self, new: Node, old: Node) -> list[tuple[Node, int]] | None:
        """Steps from the state `old` to `new`, each of which may write over what the one before it
        made (the first one over `old`), and over which operand; `None` if there are none.
        """
        target, aliases = self._buffers.of(old), self._buffers.aliases
        came: dict[Node, tuple[Node, int] | None] = {new: None}
        todo = [new]
        while todo:
            node = todo.pop()
            for index in self._candidates(node):
                made = _origin(node.operands[index], aliases)
                if made is old:
                    return _way(node, index, came)
                if made not in came and self._buffers.of(made) is not target:
                    came[made] = (node, index)
                    todo.append(made)
        return None

    def _candidates(self, node: Node) -> Iterator[int]:
        """The operands that `node` may write its result over."""
        buffers, place = self._buffers, self._place[node]
        for index in _changing(node):
            x = node.operands[index]
            root = buffers.of(x)
            if x.type != node.type or buffers.fixed[root] or buffers.last[root] != place:
                continue
            others = [y for i, y in enumerate(node.operands) if i != index]
            if node.op in ELEMENTWISE:  # reads each element before it writes it
                others = [y for y in others if y is not x]
            if all(buffers.of(y) is not root for y in others):
                yield index

    def _choose(self, node: Node, index: int) -> None:
        self.chosen[node] = index
        self._buffers.write_over(node, node.operands[index])

    def _at(self, place: int) -> str:
        nodes = self._program.nodes
        if place == len(nodes):
            return "the end"
        return f"step {place} ({nodes[place].op.name})" if place >= 0 else "none"


def _origin(x: Node, aliases: frozenset[Op]) -> Node:
    """What a value is a view of; a tuple that was made of several values is nobody's view."""
    while x.op in aliases:
        if x.op is ops.item and x.operands[0].op is ops.tuple_:
            x = x.operands[0].operands[x.attrs["index"]]
        elif x.op is ops.tuple_:
            break
        else:
            x = x.operands[0]
    return x


def _way(
    node: Node, index: int, came: Mapping[Node, tuple[Node, int] | None]
) -> list[tuple[Node, int]]:
    """The steps behind a first one, each found from the one after it."""
    way, step = [(node, index)], came[node]
    while step is not None:
        way.append(step)
        step = came[step[0]]
    return way


def _changing(node: Node) -> Sequence[int]:
    """The operands that an op reads element by element as it writes, or gives back changed."""
    if node.op in ELEMENTWISE:
        return range(len(node.operands))
    if node.op in UPDATES:
        return (0,)
    if node.op is ops.composite:
        return _updated(node.attrs["body"])
    return ()


def _updated(body: Program) -> Sequence[int]:
    """The operand of a composite that is its result but for an update, and is read only for it."""
    if len(body.results) != 1 or body.results[0].op not in UPDATES:
        return ()
    given = body.results[0].operands[0]
    readers = sum(x is given for node in body.nodes for x in node.operands)
    return (given.attrs["slot"],) if given.op is PARAM and readers == 1 else ()


def nbytes(type: Type) -> int | None:
    """The bytes of a value; `None` where its sizes are symbolic."""
    if isinstance(type, TupleType):
        sizes = [nbytes(item) for item in type.items]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    assert isinstance(type, TensorType)
    size = 1
    for one in type.shape:
        if not isinstance(one, int):
            return None
        size *= one
    return type.dtype.nbytes(size)
