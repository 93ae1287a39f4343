"""Chains of slice, concat and pad: pieces of one value that were cut, joined or never needed."""

from ptir import ops
from ptir.ir import Dim, Literal, Node, Rest, Size, Variable, Wildcard, known_le, rule

from .facts import Shape, shape

Steps = tuple[int, ...]
Nodes = tuple[Node, ...]

x, y = Wildcard("x"), Wildcard("y")
axis = Variable("axis")
starts, limits, strides = (Variable(name) for name in ("starts", "limits", "strides"))
MANY = 64  # parts of a concat that may become parts of another
before, inner, after, parts = (Rest(name) for name in ("before", "inner", "after", "parts"))


@rule(ops.slice_(x, starts=starts, limits=limits, strides=strides))
def slice_of_all(x: Node, starts: Shape, limits: Shape, strides: Steps) -> Node | None:
    whole = not any(starts) and limits == shape(x) and all(step == 1 for step in strides)
    return x if whole else None


@rule(
    ops.slice_(
        ops.slice_(
            x,
            starts=Variable("first"),
            limits=Variable("last"),
            strides=Variable("steps"),
        ),
        starts=starts,
        limits=limits,
        strides=strides,
    )
)
def slice_of_slice(
    x: Node,
    first: Shape,
    last: Shape,
    steps: Steps,
    starts: Shape,
    limits: Shape,
    strides: Steps,
) -> Node | None:
    ends = [_end(*one) for one in zip(first, last, steps, limits, strict=True)]
    known = tuple(end for end in ends if end is not None)
    if len(known) < len(ends):
        return None
    begins = tuple(_begin(*one) for one in zip(first, steps, starts, known, strict=True))
    jumps = tuple(a * b for a, b in zip(steps, strides, strict=True))
    return ops.slice_(x, starts=begins, limits=known, strides=jumps)


def _begin(first: Size, step: int, start: Size, end: Size) -> Size:
    """The start; where nothing is left, steps may have gone over the end."""
    begin = first + start * step
    return end if known_le(begin, end) is False else begin


def _end(first: Size, last: Size, step: int, limit: Size) -> Size | None:
    """The limit of a slice up to `limit` of the slice from `first` to `last`; `None`: unknown."""
    if step == 1:
        return first + limit
    if isinstance(first, Dim) or isinstance(last, Dim) or isinstance(limit, Dim):
        return None
    return min(first + limit * step, last)


@rule(ops.slice_(ops.concat(parts, axis=axis), starts=starts, limits=limits, strides=strides))
def slice_of_concat(
    parts: Nodes, axis: int, starts: Shape, limits: Shape, strides: Steps
) -> Node | None:
    """What lies in one part is cut from that part."""
    offset: Size = 0
    for part in parts:
        end = offset + shape(part)[axis]
        if known_le(offset, starts[axis]) and known_le(limits[axis], end):
            return ops.slice_(
                part,
                starts=_replaced(starts, axis, starts[axis] - offset),
                limits=_replaced(limits, axis, limits[axis] - offset),
                strides=strides,
            )
        offset = end
    return None


def _replaced(sizes: Shape, axis: int, size: Size) -> Shape:
    return (*sizes[:axis], size, *sizes[axis + 1 :])


@rule(ops.concat(x, axis=axis))
def concat_of_one(x: Node, axis: int) -> Node:
    return x


@rule(ops.concat(before, ops.concat(inner, axis=axis), after, axis=axis))
def concat_of_concat(root: Node, axis: int, **found: Nodes) -> Node | None:
    """All at once; but not parts of many parts, or a value that grows bit by bit is n² work."""
    parts = list[Node]()
    for part in root.operands:
        same = part.op is ops.concat and part.attrs["axis"] == axis
        parts.extend(part.operands if same and len(part.operands) <= MANY else (part,))
    return ops.concat(*parts, axis=axis) if len(parts) > len(root.operands) else None


@rule(ops.concat(parts, axis=axis))
def concat_of_nothing(parts: Nodes, axis: int) -> Node | None:
    """Parts of size 0 go."""
    kept = [part for part in parts if shape(part)[axis] != 0]
    return ops.concat(*kept, axis=axis) if 0 < len(kept) < len(parts) else None


@rule(
    ops.concat(
        before,
        ops.slice_(x, starts=starts, limits=limits, strides=strides),
        ops.slice_(x, starts=Variable("others"), limits=Variable("ends"), strides=strides),
        after,
        axis=axis,
    )
)
def concat_of_neighbours(root: Node, axis: int, **found: object) -> Node | None:
    """Slices that lie side by side in one value are one slice."""
    parts = list(root.operands[:1])
    for part in root.operands[1:]:
        whole = _joined(parts[-1], part, axis)
        if whole is None:
            parts.append(part)
        else:
            parts[-1] = whole
    return ops.concat(*parts, axis=axis) if len(parts) < len(root.operands) else None


def _joined(left: Node, right: Node, axis: int) -> Node | None:
    """The slice that is both of these, one after the other."""
    if not (left.op is right.op is ops.slice_ and left.operands == right.operands):
        return None
    (one, other), strides = (left.attrs, right.attrs), left.attrs["strides"]
    level = all(
        _replaced(one[name], axis, 0) == _replaced(other[name], axis, 0)
        for name in ("starts", "limits")
    )
    meet = one["limits"][axis] == other["starts"][axis] and strides[axis] == 1
    if not (level and meet and strides == other["strides"]):
        return None
    return ops.slice_(*left.operands, starts=one["starts"], limits=other["limits"], strides=strides)


@rule(
    ops.pad(x, low=Variable("low"), high=Variable("high"), interior=Variable("interior")),
)
def pad_of_nothing(x: Node, low: Steps, high: Steps, interior: Steps) -> Node | None:
    return None if any(low) or any(high) or any(interior) else x


@rule(
    ops.pad(
        ops.pad(
            x,
            low=Variable("first"),
            high=Variable("last"),
            interior=Variable("none"),
            value=Variable("value"),
        ),
        low=Variable("low"),
        high=Variable("high"),
        interior=Variable("none", lambda gaps: not any(gaps)),
        value=Variable("value"),
    )
)
def pad_of_pad(
    x: Node, low: Steps, high: Steps, none: Steps, first: Steps, last: Steps, value: Literal
) -> Node | None:
    """One border of the same value; what the first puts on, the second must not crop, nor back."""
    if any(a * b < 0 for a, b in (*zip(first, low, strict=True), *zip(last, high, strict=True))):
        return None
    return ops.pad(
        x,
        low=[a + b for a, b in zip(first, low, strict=True)],
        high=[a + b for a, b in zip(last, high, strict=True)],
        interior=none,
        value=value,
    )


RULES = (
    slice_of_all,
    slice_of_slice,
    slice_of_concat,
    concat_of_one,
    concat_of_concat,
    concat_of_nothing,
    concat_of_neighbours,
    pad_of_nothing,
    pad_of_pad,
)
