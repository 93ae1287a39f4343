"""The native attention kernel, against a loop over rows in f64."""

import math
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.native.calling import Refused, call, levels
from tests.native.layouts import laid

Array = np.ndarray[Any, Any]
CAUSAL, PAST, LENGTHS, MASK, CAP, WINDOW, WORKSPACE = (1 << i for i in range(7))
DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16}
BOUNDS = {"f32": 3e-6, "bf16": 1e-2, "f16": 2e-3}  # relative to values around 1
SIZES = (1, 2, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)


@dataclass(frozen=True)
class Case:
    """One call: what it reads, and how it is asked."""

    q: Array
    k: Array
    v: Array
    past: Array | None = None
    lengths: Array | None = None
    mask: Array | None = None
    causal: bool = True
    window: int | None = None
    cap: float | None = None
    scale: float = 0.3


def case(
    rng, batch=1, heads=2, groups=1, queries=1, keys=1, depth=8, depth_v=8, *,
    dtype="f32", **options: Any,
) -> Case:  # fmt: skip
    """Random q, k and v of these sizes."""

    def values(*shape: int) -> Array:
        return np.asarray(rng.standard_normal(shape), DTYPES[dtype])

    q = values(batch, heads, queries, depth)
    k, v = values(batch, groups, keys, depth), values(batch, groups, keys, depth_v)
    return Case(q, k, v, **options)


def run(c: Case, *, threads: int = 1, level: str | None = None, workspace: bool = True) -> Array:
    B, heads, T, _ = c.q.shape
    S, Dv = c.v.shape[2:]
    out = np.full((B, heads, T, Dv), 7, c.q.dtype)
    chunks = -(-S // 256)
    rest = [
        (PAST, c.past),
        (LENGTHS, c.lengths),
        (MASK, None if c.mask is None else np.broadcast_to(c.mask, (B, heads, T, S))),
        (WORKSPACE, np.full(B * heads * T * chunks * (Dv + 2), np.nan, np.float32)),
    ]
    rest = [(bit, x) for bit, x in rest if x is not None and (bit != WORKSPACE or workspace)]
    flags = sum(bit for bit, _ in rest) + CAUSAL * c.causal
    flags += CAP * (c.cap is not None) + WINDOW * (c.window is not None)
    call(
        "attention", flags, c.scale, float(c.cap or 0), c.window or 0, c.q, c.k, c.v, out,
        *(x for _, x in rest), threads=threads, level=level,
    )  # fmt: skip
    return out


def truth(c: Case) -> Array:
    """Row by row in f64: a row reads the keys that it sees and no other."""
    B, heads, T, _ = c.q.shape
    S, Dv = c.v.shape[2:]
    out = np.zeros((B, heads, T, Dv))
    for b, h, t in np.ndindex(B, heads, T):
        at = t + (0 if c.past is None else int(c.past[b]))
        keys = np.arange(S)
        seen = np.ones(S, bool)
        if c.causal:
            seen &= keys <= at
        if c.window is not None:
            seen &= keys > at - c.window
        if c.lengths is not None:
            seen &= keys < int(c.lengths[b])
        group = h // (heads // c.k.shape[1])
        out[b, h, t] = _row(c, b, h, group, t, keys[seen])
    return out


def _row(c: Case, b: int, h: int, group: int, t: int, keys: Array) -> Array:
    v = c.v[b, group, keys].astype(np.float64)
    with np.errstate(all="ignore"):
        scores = c.k[b, group, keys].astype(np.float64) @ c.q[b, h, t].astype(np.float64) * c.scale
        if c.cap is not None:
            scores = np.tanh(scores / c.cap) * c.cap
        if c.mask is not None:
            whole = np.broadcast_to(c.mask, (*c.q.shape[:3], c.k.shape[2]))
            scores = scores + whole[b, h, t, keys].astype(np.float64)
        if not len(keys) or (scores == -math.inf).all():
            return np.zeros(v.shape[1])
        weights = np.exp(scores - scores.max())
        mixed: Array = weights @ v / weights.sum()
    return mixed


def close(c: Case, found: Array, dtype: str = "f32") -> None:
    np.testing.assert_allclose(
        found.astype(np.float64), truth(c), rtol=BOUNDS[dtype], atol=BOUNDS[dtype]
    )


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture(params=levels())
def level(request):
    return request.param


@pytest.mark.parametrize("queries", SIZES)
def test_causal_attention_is_right_for_any_number_of_queries(rng, level, queries):
    c = case(rng, heads=2, groups=1, queries=queries, keys=queries, depth=16, depth_v=16)
    close(c, run(c, level=level))


@pytest.mark.parametrize("keys", (*SIZES, 255, 256, 257, 600))
@pytest.mark.parametrize("queries", (1, 3))
def test_a_few_queries_are_right_over_any_number_of_keys(rng, level, keys, queries):
    c = case(
        rng,
        heads=4,
        groups=2,
        queries=queries,
        keys=keys,
        depth=16,
        depth_v=32,
        past=np.array([keys - queries], np.int32),
    )
    close(c, run(c, level=level))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("queries", (1, 20))
def test_heads_of_any_size_are_right(rng, level, size, queries):
    c = case(
        rng, heads=3, groups=1, queries=queries, keys=40, depth=size, depth_v=size + 1, causal=False
    )
    c = replace(c, scale=1 / math.sqrt(size))
    close(c, run(c, level=level))


@pytest.mark.parametrize("heads", (1, 2, 3, 4, 5, 7, 8, 9, 17))
@pytest.mark.parametrize("queries", (1, 11))
def test_any_number_of_heads_shares_a_key_head(rng, level, heads, queries):
    c = case(
        rng, batch=2, heads=2 * heads, groups=2, queries=queries, keys=70, past=np.array([59, 30])
    )
    close(c, run(c, level=level))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", (1, 5, 33))
def test_each_dtype_is_computed_in_f32_and_rounded_once(rng, level, dtype, queries):
    c = case(
        rng,
        heads=4,
        groups=2,
        queries=queries,
        keys=90,
        depth=32,
        depth_v=32,
        dtype=dtype,
        causal=False,
    )
    found = run(c, level=level)
    assert found.dtype == DTYPES[dtype]
    wide = replace(c, **{name: getattr(c, name).astype(np.float32) for name in "qkv"})
    rounded = run(wide, level=level).astype(DTYPES[dtype])
    assert found.tobytes() == rounded.tobytes()
    close(c, found, dtype)


@pytest.mark.parametrize("queries", (2, 8, 9, 100))
@pytest.mark.parametrize("kind", ("si8", "ui8", "si16", "si32", "si64"))
def test_positions_and_lengths_may_be_any_integers(rng, level, queries, kind):
    integers = {"si8": np.int8, "ui8": np.uint8, "si16": np.int16, "si32": np.int32}
    of = integers.get(kind, np.int64)
    c = case(
        rng,
        batch=3,
        queries=queries,
        keys=120,
        past=np.array([0, 20, 5], of),
        lengths=np.array([0, 120, 9], of),
    )
    close(c, run(c, level=level))


@pytest.mark.parametrize("queries", (1, 4, 60))
@pytest.mark.parametrize("window", (1, 2, 17, 300, 2**62))
@pytest.mark.parametrize("causal", (True, False))
def test_a_window_leaves_out_what_is_far_behind(rng, level, queries, window, causal):
    c = case(rng, queries=queries, keys=600, past=np.array([530]), window=window, causal=causal)
    close(c, run(c, level=level))


@pytest.mark.parametrize("queries", (1, 4, 40))
def test_a_soft_cap_bounds_the_scores(rng, level, queries):
    c = case(rng, heads=4, groups=2, queries=queries, keys=50, causal=False, cap=1.5, scale=2.0)
    close(c, run(c, level=level))


@pytest.mark.parametrize("shape", ((50,), (1, 50), (4, 1, 1), (4, 20, 50), (2, 1, 20, 50)))
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mask_is_added_and_broadcasts(rng, level, shape, dtype):
    mask = np.asarray(rng.standard_normal(shape), DTYPES[dtype])
    c = case(rng, batch=2, heads=4, groups=2, queries=20, keys=50, causal=False, mask=mask)
    close(c, run(c, level=level))
    few = replace(c, q=c.q[:, :, :3], mask=mask[..., :3, :] if len(shape) > 1 else mask)
    close(few, run(few, level=level))


@pytest.mark.parametrize("queries", (1, 3, 20))
def test_a_query_that_sees_no_key_gives_zeros(rng, level, queries):
    c = case(rng, queries=queries, keys=30, causal=False, lengths=np.array([0]))
    assert not run(c, level=level).any()
    hidden = replace(c, lengths=None, mask=np.full((queries, 30), -math.inf, np.float32))
    assert not run(hidden, level=level).any()
    before = replace(c, lengths=None, causal=True, past=np.array([-2]))
    close(before, run(before, level=level))


@pytest.mark.parametrize("sizes", ((0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)))
def test_sizes_of_zero_are_no_work(rng, sizes):
    B, heads, queries, Dv = sizes
    c = case(
        rng,
        batch=B,
        heads=heads,
        groups=max(heads // 2, 0),
        queries=queries,
        keys=5,
        depth_v=Dv,
        causal=False,
    )
    assert run(c).shape == (B, heads, queries, Dv)


@pytest.mark.parametrize("queries", (1, 20))
def test_no_keys_at_all_give_zeros(rng, level, queries):
    assert not run(case(rng, queries=queries, keys=0, causal=False), level=level).any()


@pytest.mark.parametrize("queries", (1, 8, 9, 50))
@pytest.mark.parametrize("poison", (math.nan, math.inf, -math.inf))
def test_what_lies_beyond_the_visible_part_of_the_cache_does_not_leak(rng, level, queries, poison):
    c = case(
        rng,
        heads=4,
        groups=2,
        queries=queries,
        keys=700,
        depth=16,
        depth_v=16,
        past=np.array([300 - queries]),
    )
    clean = run(c, level=level)
    c.k[:, :, 300:] = poison
    c.v[:, :, 300:] = poison
    assert run(c, level=level).tobytes() == clean.tobytes()


@pytest.mark.parametrize("queries", (5, 70))
def test_a_nan_in_a_value_reaches_only_the_queries_that_see_it(rng, level, queries):
    c = case(rng, heads=2, queries=queries, keys=queries, depth=16, depth_v=16)
    c.v[:, :, 3, 2] = np.nan
    found = run(c, level=level)
    assert np.isfinite(found[:, :, :3]).all()
    assert np.isnan(found[:, :, 3:, 2]).all()
    assert np.isfinite(found[:, :, 3:, :2]).all()
    close(c, found)


@pytest.mark.parametrize("queries", (1, 20))
@pytest.mark.parametrize("value", (math.nan, math.inf))
def test_a_score_that_is_not_finite_makes_the_row_nan(rng, level, queries, value):
    c = case(rng, queries=queries, keys=40, causal=False, mask=np.zeros((queries, 40), np.float32))
    assert c.mask is not None
    c.mask[0, 11] = value
    found = run(c, level=level)
    assert np.isnan(found[:, :, 0]).all()
    assert np.isfinite(found[:, :, 1:]).all()


@pytest.mark.parametrize("queries", (1, 20))
def test_scores_far_apart_neither_overflow_nor_vanish(rng, level, queries):
    c = case(rng, queries=queries, keys=40, causal=False, scale=400.0)
    np.testing.assert_allclose(run(c, level=level), truth(c), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("queries", (1, 3, 8, 9, 300))
@pytest.mark.parametrize("workspace", (True, False))
def test_the_number_of_threads_does_not_change_a_bit(rng, level, queries, workspace):
    c = case(rng, batch=2, heads=6, groups=3, queries=queries, keys=900, past=np.array([600, 40]))
    alone = run(c, level=level, workspace=workspace)
    for threads in (2, 3, 5):
        found = run(c, level=level, threads=threads, workspace=workspace)
        assert found.tobytes() == alone.tobytes()
    close(c, alone)


def test_a_workspace_does_not_change_a_value(rng, level):
    c = case(rng, heads=4, groups=2, queries=1, keys=900, causal=False)
    assert (run(c, level=level) == run(c, level=level, workspace=False)).all()


@pytest.mark.parametrize("queries", (1, 20))
def test_any_strides_are_read_and_written(rng, level, queries):
    c = case(
        rng,
        batch=2,
        heads=4,
        groups=2,
        queries=queries,
        keys=70,
        depth=16,
        depth_v=16,
        causal=False,
    )
    plain = run(c, level=level)
    packed = replace(c, q=_packed(c.q), k=_packed(c.k), v=_packed(c.v))
    assert run(packed, level=level).tobytes() == plain.tobytes()
    turned = replace(c, q=_turned(c.q), k=_turned(c.k), v=_turned(c.v))
    np.testing.assert_allclose(run(turned, level=level), plain, rtol=1e-5, atol=1e-6)
    back = replace(c, **{n: np.flip(np.flip(getattr(c, n)).copy()) for n in "qkv"})
    np.testing.assert_allclose(run(back, level=level), plain, rtol=1e-5, atol=1e-6)
    out = np.zeros((2, queries, 4, 17), np.float32)[:, :, :, 1:].transpose(0, 2, 1, 3)
    call("attention", 0, c.scale, 0.0, 0, c.q, c.k, c.v, out, level=level)
    assert (out == plain).all()
    last = np.zeros((2, 4, 16, queries), np.float32).transpose(0, 1, 3, 2)
    call("attention", 0, c.scale, 0.0, 0, c.q, c.k, c.v, last, level=level)
    assert (last == plain).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", (1, 20))
def test_data_may_start_at_any_byte(rng, level, dtype, queries):
    c = case(
        rng,
        heads=4,
        groups=2,
        queries=queries,
        keys=70,
        depth=19,
        depth_v=24,
        dtype=dtype,
        causal=False,
    )
    q, k, v = (laid(x, "unaligned") for x in (c.q, c.k, c.v))
    out = laid(run(c, level=level) * 0, "unaligned")
    call("attention", 0, c.scale, 0.0, 0, q, k, v, out, level=level)
    assert out.tobytes() == run(c, level=level, workspace=False).tobytes()


def _packed(x: Array) -> Array:
    """The same values as a view of a packed [B, T, heads · D] projection, one element in."""
    B, heads, T, D = x.shape
    room = np.zeros(B * T * heads * D + 1, x.dtype)[1:].reshape(B, T, heads, D)
    room[...] = x.transpose(0, 2, 1, 3)
    return room.transpose(0, 2, 1, 3)


def _turned(x: Array) -> Array:
    """The same values with positions innermost."""
    return np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)


@pytest.mark.parametrize("queries", (1, 50))
def test_one_key_head_for_all_sequences_may_be_a_broadcast(rng, level, queries):
    c = case(rng, batch=3, heads=2, groups=1, queries=queries, keys=60, causal=False)
    c = replace(c, k=np.broadcast_to(c.k[:1], c.k.shape), v=np.broadcast_to(c.v[:1], c.v.shape))
    close(c, run(c, level=level))


@pytest.mark.parametrize("queries", (1, 12))
def test_wide_heads_that_leave_no_room_for_tiles_are_right(rng, level, queries):
    c = case(
        rng, heads=1, queries=queries, keys=9, depth=3000, depth_v=3000, causal=False, scale=0.02
    )
    close(c, run(c, level=level))


def test_heads_too_wide_for_the_scratch_memory_are_refused(rng):
    with pytest.raises(Refused):
        run(case(rng, heads=1, queries=1, keys=2, depth=1, depth_v=1 << 20, causal=False))


@pytest.mark.parametrize("cut", (1, 8, 40))
def test_chunked_prefill_is_one_prefill(rng, level, cut):
    c = case(rng, heads=4, groups=2, queries=100, keys=100, depth=16, depth_v=16)
    first = replace(c, q=c.q[:, :, :cut], past=np.array([0]))
    second = replace(c, q=c.q[:, :, cut:], past=np.array([cut]))
    parts = [run(first, level=level), run(second, level=level)]
    np.testing.assert_allclose(np.concatenate(parts, 2), run(c, level=level), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("causal", (True, False))
@pytest.mark.parametrize("queries", (6, 200))
def test_plain_cases_agree_with_torch(rng, level, causal, queries):
    c = case(
        rng,
        batch=2,
        heads=3,
        groups=3,
        queries=queries,
        keys=queries,
        depth=64,
        depth_v=64,
        causal=causal,
        scale=0.125,
    )
    q, k, v = (torch.from_numpy(x) for x in (c.q, c.k, c.v))
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    np.testing.assert_allclose(run(c, level=level), wanted.numpy(), rtol=2e-5, atol=2e-6)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_sizes_and_options_give_what_the_definition_says(data):
    size = st.integers(1, 40)
    B, groups, per_group = (data.draw(st.integers(1, 3)) for _ in range(3))
    T, S, D, Dv = data.draw(size), data.draw(st.integers(1, 300)), data.draw(size), data.draw(size)
    numbers = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    c = case(
        numbers, B, groups * per_group, groups, T, S, D, Dv,
        causal=data.draw(st.booleans()), scale=1 / math.sqrt(D),
    )  # fmt: skip
    if data.draw(st.booleans()):
        c = replace(c, past=numbers.integers(-3, S, B))
    if data.draw(st.booleans()):
        c = replace(c, lengths=numbers.integers(0, S + 2, B))
    if data.draw(st.booleans()):
        c = replace(c, window=data.draw(st.integers(1, S + 1)))
    if data.draw(st.booleans()):
        c = replace(c, cap=2.0)
    if data.draw(st.booleans()):
        c = replace(c, mask=np.asarray(numbers.standard_normal((T, S)), np.float32))
    for name in levels():
        close(c, run(c, level=name, threads=2, workspace=data.draw(st.booleans())))
