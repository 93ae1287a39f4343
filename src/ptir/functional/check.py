"""What functionals check of their operands, with messages that say the way out."""

from ptir.ir import Size, SpecError
from ptir.tensor import Tensor

NARROW = frozenset({"f8e4m3", "f8e5m2", "bf16", "f16"})


def floating(op: str, **tensors: Tensor | None) -> None:
    """Every tensor is real floating point and all have one dtype."""
    given = {name: t for name, t in tensors.items() if t is not None}
    for name, t in given.items():
        if not t.dtype.is_float:
            raise SpecError("dtype", op, f"{name} is {t.type}, wanted floats; use .astype('f32')")
    first_name, first = next(iter(given.items()))
    for name, t in given.items():
        if t.dtype is not first.dtype:
            raise SpecError(
                "dtype",
                op,
                f"{name} is {t.dtype} but {first_name} is {first.dtype}; cast one of them",
            )


def integers(op: str, **tensors: Tensor | None) -> None:
    for name, t in tensors.items():
        if t is not None and not t.dtype.is_integer:
            raise SpecError("dtype", op, f"{name} is {t.type}, wanted integers")


def rank(op: str, wanted: int, **tensors: Tensor | None) -> None:
    for name, t in tensors.items():
        if t is not None and t.ndim != wanted:
            raise SpecError("rank", op, f"{name} is {t.type}, wanted rank {wanted}")


def at_least_rank(op: str, wanted: int, **tensors: Tensor) -> None:
    for name, t in tensors.items():
        if t.ndim < wanted:
            raise SpecError("rank", op, f"{name} is {t.type}, wanted rank {wanted} or more")


def size(op: str, name: str, t: Tensor, axis: int, wanted: Size, whose: str) -> None:
    """Axis `axis` of `t` has the size `wanted`, which comes from `whose`."""
    if t.shape[axis] != wanted:
        raise SpecError(
            "shape",
            op,
            f"axis {axis} of {name} {t.type} is {t.shape[axis]}, wanted {wanted} as {whose}",
        )


def positive(op: str, **numbers: float | int | None) -> None:
    for name, value in numbers.items():
        if value is not None and not value > 0:
            raise SpecError("attribute", op, f"{name} is {value}, wanted a number above 0")


def count(op: str, **numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and (type(value) is not int or value < 1):
            raise SpecError("attribute", op, f"{name} is {value}, wanted a whole number above 0")


def wide(x: Tensor) -> Tensor:
    """Floats narrower than f32 as f32: what sums and exponentials are computed in."""
    return x.astype("f32") if x.dtype.name in NARROW else x
