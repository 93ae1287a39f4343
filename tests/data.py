"""Small arrays for samples and tests: the same for every run, in every dtype."""

from typing import Any

import numpy as np

from ptir.ir import DTYPES, DTypeLike, dtype

Array = np.ndarray[Any, Any]

ALL = tuple(DTYPES)
INTEGERS = tuple(d.name for d in DTYPES.values() if d.is_integer)
REALS = tuple(d.name for d in DTYPES.values() if d.is_integer or d.is_float)
NUMBERS = tuple(d.name for d in DTYPES.values() if d.kind != "bool")


def ramp(of: DTypeLike, *shape: int) -> Array:
    """Values in no order and with repeats: −5 to 5, 0 to 10 where unsigned, quarters in floats.

    Sums of a few hundred of them are exact in every float dtype of 16 bits or more.
    """
    element = dtype(of)
    steps = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape) * 7 % 11
    if element.kind == "bool":
        return np.asarray(steps % 3 == 1)
    if element.kind == "uint":
        return np.asarray(steps.astype(element.numpy))
    if element.kind == "int":
        return np.asarray((steps - 5).astype(element.numpy))
    quarters = (steps - 5) / 4
    if element.is_complex:
        return np.asarray((quarters + 1j * quarters[..., ::-1]).astype(element.numpy))
    return np.asarray(quarters.astype(element.numpy))
