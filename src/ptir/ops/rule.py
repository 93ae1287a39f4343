"""What type rules share: operands are tensors of accepted kinds and agree. Knows no op by name."""

from collections.abc import Container

from ptir.ir import SpecError, TensorType, Type

INTEGER = frozenset({"int", "uint"})
BITS = INTEGER | {"bool"}
FLOAT = frozenset({"float"})
REAL = INTEGER | FLOAT
NUMBER = REAL | {"complex"}
ANY = NUMBER | {"bool"}


def tensor(op: str, x: Type, slot: int = 0) -> TensorType:
    """`x` as a tensor type; a tuple is refused."""
    if not isinstance(x, TensorType):
        raise SpecError("operand", op, f"operand {slot} is the tuple {x}; take one item of it")
    return x


def accepted(op: str, x: Type, kinds: Container[str], slot: int = 0) -> TensorType:
    """`x` as a tensor whose dtype is of one of `kinds`."""
    found = tensor(op, x, slot)
    if found.dtype.kind not in kinds:
        wanted = ", ".join(k for k in ("bool", "int", "uint", "float", "complex") if k in kinds)
        raise SpecError("dtype", op, f"operand {slot} is {found}, wanted {wanted}; cast it first")
    return found


def alike(op: str, *types: Type) -> TensorType:
    """The one type that all operands have: elementwise ops neither promote nor broadcast."""
    first = tensor(op, types[0])
    for slot, x in enumerate(types[1:], 1):
        found = tensor(op, x, slot)
        if found.dtype != first.dtype:
            raise SpecError(
                "dtype", op, f"operand 0 is {first}, operand {slot} is {found}; cast one of them"
            )
        if found.shape != first.shape:
            raise SpecError(
                "shape", op, f"operand 0 is {first}, operand {slot} is {found}; use broadcast_to"
            )
    return first
