"""What a compiled call costs around its work: one add of four numbers, 10,000 calls a round."""

from typing import Any

import numpy as np

import ptir
from benchmarks import Row, measure

try:
    import torch
except ImportError:  # the comparison is left out
    torch = None

CALLS = 10_000
LIMIT = 50.0  # µs around the work


def rows() -> list[Row]:
    """The whole call, its executable alone, and the same add in NumPy and in Torch."""
    a, b = np.ones(4, np.float32), np.full(4, 2, np.float32)
    x, y = ptir.as_tensor(a), ptir.as_tensor(b)
    step = ptir.compile(lambda x, y: x + y)
    work = step.program(x, y).executable
    backend = step.backend
    handles = backend.put(a), backend.put(b)
    call = measure("compiled add", lambda: step(x, y), calls=CALLS)
    alone = measure("its executable alone", lambda: work(*handles), calls=CALLS)
    found = [call, alone, _around(call, alone)]
    found.append(measure("NumPy add", lambda: a + b, calls=CALLS))
    if torch is not None:
        found.append(_torch(a, b))
    return found


def _around(call: Row, alone: Row) -> Row:
    """Around the work: the medians' difference, and the least and most that the rounds allow."""
    within = call.median - alone.median
    verdict = "within" if within <= LIMIT else "over"
    least, most = call.least - alone.most, call.most - alone.least
    note = f"{verdict} the limit of {LIMIT:.0f} µs"
    return Row("around the work", "µs", within, least, most, call.repeats, note)


def _torch(a: Any, b: Any) -> Row:
    p, q = torch.from_numpy(a), torch.from_numpy(b)
    return measure("Torch add", lambda: p + q, calls=CALLS)
