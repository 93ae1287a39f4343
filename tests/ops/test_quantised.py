"""Affine quantisation means what Torch's fake quantisation and exact fractions say."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from ptir import ops
from ptir.ir import Dim, Program, SpecError, dtype, param, tensor_type
from ptir.ops.evaluate import evaluate
from tests.ops.calling import call

RNG = np.random.default_rng(4)
NARROW = ["si4", "ui4", "si8", "ui8", "si16", "ui16"]


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def zeros_for(element, *shape):
    low, high = dtype(element).range
    return RNG.integers(max(low, -100), min(high, 100), shape, endpoint=True).astype(
        dtype(element).numpy
    )


def scales(*shape):
    return np.exp2(RNG.integers(-7, 0, shape)).astype(np.float32)  # x / scale = x · (1 / scale)


@pytest.mark.parametrize("element", NARROW)
def test_quantize_and_back_equals_torch_per_tensor(element):
    x, scale, zero = normal(50, 7), scales(), zeros_for(element)
    back = call(ops.dequantize, call(ops.quantize, x, scale, zero, dtype=element), scale, zero)
    want = torch.fake_quantize_per_tensor_affine(
        torch.tensor(x), float(scale), int(zero), *dtype(element).range
    )
    np.testing.assert_array_equal(back, want.numpy())


@pytest.mark.parametrize("element", NARROW)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantize_and_back_equals_torch_per_axis(element, axis):
    x = normal(5, 4, 3)
    scale, zero = scales(x.shape[axis]), zeros_for(element, x.shape[axis])
    q = call(ops.quantize, x, scale, zero, axis=axis, dtype=element)
    back = call(ops.dequantize, q, scale, zero, axis=axis)
    want = torch.fake_quantize_per_channel_affine(
        torch.tensor(x),
        torch.tensor(scale),
        torch.tensor(zero.astype(np.int32)),
        axis % 3,
        *dtype(element).range,
    )
    np.testing.assert_array_equal(back, want.numpy())


@pytest.mark.parametrize("element", NARROW)
@pytest.mark.parametrize("axis, group_size", [(0, 2), (1, 3), (1, 1), (2, 5), (-1, 5)])
def test_each_group_of_an_axis_has_its_own_scale(element, axis, group_size):
    x = normal(4, 6, 5)
    shape = list(x.shape)
    shape[axis] //= group_size
    scale, zero = scales(*shape), zeros_for(element, *shape)
    groups = {"axis": axis, "group_size": group_size}
    q = call(ops.quantize, x, scale, zero, **groups, dtype=element)
    back = call(ops.dequantize, q, scale, zero, **groups)
    for index in np.ndindex(*x.shape):
        at = list(index)
        at[axis] //= group_size
        one = call(ops.quantize, x[index], scale[tuple(at)], zero[tuple(at)], dtype=element)
        assert q[index] == one
        assert back[index] == call(ops.dequantize, one, scale[tuple(at)], zero[tuple(at)])


@pytest.mark.parametrize("element", NARROW)
def test_quantize_is_the_exact_formula_saturated(element):
    x = np.concatenate([normal(40), np.arange(-20, 20) / np.float32(2), [1e30, -1e30]])
    x = x.astype(np.float32)
    scale, zero = np.float32(0.5), zeros_for(element)
    low, high = dtype(element).range
    exact = [round(Fraction(float(v)) / Fraction(0.5)) + int(zero) for v in x]  # half to even
    q = call(ops.quantize, x, scale, zero, dtype=element)
    assert q.astype(np.int64).tolist() == [min(max(v, low), high) for v in exact]


def test_division_is_not_multiplication_by_a_reciprocal():
    halves = np.arange(-120, 120, dtype=np.float32) + np.float32(0.5)
    scale = np.float32(0.7)
    x = halves * scale
    want = np.rint(x / scale)
    assert (want != np.rint(x * (np.float32(1) / scale))).any()
    assert call(ops.quantize, x, scale, dtype="si8").tolist() == want.tolist()


@pytest.mark.parametrize("element", NARROW)
def test_infinities_saturate_and_nan_is_zero(element):
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    q = call(ops.quantize, x, np.float32(0.1), dtype=element).astype(np.int64)
    assert q.tolist() == [*reversed(dtype(element).range), 0]


@pytest.mark.parametrize("element", ["bf16", "f16", "f8e4m3"])
def test_narrow_floats_are_quantised_in_f32(element):
    x = normal(64).astype(dtype(element).numpy)
    scale = np.float32(0.037)
    q = call(ops.quantize, x, scale, dtype="si8")
    assert q.tolist() == call(ops.quantize, x.astype(np.float32), scale, dtype="si8").tolist()
    back = call(ops.dequantize, q, scale, dtype=element)
    exact = call(ops.dequantize, q, scale)
    assert back.tolist() == exact.astype(dtype(element).numpy).tolist()


def test_an_f64_operand_is_quantised_in_f64():
    x = np.array([2.0**31 - 3, 1 / 3], np.float64)
    scale = np.array(1.0)
    assert call(ops.quantize, x, scale, dtype="si32").tolist() == [2**31 - 3, 0]
    q = np.array([2**31 - 3], np.int32)
    assert call(ops.dequantize, q, scale, dtype="f64").tolist() == [2.0**31 - 3]


def test_requantize_goes_from_accumulators_to_bytes():
    q = RNG.integers(-40000, 40000, (6, 4)).astype(np.int32)
    scale_in, zero_in = np.array([0.001, 0.002, 0.004, 0.5], np.float32), np.zeros(4, np.int32)
    scale_out, zero_out = np.float32(0.3), np.uint8(128)
    found = call(ops.requantize, q, scale_in, zero_in, scale_out, zero_out, axis=1, dtype="ui8")
    steps = np.rint(q.astype(np.float32) * scale_in / scale_out) + np.float32(128)
    np.testing.assert_array_equal(found, np.clip(steps, 0, 255).astype(np.uint8))


def test_requantize_takes_the_old_zero_away_first():
    q, zero_in, zero_out = np.array([10, 14, 250], np.uint8), np.uint8(12), np.int8(-3)
    found = call(ops.requantize, q, np.float32(0.5), zero_in, np.float32(1), zero_out, dtype="si8")
    assert found.tolist() == [-4, -2, 116]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_groups_of_a_symbolic_axis(rows):
    N = Dim.symbol("N")
    program = Program.of(
        [tensor_type((2, 4 * N), "f32"), tensor_type((2, N), "f32")],
        lambda x, s: ops.dequantize(
            ops.quantize(x, s, axis=1, group_size=4, dtype="si4"), s, axis=1, group_size=4
        ),
    ).verify()
    x, scale = normal(2, 4 * rows), scales(2, rows)
    wide = np.repeat(scale, 4, axis=1)
    (found,) = evaluate(program, [x, scale])
    np.testing.assert_array_equal(found, np.clip(np.rint(x / wide), -8, 7) * wide)


def test_a_scale_that_does_not_cover_the_tensor_is_refused():
    x = param(0, tensor_type((2, 6), "f32"))

    def scale(*shape):
        return param(1, tensor_type(shape, "f32"))

    with pytest.raises(SpecError, match="no scale for groups of 4 along axis 1"):
        ops.quantize(x, scale(2, 2), axis=1, group_size=4, dtype="si8")
    with pytest.raises(SpecError, match="no scale for axis 0"):
        ops.quantize(x, scale(6), axis=0, dtype="si8")
    with pytest.raises(SpecError, match="name it"):
        ops.quantize(x, scale(2, 3), group_size=2, dtype="si8")
    with pytest.raises(SpecError, match=r"operand 2 is si8\[\], wanted ui8\[\]"):
        ops.quantize(x, scale(), param(2, tensor_type((), "si8")), dtype="ui8")
