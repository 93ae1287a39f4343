"""dot_general means what einsum, Torch and sums of Python integers say."""

import math
from fractions import Fraction
from itertools import product
from string import ascii_letters

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir import Dim, SpecError, dtype, param, tensor_type
from ptir.ops.linear import dot_general
from tests.exact import INTEGERS, NARROW_FLOATS, nearest, same
from tests.ops.calling import call, reference

RNG = np.random.default_rng(7)
MATMUL = {"contract_lhs": 1, "contract_rhs": 0}


@st.composite
def dimension_numbers(draw):
    """Two shapes and their axis pairs, every role in any place: (lhs, rhs, attrs, einsum)."""
    sizes = st.sampled_from([1, 2, 3, 4, 2, 3, 4, 0])
    batch = draw(st.lists(sizes, max_size=2))
    contract = draw(st.lists(sizes, max_size=2))
    names = iter(ascii_letters)
    paired = [(next(names), size) for size in (*batch, *contract)]
    free = [[(next(names), size) for size in draw(st.lists(sizes, max_size=2))] for _ in range(2)]
    left, right = (draw(st.permutations([*paired, *own])) for own in free)
    spell = ["".join(name for name, _ in axes) for axes in (left, right)]
    shapes = [[size for _, size in axes] for axes in (left, right)]
    batches, contracts = paired[: len(batch)], paired[len(batch) :]
    attrs = {
        "batch_lhs": [left.index(axis) for axis in batches],
        "batch_rhs": [right.index(axis) for axis in batches],
        "contract_lhs": [left.index(axis) for axis in contracts],
        "contract_rhs": [right.index(axis) for axis in contracts],
    }
    result = [
        *batches,
        *(axis for axis in left if axis in free[0]),
        *(axis for axis in right if axis in free[1]),
    ]
    return *shapes, attrs, f"{spell[0]},{spell[1]}->{''.join(name for name, _ in result)}"


@given(dimension_numbers(), st.sampled_from(["si32", "f64", "c128"]))
def test_dot_general_equals_einsum_for_any_dimension_numbers(case, of):
    left, right, attrs, formula = case
    a, b = (RNG.integers(-9, 9, shape).astype(dtype(of).numpy) for shape in (left, right))
    if dtype(of).is_complex:
        a = a * (1 - 2j)
    same(call(dot_general, a, b, **attrs), np.einsum(formula, a, b))


def test_batch_pairs_are_pairs_in_any_order():
    a, b = RNG.standard_normal((2, 3, 5, 4)), RNG.standard_normal((3, 6, 4, 2))
    axes = {"batch_lhs": (1, 0), "batch_rhs": (0, 3), "contract_lhs": 3, "contract_rhs": 2}
    want = np.einsum("yxmk,xnky->xymn", a, b)
    np.testing.assert_allclose(call(dot_general, a, b, **axes), want, rtol=1e-12, atol=1e-12)
    axes |= {"batch_lhs": (0, 1), "batch_rhs": (3, 0)}
    swapped = want.swapaxes(0, 1)
    np.testing.assert_allclose(call(dot_general, a, b, **axes), swapped, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (3, 7, 5), (17, 31, 13), (1, 129, 1), (65, 3, 2)])
def test_f32_products_are_within_the_bound_of_the_exact_sum(m, k, n):
    a = RNG.standard_normal((m, k)).astype(np.float32)
    b = RNG.standard_normal((k, n)).astype(np.float32)
    got = call(dot_general, a, b, **MATMUL)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    bound = 2 * k * np.finfo(np.float32).eps * (np.abs(wide_a) @ np.abs(wide_b))
    exact = [[math.fsum(wide_a[i] * wide_b[:, j]) for j in range(n)] for i in range(m)]
    assert (np.abs(got - np.array(exact)) <= bound).all()


def test_attention_scores_equal_torch():
    q, k = (RNG.standard_normal((2, 5, 3, 8)).astype(np.float32) for _ in range(2))
    got = call(
        dot_general, q, k, batch_lhs=(0, 2), batch_rhs=(0, 2), contract_lhs=3, contract_rhs=3
    )
    heads = [torch.tensor(x).transpose(1, 2) for x in (q, k)]
    want = heads[0] @ heads[1].transpose(-1, -2)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("of", INTEGERS)
def test_integers_multiply_as_python_integers_then_saturate(of):
    element = dtype(of)
    low, high = element.range
    wide = np.int8 if element.bits == 4 else element.numpy
    a, b = (RNG.integers(low, high, s, wide, True).astype(element.numpy) for s in ((3, 9), (9, 2)))
    got = call(dot_general, a, b, **MATMUL)
    bits, signed = (32, True) if element.bits <= 8 else (element.bits, element.kind == "int")
    for i, j in product(range(3), range(2)):
        exact = sum(int(x) * int(y) for x, y in zip(a[i], b[:, j], strict=True)) % (1 << bits)
        if signed and exact >> (bits - 1):
            exact -= 1 << bits
        assert int(got[i, j]) == min(max(exact, low), high)


def test_8_bit_products_are_exact_in_si32():
    a, b = (RNG.integers(-128, 127, s, np.int8, True) for s in ((4, 333), (333, 5)))
    got = call(dot_general, a, b, out_dtype="si32", **MATMUL)
    want = torch.tensor(a).int() @ torch.tensor(b).int()
    same(got, want.numpy())


@pytest.mark.parametrize("of", NARROW_FLOATS)
@pytest.mark.parametrize("k", [1, 3, 64])
def test_narrow_floats_accumulate_in_f32_and_round_once(of, k):
    # Quarters: f32 holds each product and sum exactly, so that only the last rounding is left.
    a, b = ((RNG.integers(-7, 8, s) / 4).astype(dtype(of).numpy) for s in ((5, k), (k, 6)))
    exact = [
        [float(sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(r, c, strict=True)))
         for c in b.T]
        for r in a
    ]  # fmt: skip
    same(call(dot_general, a, b, **MATMUL) + 0, nearest(np.array(exact), of) + 0)
    wide = call(dot_general, a, b, out_dtype="f32", **MATMUL)
    np.testing.assert_array_equal(wide, np.array(exact, np.float32))


def test_bf16_contraction_does_not_stop_at_256():
    ones = np.ones(1000, dtype("bf16").numpy)
    assert float(call(dot_general, ones, ones, contract_lhs=0, contract_rhs=0)) == 1000


def test_accum_f64_is_the_f64_product_rounded_once():
    a, b = (RNG.standard_normal(s).astype(np.float32) for s in ((9, 333), (333, 7)))
    want = (torch.tensor(a).double() @ torch.tensor(b).double()).float().numpy()
    same(call(dot_general, a, b, accum_dtype="f64", **MATMUL), want)
    assert (call(dot_general, a, b, **MATMUL) != want).any()


@pytest.mark.parametrize("of", ["si8", "ui32", "f16", "bf16", "f32", "c64"])
def test_zero_length_contraction_gives_zeros(of):
    a, b = np.empty((3, 0), dtype(of).numpy), np.empty((0, 4), dtype(of).numpy)
    same(call(dot_general, a, b, **MATMUL), np.zeros((3, 4), dtype(of).numpy))


def test_no_zero_hides_nan_or_infinity():
    a = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
    b = np.array([[np.inf, np.nan], [0.0, 0.0]], np.float32)
    want = torch.tensor(a) @ torch.tensor(b)
    np.testing.assert_array_equal(call(dot_general, a, b, **MATMUL), want.numpy())


def test_views_with_odd_strides_multiply_as_their_copies():
    a = RNG.integers(-9, 9, (6, 10)).astype(np.float32)
    b = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None], (5, 4))
    views = a[::-2, ::2], b
    same(call(dot_general, *views, **MATMUL), views[0].copy() @ b.copy())


def test_symbolic_sizes_stay_and_must_be_the_same_expression():
    B, S = Dim.symbol("B"), Dim.symbol("S")
    x = param(0, tensor_type((B, S, 8), "f32"))
    scores = dot_general(x, x, batch_lhs=0, batch_rhs=0, contract_lhs=2, contract_rhs=2)
    assert str(scores.type) == "f32[?B, ?S, ?S]"
    with pytest.raises(SpecError, match=r"\?S, rhs.*\?B \[shape\]"):
        dot_general(x, x, contract_lhs=1, contract_rhs=0)


def test_sizes_are_checked_again_at_run_time():
    attrs = {
        "batch_lhs": (), "batch_rhs": (), "contract_lhs": (1,), "contract_rhs": (0,),
        "accum_dtype": None, "out_dtype": None,
    }  # fmt: skip
    with pytest.raises(SpecError, match=r"size 3.* 2 \[shape\]"):
        reference(dot_general, np.ones((2, 3)), np.ones((2, 3)), **attrs)
