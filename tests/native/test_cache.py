"""The native kernels around the cache of keys and values: its update, and rotary positions."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.native.calling import Refused, call, levels
from tests.native.layouts import laid

DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16}
BOUNDS = {"f32": 3e-7, "bf16": 8e-3, "f16": 1e-3}
SIZES = (0, 1, 2, 7, 15, 16, 17, 31, 33, 63, 65, 127, 129)


@pytest.fixture
def rng():
    return np.random.default_rng(6)


@pytest.fixture(params=levels())
def level(request):
    return request.param


def values(rng, shape: tuple[int, ...], dtype: str = "f32") -> np.ndarray[Any, Any]:
    return np.asarray(rng.standard_normal(shape), DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", SIZES)
def test_new_rows_stand_at_their_positions_and_all_others_stay(rng, level, dtype, depth):
    cache, new = values(rng, (3, 2, 9, depth), dtype), values(rng, (3, 2, 4, depth), dtype)
    wanted = cache.copy()
    for b, at in enumerate((0, 2, 5)):
        wanted[b, :, at : at + 4] = new[b]
    for threads in (1, 2):
        found = cache.copy()
        call("update_cache", found, new, np.array([0, 2, 5]), level=level, threads=threads)
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("past", ((0, 6), (-1, 0), (3, -(2**31)), (2**40, 0)))
def test_a_position_outside_the_cache_is_refused_before_anything_is_written(rng, level, past):
    cache, new = values(rng, (2, 2, 9, 3)), values(rng, (2, 2, 4, 3))
    before = cache.copy()
    for threads in (1, 2):
        with pytest.raises(Refused):
            call("update_cache", cache, new, np.array(past), level=level, threads=threads)
    assert (cache == before).all()


def test_no_new_rows_have_no_position_that_could_be_wrong(rng):
    cache, new = values(rng, (1, 2, 9, 3)), values(rng, (1, 2, 0, 3))
    call("update_cache", cache, new, np.array([77]))


def test_a_cache_may_have_any_strides(rng, level):
    cache = values(rng, (5, 9, 3, 2)).transpose(3, 2, 1, 0)[:, :, ::-1, ::-1]
    new = values(rng, (2, 4, 3, 5)).transpose(0, 2, 1, 3)
    wanted = cache.copy()
    wanted[0, :, 1:5], wanted[1, :, 3:7] = new[0], new[1]
    call("update_cache", cache, new, np.array([1, 3], np.int32), level=level)
    assert (cache == wanted).all()


def rotated(x, cos, sin):
    x, cos, sin = (t.astype(np.float64) for t in (x, cos, sin))
    half = cos.shape[-1]
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    c, s = cos[:, None], sin[:, None]
    return np.concatenate([first * c - second * s, second * c + first * s, rest], -1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("half", SIZES)
@pytest.mark.parametrize("rest", (0, 3))
def test_channels_rotate_in_pairs_and_the_others_pass(rng, level, dtype, half, rest):
    x = values(rng, (2, 3, 4, 2 * half + rest), dtype)
    cos, sin = values(rng, (2, 4, half)), values(rng, (2, 4, half))
    wanted = rotated(x, cos, sin)
    for threads in (1, 2):
        out = np.full_like(x, 7)
        call("rotary", x, cos, sin, out, level=level, threads=threads)
        np.testing.assert_allclose(
            out.astype(np.float64), wanted, rtol=BOUNDS[dtype], atol=BOUNDS[dtype]
        )
        assert (out[..., 2 * half :] == x[..., 2 * half :]).all()
        place = x.copy()
        call("rotary", place, cos, sin, place, level=level, threads=threads)
        assert place.tobytes() == out.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_data_may_start_at_any_byte(rng, level, dtype):
    x, cache = values(rng, (1, 2, 3, 25), dtype), values(rng, (1, 2, 9, 25), dtype)
    cos, sin = values(rng, (1, 3, 11)), values(rng, (1, 3, 11))
    results = []
    for layout in ("plain", "unaligned"):
        out, into = laid(x * 0, layout), laid(cache, layout)
        angles = laid(cos, layout), laid(sin, layout)
        call("rotary", laid(x, layout), *angles, out, level=level)
        call("update_cache", into, laid(x, layout), np.array([4]), level=level)
        results.append((out.tobytes(), into.tobytes()))
    assert results[0] == results[1]


def test_one_table_serves_all_sequences_at_any_strides(rng, level):
    x = values(rng, (2, 5, 3, 12)).transpose(0, 2, 1, 3)[..., ::-1]
    cos, sin = values(rng, (6, 5)).T, values(rng, (5, 12))[:, ::2]
    both = [np.broadcast_to(t, (2, 5, 6)) for t in (cos, sin)]
    out = np.zeros((12, 2, 3, 5), np.float32).transpose(1, 2, 3, 0)
    call("rotary", x, *both, out, level=level)
    np.testing.assert_allclose(out, rotated(x, *both), rtol=1e-6, atol=1e-6)
