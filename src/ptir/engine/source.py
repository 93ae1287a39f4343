"""The data that programs run on: host arrays, earlier results, parameters, and places to be
filled.
"""

from abc import abstractmethod
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from ptir.backends import Backend, Handle
from ptir.ir import Role, Source, SpecError, TensorType, Type, type_of
from ptir.params import ParamKey, new_version

Array = np.ndarray[Any, Any]

SMALL = 1 << 16  # bytes of a parameter that is not worth reading twice

# `next` is one C call; the number says only whether anything was replaced since it was read.
_replacements = count(1)
_last_replacement = 0


def replacements() -> int:
    """A number that is another one once any parameter has been replaced."""
    return _last_replacement


class Held(Source):
    """A source whose value can be had on a backend."""

    is_stale = False  # whether the value was replaced: it refuses to be read then

    @abstractmethod
    def handle(self, backend: Backend) -> Handle:
        """The value on a backend, for one run that reads it."""

    def keep(self, backend: Backend) -> Handle:
        """The value on a backend, for many runs that read it."""
        return self.handle(backend)

    def donate(self, backend: Backend) -> Handle:
        """The value on a backend, for one run that may overwrite it: a copy, if others read it."""
        return backend.put(self.load().copy())


class Data(Held):
    """A host array. The caller must not write to it afterwards."""

    def __init__(self, array: Array) -> None:
        self.type = type_of(array)
        self._array = array

    def load(self) -> Array:
        return self._array

    def handle(self, backend: Backend) -> Handle:
        return backend.put(self._array)


class Computed(Held):
    """A result that lies on a backend until it is donated to a program."""

    def __init__(
        self, type: TensorType, backend: Backend, handle: Handle, shared: bool = False
    ) -> None:
        self.type = type
        self.backend = backend
        self._handle: Handle | None = handle
        self._shared = shared  # something else still reads the buffer: a host view, a parameter

    def load(self) -> Array:
        self._shared = True
        return self.backend.get(self._alive())

    def handle(self, backend: Backend) -> Handle:
        return self._alive() if backend is self.backend else backend.put(self.load())

    def keep(self, backend: Backend) -> Handle:
        self._shared = True
        return self.handle(backend)

    def donate(self, backend: Backend) -> Handle:
        handle = self._alive()
        if self._shared or backend is not self.backend:
            handle = super().donate(backend)
        self._handle = None
        return handle

    def _alive(self) -> Handle:
        if self._handle is None:
            raise SpecError(
                "donated",
                "tensor",
                "its buffer was donated as state to a compiled function; use the state returned",
            )
        return self._handle


class Parameter(Held):
    """A parameter: known by its key, loaded when a program first needs it, once for each
    backend.

    `content` is a digest that tells its data from any other data, in any process; None where nobody
    knows. `check` raises `PtirError` if the data are not those. The data never change. `replace`
    makes a successor, whose content is not known; the replaced one then refuses to be read, so
    that nothing computes with old data unawares.
    """

    type: TensorType
    role = Role.PARAMETER
    name: str

    def __init__(
        self,
        type: TensorType,
        name: str,
        key: ParamKey,
        load: Callable[[], Array],
        *,
        content: bytes | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.type = type
        self.name = name
        self.key = key
        self.version = new_version(key)
        self.content = content
        self.check_content = check
        self._load = load

    def replace(self, load: Callable[[], Array]) -> "Parameter":
        """The same parameter with other data of the same type."""
        global _last_replacement
        self.refuse_if_stale()
        successor = Parameter(self.type, self.name, self.key, load)
        self.is_stale = True
        _last_replacement = next(_replacements)
        return successor

    def load(self) -> Array:
        self.refuse_if_stale()
        array = self._load()
        if type_of(array) != self.type:
            came = type_of(array)
            raise SpecError(
                "param", "parameter", f"{self.name}: the source gave {came}, wanted {self.type}"
            )
        return array

    def handle(self, backend: Backend) -> Handle:
        self.refuse_if_stale()
        return backend.params.fetch(self.version, (self,), lambda: backend.put(self.load()))

    def lend(self, backend: Backend) -> Handle:
        """The value on a backend, which keeps it only if it is small or kept already."""
        if self.type.nbytes <= SMALL:
            return self.handle(backend)
        self.refuse_if_stale()
        found = backend.params.find(self.version)
        return backend.put(self.load()) if found is None else found

    def refuse_if_stale(self) -> None:
        """Raise `SpecError` (`stale`) if the data was replaced."""
        if self.is_stale:
            raise SpecError(
                "stale",
                "parameter",
                f"{self.name}: its data was replaced; take the parameter from its module again",
            )


class Argument(Source):
    """A place that a call fills. Its value cannot be read while the function is traced."""

    def __init__(self, type: Type, role: Role = Role.ARGUMENT) -> None:
        self.type = type
        self.role = role

    def load(self) -> Array:
        raise SpecError(
            "traced",
            "tensor",
            f"the value of {self.type} is not known while a function is traced; "
            "compute with ops, or pass it as a static argument",
        )
