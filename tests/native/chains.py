"""Calls of the elementwise kernel by the names of its instructions, and what chains mean."""

from typing import Any

import numpy as np

from ptir.backends.native.library import library
from ptir.ir import dtype
from ptir.ir.op import OPS
from tests.native.calling import call

Array = np.ndarray[Any, Any]
Step = tuple[Any, ...]  # name, dtype of the operands, register to write, registers, [dtype of cast]

FORMAT = {
    "f32": (24, -149, 2.0**128),
    "f64": (53, -1074, np.inf),
    "bf16": (8, -133, 2.0**128),
    "f16": (11, -24, 2.0**16),
}  # bits of the significand, exponent of the least number, what is behind the largest


def run(
    out: Array, inputs: list[Array], *steps: Step, threads: int = 1, level: str | None = None
) -> None:
    """Run a chain: `out` gets what the last step makes."""
    known = library()
    words = []
    for name, computed, to, *sources in steps:
        numbers = [known.dtypes[x] if isinstance(x, str) else x for x in sources]
        if name == "cast":
            numbers.insert(1, 0)
        words += [known.elementwise[name], known.dtypes[computed], to]
        words += numbers + [0] * (3 - len(numbers))
    registers = max([len(inputs), *(step[2] for step in steps)]) + 1
    head = (len(inputs), len(steps), registers)
    call("elementwise", *head, out, *inputs, *words, threads=threads, level=level)


def meaning(inputs: list[Array], *steps: Step) -> Array:
    """The last step's value, op by op with the NumPy meaning of each."""
    values = dict(enumerate(inputs))
    for name, _, to, *sources in steps:
        values[to] = one(name, *[x if isinstance(x, str) else values[x] for x in sources])
    return values[steps[-1][2]]


def one(name: str, *operands: Any) -> Array:
    """The NumPy meaning of one instruction."""
    if name == "clamp":
        return one("minimum", one("maximum", *operands[:2]), operands[2])
    attrs: dict[str, Any] = {}
    if name.startswith("compare_"):
        name, attrs = "compare", {"op": name[8:]}
    if name == "cast":
        operands, attrs = operands[:1], {"dtype": dtype(operands[1])}
    reference: Any = OPS[name].reference
    return np.asarray(reference(*operands, **attrs))


def apply(name: str, *operands: Array, level: str | None = None) -> Array:
    """One instruction on arrays of any equal shape; the result has the type of its meaning."""
    computed = dtype(operands[-1].dtype).name
    narrow = name.startswith("compare_") or name == "is_finite"
    out = np.empty(operands[0].shape, np.bool_ if narrow else operands[-1].dtype)
    run(out, list(operands), (name, computed, len(operands), *range(len(operands))), level=level)
    return out


def ulps(found: Array, truth: Any) -> Array:
    """How far `found` is from the truth (f64), in units of the truth's last place; inf where one is
    NaN, infinite or negative and the other is not.

    What overflows is the next number behind the largest: one too far is one unit off.
    """
    digits, least, top = FORMAT[dtype(found.dtype).name]
    truth, got = np.asarray(truth, np.float64), found.astype(np.float64)
    with np.errstate(all="ignore"):
        reached = np.where(np.isinf(got) & np.isfinite(truth), np.copysign(top, got), got)
        unit = np.ldexp(1.0, np.maximum(np.frexp(truth)[1] - digits, least))
        off = np.abs(reached - np.clip(truth, -top, top)) / unit
    same = (got == truth) | (np.isnan(got) & np.isnan(truth))
    alike = np.isnan(truth) | (np.signbit(got) == np.signbit(truth))
    off = np.where(same, 0.0, np.where(np.isnan(off), np.inf, off))
    return np.asarray(np.where(alike, off, np.inf))
