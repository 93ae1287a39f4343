"""A value on the native backend: an array of the host and its address."""

from typing import Any, final

import numpy as np

Array = np.ndarray[Any, Any]


@final
class Handle:
    """A C-contiguous array whose elements are aligned; the address is looked up once."""

    __slots__ = ("address", "array", "shape")

    def __init__(self, array: Array) -> None:
        self.array = array
        self.shape = array.shape
        self.address: int = array.__array_interface__["data"][0]


def put(array: Array) -> Handle:
    """The array itself where kernels can read it, else a copy that they can."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    if not array.flags.aligned or not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="), copy=True)
    return Handle(array)
