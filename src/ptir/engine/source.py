"""The data that programs run on: host arrays, earlier results, parameters, and places to be
filled.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ptir.backends import Backend, Handle
from ptir.ir import Role, Source, SpecError, TensorType, Type, type_of
from ptir.params import ParamKey

Array = np.ndarray[Any, Any]


class Held(Source):
    """A source whose value can be had on a backend."""

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

    def __init__(self, type: TensorType, backend: Backend, handle: Handle) -> None:
        self.type = type
        self.backend = backend
        self._handle: Handle | None = handle
        self._shared = False  # a host view or a compiled function still reads the buffer

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
    """

    role = Role.PARAMETER

    def __init__(
        self, type: TensorType, name: str, key: ParamKey, load: Callable[[], Array]
    ) -> None:
        self.type = type
        self.name = name
        self.key = key
        self._load = load

    def load(self) -> Array:
        array = self._load()
        if type_of(array) != self.type:
            came = type_of(array)
            raise SpecError(
                "param", "parameter", f"{self.name}: the source gave {came}, wanted {self.type}"
            )
        return array

    def handle(self, backend: Backend) -> Handle:
        return backend.params.fetch(self.key, self, lambda: backend.put(self.load()))


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
