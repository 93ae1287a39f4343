"""Where parameter values come from. Knows neither files nor devices."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ptir.ir.dtype import DType, dtype
from ptir.ir.error import SpecError, nearest

from .identity import BaseParamId, base_param_id


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """What is known of a parameter before its value is read."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed value."""
        return self.dtype.nbytes(math.prod(self.shape))


class ParamSource(ABC):
    """Named host arrays, each read when it is first needed; safe to share between threads."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """All parameter names, sorted."""

    @abstractmethod
    def spec(self, name: str) -> ParamSpec:
        """Element type and shape of `name`; reads no value. Raises PtirError if unknown."""

    @abstractmethod
    def load(self, base_id: BaseParamId) -> np.ndarray[Any, Any]:
        """The value as a read-only, C-contiguous array, perhaps not aligned to its element size.

        Raises PtirError if the id is unknown or the value can no longer be read.
        """


@final
class DictSource(ParamSource):
    """Arrays in memory, by name. They are not copied unless they are strided."""

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}
        for name, array in sorted(arrays.items()):
            dtype(array.dtype)
            view = np.asarray(array, order="C").view()
            view.flags.writeable = False
            self._arrays[name] = view
        self._by_id = {base_param_id(name): name for name in self._arrays}

    def names(self) -> tuple[str, ...]:
        return tuple(self._arrays)

    def spec(self, name: str) -> ParamSpec:
        array = self._arrays.get(name)
        if array is None:
            near = nearest(name, self._arrays)
            raise SpecError("param", "spec", f"no parameter {name!a}{near}")
        return ParamSpec(dtype(array.dtype), array.shape)

    def load(self, base_id: BaseParamId) -> np.ndarray[Any, Any]:
        name = self._by_id.get(base_id)
        if name is None:
            raise SpecError("param", "load", f"no parameter has the id {base_id:#034x}")
        return self._arrays[name]
