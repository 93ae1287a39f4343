"""One op on arrays, through a program: the reference returns what the type rule promises."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ptir.ir import Op, Program, TensorType, TupleType, Type, type_of
from ptir.ops.evaluate import evaluate


def call(op: Op, /, *arrays: Any, **attrs: Any) -> Any:
    """The reference result of `op`, checked against its inferred type."""
    return _run(partial(op, **attrs), *arrays)


def decomposed(op: Op, /, *arrays: Any, **attrs: Any) -> Any:
    """What `op` means as it is written with simpler ops, checked against its inferred type."""
    whole = Program.of(list(map(_type, arrays)), partial(op, **attrs)).results[0]
    assert op.decompose is not None
    return _run(partial(op.decompose, **whole.attrs), *arrays, wanted=whole.type)


def reference(op: Op, *arrays: Any, **attrs: Any) -> Any:
    """The reference alone, as it meets sizes that the type rule knew only as symbols."""
    assert op.reference is not None
    return op.reference(*arrays, **attrs)


def _run(build: Callable[..., Any], *arrays: Any, wanted: Type | None = None) -> Any:
    operands = [np.asarray(a) for a in arrays]
    program = Program.of(list(map(_type, operands)), build).verify()
    (result,) = evaluate(program, operands)
    assert _type(result) == program.results[0].type
    assert wanted in (None, program.results[0].type)
    return result


def _type(value: Any) -> Any:
    if isinstance(value, tuple):
        return TupleType(tuple(map(_type, value)))
    found: TensorType = type_of(value)
    return found
