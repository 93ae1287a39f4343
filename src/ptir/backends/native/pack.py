"""Weights in the order in which products read them: the panels of `kernels/dot_tile.h`."""

from ptir import ops
from ptir.ir import PARAM, Input, Node, Program, TensorType, param, postorder, rebuild
from ptir.passes import decided_by_parameters

from .fuse import LINEAR_ADD, NARROW

PACKED = "packed_"  # before the name of a functional whose weight is packed
PACKS = ("linear", LINEAR_ADD)
PANEL = 32  # columns side by side
PAIRED = {"bf16": 2}  # rows side by side within a panel, by element type; else one
SMALL = 1 << 14  # bytes of a weight that fits in caches anyway
GROWTH = 1.25  # a packed weight takes at most so many times its bytes


def pack_weights(program: Program) -> Program:
    """Products take the weights that parameters alone decide in panels.

    The packing is written with ops, so `fold_parameters` sets it apart and it is computed once. A
    set of parameters gets one packed form: of a second one there might be no room to keep it.
    """
    decided = decided_by_parameters(program)
    packed: dict[frozenset[Node], Node] = {}
    done: dict[Node, Node] = {}
    for node in program.nodes:
        operands = tuple(done[x] for x in node.operands)
        done[node] = rebuild(node, operands)
        if node in decided or not _is_product(node) or not _can_be_packed(node.operands[1]):
            continue
        weight = node.operands[1]
        if weight in decided and packed.setdefault(_parameters(weight), weight) is weight:
            done[node] = _packed(node, operands)
    return Program(program.inputs, tuple(done[r] for r in program.results))


def _is_product(node: Node) -> bool:
    return node.op is ops.composite and node.attrs["name"] in PACKS


def _parameters(node: Node) -> frozenset[Node]:
    return frozenset(x for x in postorder(node) if x.op is PARAM)


def _can_be_packed(weight: Node) -> bool:
    """Whether a weight is large enough, of a type that has panels, and fills them."""
    type = weight.type
    assert isinstance(type, TensorType)
    if type.symbols or type.rank != 2 or type.dtype.name not in NARROW:
        return False
    rows, columns = type.static_shape
    fills = _panels(columns) * PANEL <= GROWTH * columns and rows % _pair(type) == 0
    return fills and type.dtype.nbytes(rows * columns) >= SMALL


def _pair(type: TensorType) -> int:
    return PAIRED.get(type.dtype.name, 1)


def _panels(columns: int) -> int:
    return -(-columns // PANEL)


def _packed(node: Node, operands: tuple[Node, ...]) -> Node:
    """A product as a composite that takes its weight in panels, and means the same."""
    x, weight, *rest = operands
    assert isinstance(weight.type, TensorType)
    given = (x, _pack(weight), *rest)
    inner = [param(slot, operand.type) for slot, operand in enumerate(given)]
    inner[1] = _unpack(inner[1], weight.type)
    body = Program(tuple(Input(x.type) for x in given), (rebuild(node, tuple(inner)),))
    name = PACKED + node.attrs["name"]
    made: Node = ops.composite(*given, name=name, attributes={}, body=body)
    return made


def _pack(weight: Node) -> Node:
    """[rows, columns] as [panels, rows, PANEL]; zeros stand behind the last column. Pairs of rows
    lie side by side: [panels, rows / 2, PANEL, 2].
    """
    assert isinstance(weight.type, TensorType)
    rows, columns = weight.type.static_shape
    pair, panels = _pair(weight.type), _panels(columns)
    if panels * PANEL != columns:
        high = (0, panels * PANEL - columns)
        weight = ops.pad(weight, low=(0, 0), high=high, value=0)
    if pair == 1:
        made = ops.transpose(ops.reshape(weight, shape=(rows, panels, PANEL)), perm=(1, 0, 2))
    else:
        split = ops.reshape(weight, shape=(rows // pair, pair, panels, PANEL))
        made = ops.transpose(split, perm=(2, 0, 3, 1))
    return made


def _unpack(packed: Node, type: TensorType) -> Node:
    """The weight that was packed."""
    rows, columns = type.static_shape
    back = (1, 0, 2) if _pair(type) == 1 else (1, 3, 0, 2)
    whole = ops.reshape(ops.transpose(packed, perm=back), shape=(rows, _panels(columns) * PANEL))
    return ops.slice_(whole, starts=(0, 0), limits=(rows, columns), strides=(1, 1))
