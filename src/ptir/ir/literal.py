"""A constant array as a value: compared by bytes, so `-0.0` and each NaN keep their identity."""

import hashlib
from functools import cached_property
from typing import Any

import numpy as np

from .dtype import DTypeLike, dtype
from .type import TensorType, type_of


class Literal:
    """An immutable array that can be an attribute: hashable, equal when type and bytes are."""

    def __init__(self, value: Any, element: DTypeLike | None = None) -> None:
        want = None if element is None else dtype(element).numpy
        array = np.array(value, want, order="C")  # always a copy: nobody else may write to it
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        array.flags.writeable = False
        self.array = array
        self.type: TensorType = type_of(array)
        self._key = (self.type, array.tobytes())
        self._hash = hash(self._key)

    @cached_property
    def digest(self) -> str:
        """The first 16 hex digits of the content's SHA-256."""
        return hashlib.sha256(self._key[1]).hexdigest()[:16]

    @property
    def uniform(self) -> np.generic | None:
        """The one element that fills the array, or `None` (empty arrays have none)."""
        flat = self.array.reshape(-1)
        if flat.size == 0:
            return None
        first = flat[:1].tobytes()
        return flat[0] if first * flat.size == self._key[1] else None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key

    def __repr__(self) -> str:
        return f"Literal({self.array.tolist()!r}, {self.type})"
