"""The lazy tensor: a handle on a node. Operators are ops, with casts and broadcasts made explicit.

Compositions (softmax, attention, …) live in `ptir.functional`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ptir import config, engine, ops
from ptir.backends import Backend
from ptir.engine import Computed, Data, Held
from ptir.ir import (
    LEAF,
    Dim,
    DType,
    DTypeLike,
    Node,
    Op,
    Size,
    SpecError,
    TensorType,
    TupleType,
    Value,
    attr,
    constant,
    dtype,
    leaf,
    postorder,
)
from ptir.ir.type import Shape

from . import arithmetic, index
from .promote import common_dtype, common_shape, weak_dtype

Number = bool | int | float | complex
Operand = Any  # a Tensor, a Python number or a NumPy array
Axes = int | Sequence[int] | None

_CAPTURING: ContextVar[bool] = ContextVar("capturing", default=False)


def is_eager() -> bool:
    """Whether each op runs at once: `PTIR_EAGER=1`, but never inside of what is being traced."""
    return config.current().eager and not _CAPTURING.get()


@contextmanager
def capturing() -> Iterator[None]:
    """Ops only build the graph in here, whatever `PTIR_EAGER` says."""
    token = _CAPTURING.set(True)
    try:
        yield
    finally:
        _CAPTURING.reset(token)


class Tensor(Value):
    """An n-dimensional value that is computed when it is asked for.

    Operators follow NumPy (right-aligned broadcasting, Python numbers take the tensor's dtype);
    reading it (`numpy()`, `item()`, `float(…)`) runs everything that it still depends on as one
    program.
    """

    __slots__ = ("backend", "node")
    __array_ufunc__ = None  # an array on the left leaves the operator to the tensor
    __hash__ = object.__hash__

    def __init__(self, node: Node, backend: str | None = None) -> None:
        self.node = node
        self.backend = backend  # the backend that computes it; `None`: whichever is the default

    # --- what it is ---

    @property
    def type(self) -> TensorType:
        if isinstance(self.node.type, TupleType):
            raise SpecError("type", self.node.op.name, "gives several values; unpack it")
        return self.node.type

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    @property
    def size(self) -> Size:
        return self.type.size

    def __repr__(self) -> str:
        state = "data" if self.node.op is LEAF else self.node.op.name
        where = f" on {self.backend}" if self.backend else ""
        return f"<Tensor {self.node.type}: {state}{where}>"

    # --- building the graph ---

    def emit(self, op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> "Tensor":
        """`op` on tensors; Python numbers become constants like the first tensor."""
        tensors = [x for x in operands if isinstance(x, Tensor)]
        nodes = tuple(_node(x, tensors[0]) for x in operands)
        made = Tensor(op(*nodes, **attrs), common_backend(op.name, tensors))
        if is_eager() and isinstance(made.node.type, TensorType) and _is_known(nodes):
            made = made.realize()
        return made

    def unpack(self) -> "tuple[Tensor, ...]":
        """The several values of an op that gives a tuple."""
        if not isinstance(self.node.type, TupleType):
            return (self,)
        return tuple(ops.item(self, index=i) for i in range(len(self.node.type.items)))

    # --- reading ---

    def realize(self) -> "Tensor":
        """Compute the value and let go of the graph behind it. Returns itself."""
        realize(self)
        return self

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a NumPy array (read-only where it shares memory with a backend)."""
        if not _is_data(self.node):
            realize(self)
        array = np.asarray(self.node.attrs["source"].load()).view()
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        """A DLPack capsule; `BufferError` for dtypes that DLPack consumers cannot take (bf16, f8
        …).
        """
        if self.dtype.numpy.kind == "V" or self.dtype.numpy.isbuiltin != 1:
            raise BufferError(f"DLPack has no NumPy form of {self.dtype}; cast it first")
        return np.array(self.numpy()).__dlpack__(**options)  # a copy: consumers may write

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # kDLCPU

    def item(self) -> Any:
        """The value of a tensor of one element as a Python number."""
        return self.numpy().item()

    def tolist(self) -> Any:
        return self.numpy().tolist()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a tensor of rank 0 has no length")
        return self.type.static_shape[0]

    def __iter__(self) -> "Iterator[Tensor]":
        return (self[i] for i in range(len(self)))

    def to(self, backend: str) -> "Tensor":
        """The same value, computed by another backend from here on."""
        if self.backend in (None, backend):
            return Tensor(self.node, backend)
        return Tensor(leaf(Data(self.numpy())), backend)

    # --- arithmetic ---

    def __add__(self, other: Operand) -> "Tensor":
        return binary(ops.add, self, other)

    def __radd__(self, other: Operand) -> "Tensor":
        return binary(ops.add, other, self)

    def __sub__(self, other: Operand) -> "Tensor":
        return binary(ops.sub, self, other)

    def __rsub__(self, other: Operand) -> "Tensor":
        return binary(ops.sub, other, self)

    def __mul__(self, other: Operand) -> "Tensor":
        return binary(ops.mul, self, other)

    def __rmul__(self, other: Operand) -> "Tensor":
        return binary(ops.mul, other, self)

    def __truediv__(self, other: Operand) -> "Tensor":
        return arithmetic.divide(*_pair("div", self, other))

    def __rtruediv__(self, other: Operand) -> "Tensor":
        return arithmetic.divide(*_pair("div", other, self))

    def __floordiv__(self, other: Operand) -> "Tensor":
        return arithmetic.floor_divide(*_pair("div", self, other))

    def __rfloordiv__(self, other: Operand) -> "Tensor":
        return arithmetic.floor_divide(*_pair("div", other, self))

    def __mod__(self, other: Operand) -> "Tensor":
        return arithmetic.modulo(*_pair("rem", self, other))

    def __rmod__(self, other: Operand) -> "Tensor":
        return arithmetic.modulo(*_pair("rem", other, self))

    def __pow__(self, other: Operand) -> "Tensor":
        return binary(ops.pow_, self, other)

    def __rpow__(self, other: Operand) -> "Tensor":
        return binary(ops.pow_, other, self)

    def __matmul__(self, other: Operand) -> "Tensor":
        return arithmetic.matmul(self, lift(other))

    def __rmatmul__(self, other: Operand) -> "Tensor":
        return arithmetic.matmul(lift(other), self)

    def __neg__(self) -> "Tensor":
        return ops.neg(self)

    def __abs__(self) -> "Tensor":
        return ops.abs_(self)

    def __invert__(self) -> "Tensor":
        return ops.not_(self)

    def __and__(self, other: Operand) -> "Tensor":
        return binary(ops.and_, self, other)

    def __or__(self, other: Operand) -> "Tensor":
        return binary(ops.or_, self, other)

    def __xor__(self, other: Operand) -> "Tensor":
        return binary(ops.xor, self, other)

    def __lt__(self, other: Operand) -> "Tensor":
        return binary(ops.compare, self, other, op="lt")

    def __le__(self, other: Operand) -> "Tensor":
        return binary(ops.compare, self, other, op="le")

    def __gt__(self, other: Operand) -> "Tensor":
        return binary(ops.compare, self, other, op="gt")

    def __ge__(self, other: Operand) -> "Tensor":
        return binary(ops.compare, self, other, op="ge")

    def __eq__(self, other: Operand) -> "Tensor":  # type: ignore[override]  # elementwise, as NumPy
        return binary(ops.compare, self, other, op="eq")

    def __ne__(self, other: Operand) -> "Tensor":  # type: ignore[override]  # elementwise, as NumPy
        return binary(ops.compare, self, other, op="ne")

    def maximum(self, other: Operand) -> "Tensor":
        return binary(ops.maximum, self, other)

    def minimum(self, other: Operand) -> "Tensor":
        return binary(ops.minimum, self, other)

    def clip(self, low: Operand, high: Operand) -> "Tensor":
        return self.maximum(low).minimum(high)

    # --- reductions ---

    def sum(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        """Sum over axes (all, if not stated); integers and booleans sum in 64 bits."""
        return self._accumulate("sum", axis, keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        """Arithmetic mean; integers give f32. Narrow floats stay wide until they are divided."""
        x = self if self.dtype.kind in ("float", "complex") else self.astype("f32")
        wide = dtype("f32") if x.dtype.bits < 32 else x.dtype
        total = x._reduce("sum", axis, keepdims, wide)
        count: Size = 1
        for i in self._axes(axis):
            size = self.shape[i]
            count = size * count if isinstance(count, int) else count * size
        if isinstance(count, int):
            return (total / count).astype(x.dtype)
        ones = lift(1, total).broadcast_to(x.shape)
        return (total / ones._reduce("sum", axis, keepdims)).astype(x.dtype)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        """Product over axes; integers and booleans multiply in 64 bits."""
        return self._accumulate("prod", axis, keepdims)

    def _accumulate(self, kind: str, axis: Axes, keepdims: bool) -> "Tensor":
        x = self.astype("si64") if self.dtype.kind == "bool" else self
        out = {"int": dtype("si64"), "uint": dtype("ui64")}.get(x.dtype.kind)
        return x._reduce(kind, axis, keepdims, out)

    def max(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        return self._reduce("max", axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        return self._reduce("min", axis, keepdims)

    def any(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        return self.astype("i1")._reduce("or", axis, keepdims)

    def all(self, axis: Axes = None, keepdims: bool = False) -> "Tensor":
        return self.astype("i1")._reduce("and", axis, keepdims)

    def argmax(self, axis: int = -1, keepdims: bool = False) -> "Tensor":
        """Index (si64) of the largest element; the smallest index among equals."""
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int = -1, keepdims: bool = False) -> "Tensor":
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int) -> "Tensor":
        return ops.cumulative(self, kind="sum", axis=axis)

    def _reduce(
        self, kind: str, axis: Axes, keepdims: bool, out_dtype: DType | None = None
    ) -> "Tensor":
        axes = self._axes(axis)
        return ops.reduce(self, kind=kind, axes=axes, keepdims=keepdims, out_dtype=out_dtype)

    def _axes(self, axis: Axes) -> tuple[int, ...]:
        given = range(self.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        return tuple(_axis(a, self.ndim) for a in given)

    # --- shape and dtype ---

    def astype(self, to: DTypeLike) -> "Tensor":
        return self if self.dtype is dtype(to) else ops.cast(self, dtype=to)

    def reshape(self, *shape: Size | Sequence[Size]) -> "Tensor":
        """The same elements in row-major order under another shape; one size may be −1."""
        return ops.reshape(self, shape=_sizes(shape))

    def transpose(self, *perm: int | Sequence[int]) -> "Tensor":
        """Axes in another order; without an order, reversed."""
        order = _sizes(perm) or tuple(reversed(range(self.ndim)))
        return ops.transpose(self, perm=order)

    @property
    def T(self) -> "Tensor":  # noqa: N802 - the name that NumPy gives it
        return self.transpose()

    def swapaxes(self, a: int, b: int) -> "Tensor":
        order = list(range(self.ndim))
        first, second = _axis(a, self.ndim), _axis(b, self.ndim)
        order[first], order[second] = second, first
        return self.transpose(order)

    def broadcast_to(self, *shape: Size | Sequence[Size]) -> "Tensor":
        sizes = _sizes(shape)
        return self if sizes == self.shape else ops.broadcast_to(self, shape=sizes)

    def expand_dims(self, axis: int) -> "Tensor":
        place = _axis(axis, self.ndim + 1)
        return self.reshape(*self.shape[:place], 1, *self.shape[place:])

    def squeeze(self, axis: int) -> "Tensor":
        place = _axis(axis, self.ndim)
        if self.shape[place] != 1:
            raise SpecError("shape", "squeeze", f"axis {axis} of {self.type} is not of size 1")
        return self.reshape(*self.shape[:place], *self.shape[place + 1 :])

    def __getitem__(self, key: Any) -> "Tensor":
        return index.select(self, key, lift)


# --- what tensors share ---


def realize(*tensors: Tensor) -> None:
    """Compute several tensors together, in one program for each backend."""
    waiting = [t for t in tensors if not _is_data(t.node)]
    for name in dict.fromkeys(t.backend for t in waiting):
        group = [t for t in waiting if t.backend == name]
        backend = engine.backend_of(name)
        values = engine.run([t.node for t in group], backend)
        for tensor, value in zip(group, values, strict=True):
            tensor.node = leaf(value)


def tensor_of(type: TensorType, backend: Backend, handle: Any) -> Tensor:
    """A tensor on a value that a backend computed."""
    return Tensor(leaf(Computed(type, backend, handle)), backend.name)


def lift(x: Operand, like: Tensor | None = None) -> Tensor:
    """`x` as a tensor. Python numbers take the dtype of `like` where they fit it, else f32 or
    si64.
    """
    if isinstance(x, Tensor):
        return x
    if isinstance(x, Dim):
        message = f"the symbolic size {x} is no value; sum ones over its axis, or leave it static"
        raise SpecError("dim", "tensor", message)
    if isinstance(x, Number) and not isinstance(x, np.generic):
        return Tensor(_number(x, weak_dtype(x, None if like is None else like.dtype)))
    return Tensor(leaf(Data(owned(np.asarray(x)))))


def _number(x: Number, element: DType) -> Node:
    try:
        with np.errstate(over="ignore"):  # beyond the largest float is infinity
            return constant(x, element)
    except OverflowError:
        raise SpecError(
            "value", "constant", f"{x} does not fit {element}; cast the tensor to a wider dtype"
        ) from None


def owned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy, unless nobody can write to the array: a lazy graph reads it later."""
    if array.flags.writeable or array.base is not None or not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def binary(op: Op, a: Operand, b: Operand, /, **attrs: Any) -> Tensor:
    """A two-operand op after casting to the common dtype and broadcasting to the common shape."""
    x, y = _pair(op.name, a, b)
    return op(x, y, **attrs)


def _pair(op: str, a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    like = a if isinstance(a, Tensor) else b
    x, y = lift(a, like), lift(b, like)
    to = common_dtype(op, x.dtype, y.dtype)
    shape = common_shape(op, x.shape, y.shape)
    return x.astype(to).broadcast_to(shape), y.astype(to).broadcast_to(shape)


def common_backend(op: str, tensors: Sequence[Tensor]) -> str | None:
    """The one backend that the tensors are bound to, if any; two are an error."""
    found = dict.fromkeys(t.backend for t in tensors if t.backend is not None)
    if len(found) > 1:
        names = " and ".join(found)
        raise SpecError("backend", op, f"operands are on {names}; move one with .to(…)")
    return next(iter(found), None)


def _node(x: Any, like: Tensor) -> Node:
    if isinstance(x, Tensor):
        return x.node
    if isinstance(x, Node):
        return x
    return lift(x, like).broadcast_to(like.shape).node


def _axis(axis: int, rank: int) -> int:
    try:
        return attr.normal_axis(axis, rank)
    except (TypeError, ValueError) as error:
        raise SpecError("attribute", "axis", str(error)) from None


def _sizes(given: Sequence[Any]) -> tuple[Any, ...]:
    one = given[0] if len(given) == 1 else None
    return tuple(one if isinstance(one, (tuple, list)) else given)


def _is_data(node: Node) -> bool:
    return node.op is LEAF


def _is_known(nodes: Sequence[Node]) -> bool:
    """Whether an op on these nodes can run at once: nothing behind them waits for a call."""
    return all(
        isinstance(node.attrs["source"], Held) if node.op is LEAF else not node.attrs.symbols
        for node in postorder(*nodes)
    )
