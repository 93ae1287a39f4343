"""Try a rule: generate graphs on which it fires, run both sides, compare."""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from ptir.ir import Pattern, Rule, SpecError, TensorType, dtype
from ptir.ops.evaluate import evaluate
from tests.exact import same
from tests.passes.instances import instance

USUAL: Any = {
    "phases": (Phase.generate, Phase.shrink),
    "suppress_health_check": list(HealthCheck),  # many graphs are drawn on which no rule fires
    "database": None,
}


def prove(rule: Rule, pattern: Pattern, examples: int, **setting: Any) -> None:
    """Raise if both sides of the rule differ on any of so many examples, or none is found."""
    fired = []

    @settings(max_examples=examples, **(USUAL | setting))
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        found, new = instance(data.draw, rule, pattern)
        before, after = found.program(found.root), found.program(new)
        assert new.type == found.root.type
        fired.append(new)
        try:
            (want,) = evaluate(before, found.values)
        except SpecError:  # not defined on these values: nothing to keep
            return
        (got,) = evaluate(after, found.values)
        if isinstance(found.root.type, TensorType):
            alike(np.asarray(got), np.asarray(want), rule.tolerance)

    try:
        holds()
    except Unsatisfiable:
        assert fired, f"{rule.name}: it fired on no instance of its pattern"


def alike(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any], tolerance: float) -> None:
    """Equal bits, NaN payloads aside; or within `tolerance` units in the last place of the
    largest value.
    """
    if not tolerance or not dtype(want.dtype).is_float:
        same(got, want)
        return
    wide, truth = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(truth)
    same(np.where(finite, 0, wide), np.where(finite, 0, truth))
    largest = np.max(np.abs(truth[finite]), initial=0.0)
    unit = np.spacing(want.dtype.type(largest)).astype(np.float64)
    assert np.all(np.abs(wide[finite] - truth[finite]) <= tolerance * unit)
