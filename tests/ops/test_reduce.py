"""Reductions mean what Torch and Python's own integers and exact sums say."""

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from functools import reduce as fold
from itertools import accumulate

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import DTYPES, Dim, SpecError, dtype, param, tensor_type
from ptir.ops.reduce import argmax, argmin, cumulative, reduce
from tests.data import ramp
from tests.exact import INTEGERS, NARROW_FLOATS, nearest, same
from tests.ops.calling import call, reference

RNG = np.random.default_rng(5)
FOLD: dict[str, Callable[[int, int], int]] = {
    "sum": operator.add,
    "prod": operator.mul,
    "max": max,
    "min": min,
    "and": operator.and_,
    "or": operator.or_,
}
TORCH = {"sum": torch.sum, "prod": torch.prod, "max": torch.amax, "min": torch.amin}
values = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -2.0, 3.5])
rows = st.lists(st.lists(values, min_size=4, max_size=4), min_size=1, max_size=3)


def spread(of: str, count: int) -> np.ndarray:
    low, high = dtype(of).range
    return RNG.integers(low, high, count, dtype(of).numpy if dtype(of).bits > 4 else np.int8, True)


def clamped(value: int, of: str) -> int:
    low, high = dtype(of).range
    return min(max(value, low), high)


def wrapped(value: int, bits: int, signed: bool) -> int:
    value %= 1 << bits
    return value - (1 << bits) if signed and value >> (bits - 1) else value


@pytest.mark.parametrize("kind", FOLD)
@pytest.mark.parametrize("of", INTEGERS)
def test_integers_reduce_as_python_integers_in_64_bits_then_saturate(of, kind):
    x = spread(of, 9).astype(dtype(of).numpy)
    exact = fold(FOLD[kind], [int(v) for v in x])
    want = clamped(wrapped(exact, 64, dtype(of).kind == "int"), of)
    assert int(call(reduce, x, kind=kind, axes=0)) == want


@pytest.mark.parametrize("kind", ["and", "or", "max", "min"])
@pytest.mark.parametrize("x", [[True, True], [True, False], [False, False]])
def test_i1_reduces_as_logic(kind, x):
    want = (all if kind in ("and", "min") else any)(x)
    assert call(reduce, np.array(x), kind=kind, axes=0) == want


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reduce_equals_torch_along_any_axes(kind, axes, keepdims):
    x = RNG.standard_normal((3, 5, 7)).astype(np.float32)
    want = torch.tensor(x.astype(np.float64))
    if kind == "prod":  # Torch takes one axis at a time
        for axis in reversed(axes):
            want = want.prod(axis, keepdim=keepdims)
    else:
        want = TORCH[kind](want, axes, keepdim=keepdims)
    got = call(reduce, x, kind=kind, axes=axes, keepdims=keepdims)
    same(got, want.numpy().astype(np.float32))


@given(rows, st.sampled_from(["max", "min"]))
def test_max_and_min_propagate_nan_as_torch(rows, kind):
    x = np.array(rows, np.float32)
    want = TORCH[kind](torch.tensor(x), 1).numpy()
    np.testing.assert_array_equal(call(reduce, x, kind=kind, axes=1), want)


@pytest.mark.parametrize("of", ["f8e5m2", "bf16", "f32", "f64"])
@pytest.mark.parametrize("count", [2, 5, 17, 64])
def test_negative_zero_is_below_zero_in_whatever_order_they_come(of, count):
    zeros = np.zeros(count, dtype(of).numpy)
    zeros[::2] = -0.0
    high, low = (np.array(v, zeros.dtype) for v in (0.0, -0.0))
    for x in (zeros, zeros[::-1]):
        same(call(reduce, x, kind="max", axes=0), high)
        same(call(reduce, x, kind="min", axes=0), low)
        same(call(cumulative, x, kind="max", axis=0)[-1:], high[None])


@given(rows)
def test_sum_of_special_values_equals_torch(rows):
    x = np.array(rows, np.float32)
    want = torch.tensor(x).sum(1).numpy()
    np.testing.assert_array_equal(call(reduce, x, kind="sum", axes=1), want)


@pytest.mark.parametrize("of", NARROW_FLOATS)
def test_narrow_sums_accumulate_in_f32_and_round_once(of):
    x = np.abs(RNG.standard_normal((8, 33)) * 0.3).astype(dtype(of).numpy)
    exact = np.array([float(sum(map(Fraction, map(float, row)))) for row in x])
    want = exact.astype(np.float32).astype(np.float64)
    same(call(reduce, x, kind="sum", axes=1), nearest(want, of))


def test_what_an_f32_accumulator_cannot_tell_decides_no_rounding():
    x = np.array([1, 2**-8, 2**-30], dtype("bf16").numpy)
    assert float(call(reduce, x, kind="sum", axes=0)) == 1  # a tie in f32, to even
    assert float(call(reduce, x, kind="sum", axes=0, accum_dtype="f64")) == 1 + 2**-7


def test_sums_of_bf16_do_not_stop_at_256():
    ones = np.ones(1000, dtype("bf16").numpy)
    assert float(call(reduce, ones, kind="sum", axes=0)) == 1000
    assert call(reduce, ones, kind="sum", axes=0, out_dtype="f32") == np.float32(1000)


@pytest.mark.parametrize("axis", [0, 1])
def test_2_to_24_plus_2_ones_sum_exactly_in_f32(axis):
    ones = np.broadcast_to(np.float32(1), (2**24 + 2, 1) if axis == 0 else (1, 2**24 + 2))
    total = reference(
        reduce, ones, kind="sum", axes=(axis,), keepdims=False, accum_dtype=None, out_dtype=None
    )
    assert total.dtype == np.float32
    assert total.tolist() == [2.0**24 + 2]


def test_f32_sums_are_the_exact_sum_rounded_once():
    x = RNG.standard_normal((20, 300)).astype(np.float32)
    want = np.array([math.fsum(row) for row in x.tolist()]).astype(np.float32)
    same(call(reduce, x, kind="sum", axes=1), want)


def test_accumulator_dtype_decides_where_integers_wrap():
    x = np.array([2**31 - 1, 1, 0], np.int32)
    run = partial(call, reduce, x, kind="sum", axes=0)
    assert run(out_dtype="si64") == 2**31
    assert run() == 2**31 - 1  # the cast to si32 saturates
    assert run(accum_dtype="si32") == -(2**31)


def test_complex_sum_and_prod_equal_torch():
    x = ramp("c128", 3, 6)
    for kind in ("sum", "prod"):
        want = TORCH[kind](torch.tensor(x), 1).numpy()
        np.testing.assert_allclose(call(reduce, x, kind=kind, axes=1), want, rtol=1e-14)


@pytest.mark.parametrize(
    "kind, of, want",
    [
        ("sum", "f32", 0), ("sum", "si8", 0), ("prod", "f32", 1), ("prod", "ui4", 1),
        ("max", "f32", -math.inf), ("max", "f16", -math.inf), ("max", "bf16", -math.inf),
        ("max", "f8e5m2", -math.inf), ("max", "f8e4m3", -448), ("min", "f8e4m3", 448),
        ("min", "f64", math.inf), ("max", "si4", -8), ("min", "si4", 7), ("max", "ui8", 0),
        ("min", "ui64", 2**64 - 1), ("max", "si64", -(2**63)), ("max", "i1", False),
        ("min", "i1", True), ("and", "i1", True), ("or", "i1", False), ("and", "si16", -1),
        ("and", "ui4", 15), ("and", "ui64", 2**64 - 1), ("or", "ui8", 0),
    ],
)  # fmt: skip
def test_over_nothing_each_kind_gives_what_changes_nothing(kind, of, want):
    got = call(reduce, np.empty((2, 0), dtype(of).numpy), kind=kind, axes=1)
    assert got.tolist() == [want] * 2
    for x in ramp(of, 5):
        pair = np.array([got[0], x], dtype(of).numpy)
        assert call(reduce, pair, kind=kind, axes=0) == x


# --- argmax, argmin ---


@given(rows, st.sampled_from([(argmax, np.argmax, "argmax"), (argmin, np.argmin, "argmin")]))
def test_arg_of_ties_is_the_first_and_nan_wins(rows, ops):
    op, numpy_op, name = ops
    x = np.array(rows, np.float32)
    got = call(op, x, axis=1)
    np.testing.assert_array_equal(got, numpy_op(x, 1))
    best = max if name == "argmax" else min
    for row, index in zip(rows, got, strict=True):
        nans = [i for i, v in enumerate(row) if math.isnan(v)]
        assert index == (nans[0] if nans else row.index(best(row)))


@pytest.mark.parametrize("of", [d for d in DTYPES.values() if not d.is_complex], ids=str)
def test_arg_of_every_real_dtype_is_the_first_best(of):
    x = ramp(of, 23)
    exact = [float(v) for v in x]
    assert call(argmax, x, axis=0) == exact.index(max(exact))
    assert call(argmin, x, axis=0) == exact.index(min(exact))


def test_arg_compares_64_bit_integers_exactly():
    x = np.array([2**63, 2**64 - 2, 2**64 - 1], np.uint64)
    assert call(argmax, x, axis=0) == 2
    assert call(argmin, x, axis=0, out_dtype="ui32") == np.uint32(0)


def test_arg_over_an_axis_that_turns_out_empty_is_an_error():
    attrs = {"axis": 1, "keepdims": False, "out_dtype": dtype("si64")}
    for op in (argmax, argmin):
        with pytest.raises(SpecError, match=r"axis 1 has size 0.*\[empty\]"):
            reference(op, np.empty((2, 0), np.float32), **attrs)


# --- cumulative ---


@pytest.mark.parametrize(
    "kind, want",
    [
        ("sum", lambda x, axis: x.cumsum(axis)),
        ("prod", lambda x, axis: x.cumprod(axis)),
        ("max", lambda x, axis: x.cummax(axis).values),
        ("min", lambda x, axis: x.cummin(axis).values),
    ],
)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("turned", [False, True])
def test_cumulative_equals_torch(kind, want, axis, turned):
    x = torch.tensor(RNG.standard_normal((4, 5, 6)))
    expected = want(x.flip(axis), axis).flip(axis) if turned else want(x, axis)
    got = call(cumulative, x.numpy(), kind=kind, axis=axis, reverse=turned)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("of", ["si4", "ui8", "si32", "si64", "ui64"])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_cumulative_equals_reduce_of_each_prefix(kind, of, exclusive, turned):
    x = spread(of, 7).astype(dtype(of).numpy)
    got = call(cumulative, x, kind=kind, axis=0, exclusive=exclusive, reverse=turned)
    ordered = x[::-1] if turned else x
    want = [call(reduce, ordered[: i + (not exclusive)], kind=kind, axes=0) for i in range(len(x))]
    assert got.tolist() == (want[::-1] if turned else want)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8))
def test_cumulative_si64_sum_wraps_as_twos_complement(numbers):
    got = call(cumulative, np.array(numbers, np.int64), kind="sum", axis=0)
    assert got.tolist() == [wrapped(total, 64, True) for total in accumulate(numbers)]


def test_long_f32_cumulative_sum_does_not_drift():
    x = np.full(100_000, 0.1, np.float32)
    got = call(cumulative, x, kind="sum", axis=0)
    assert got[-1] == np.float32(100_000 * float(x[0]))


def test_nan_stays_in_a_running_maximum():
    got = call(cumulative, np.array([1, np.nan, 5], np.float32), kind="max", axis=0)
    np.testing.assert_array_equal(got, np.array([1, np.nan, np.nan], np.float32))


def test_reduce_keeps_symbolic_sizes():
    x = param(0, tensor_type((Dim.symbol("B"), 4, 3), "f32"))
    assert str(reduce(x, kind="sum", axes=1).type) == "f32[?B, 3]"
    assert str(reduce(x, kind="sum", axes=0, keepdims=True).type) == "f32[1, 4, 3]"
