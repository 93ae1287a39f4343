"""How long programs take, executed on operands made for the purpose. Knows no functional."""

from collections.abc import Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ptir import engine
from ptir.backends import Backend, Executable, Handle
from ptir.ir import Program, SpecError, TensorType

Array = np.ndarray[Any, Any]

WARM_UPS, RUNS = 2, 7
REPRESENTATIVE = 64
"""What a symbolic size is taken for: one measurement serves every length."""


def measure(
    programs: Mapping[str, Program], operands: Sequence[Array], backend: Backend
) -> dict[str, float]:
    """The median time of each program on a backend, in milliseconds, until its results can be read.

    The programs take turns, so that a machine that slows down slows all of them.
    """
    handles = [backend.put(a) for a in operands]
    compiled = {name: _compiled(program, backend) for name, program in programs.items()}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(WARM_UPS + RUNS):
        for name, executable in compiled.items():
            took = _run(executable, handles, backend)
            if turn >= WARM_UPS:
                times[name].append(took)
    return {name: median(each) for name, each in times.items()}


def _compiled(program: Program, backend: Backend) -> Executable:
    """An executable of its own: measuring leaves no trace in the plan cache."""
    lowered, _ = engine.lower(program, backend, engine.passes_of(backend))
    return backend.compile(lowered)


def _run(executable: Executable, handles: Sequence[Handle], backend: Backend) -> float:
    begun = perf_counter()
    for result in executable(*handles):
        backend.get(result)  # a device may still be at work when a call returns
    return (perf_counter() - begun) * 1e3


def random_array(type: TensorType, random: np.random.Generator) -> Array:
    """Normal numbers of a float or complex type; zeros of any other, which are always in range."""
    shape, to = type.static_shape, type.dtype
    if to.is_float:
        return random.standard_normal(shape).astype(to.numpy)
    if to.is_complex:
        real, imaginary = random.standard_normal((2, *shape))
        return np.asarray(real + 1j * imaginary).astype(to.numpy)
    return np.zeros(shape, to.numpy)


def representative(types: Mapping[str, TensorType]) -> dict[str, int]:
    """The sizes at which operands of these types are measured, by symbol."""
    symbols = frozenset().union(*(t.symbols for t in types.values()))
    return dict.fromkeys(sorted(symbols), REPRESENTATIVE)


def refuse_shape(name: str, operand: str, came: Array, wanted: TensorType) -> None:
    """Raise `SpecError` for a sampled operand that is not of its type."""
    if came.shape != wanted.static_shape or came.dtype != wanted.dtype.numpy:
        message = f"sampled {operand} is {came.dtype}{list(came.shape)}, wanted {wanted}"
        raise SpecError("sample", name, message)
