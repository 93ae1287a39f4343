"""Writing GPTRSCHK v2: the bytes, and what is refused.

What every writer promises is in `tests/checkpoint`.
"""

import functools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ptir.checkpoint import Checkpoint, CheckpointError, save
from ptir.params import base_param_id
from tests.gptrschk import TAGS, read_by_hand

CONFIG = {"embed_dim": 8, "eps": 1e-5, "activation": "gelu"}
Array = np.ndarray[Any, Any]
OLD: dict[str, Array] = {"w": np.arange(3, dtype=np.float32)}
NEW: dict[str, Array] = {
    "a": np.ones((2, 3), np.float32),
    "b.c": np.zeros(5, np.int32),
    "w": np.full(4, 7, np.float16),
}

DTYPES = [np.dtype(name) for name in (np.float32, np.float16, ml_dtypes.bfloat16, np.int32)]
SEGMENT = st.text("abcdefgh_0123456789 -/", min_size=1, max_size=6)
NAME = st.lists(SEGMENT, min_size=1, max_size=3).map(".".join)


@st.composite
def array(draw):
    """Any bits, NaN payloads among them, of any writable dtype and rank."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    count = int(np.prod(shape)) * dtype.itemsize
    raw = draw(st.binary(min_size=count, max_size=count))
    return (
        np.frombuffer(raw, np.uint8).view(dtype).reshape(shape) if count else np.zeros(shape, dtype)
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("save") / "model.bin"


@settings(max_examples=50)  # each one waits for the disk
@given(st.dictionaries(NAME, array(), max_size=5))
def test_what_is_saved_is_loaded_bit_for_bit(path, tensors):
    save(path, kind="gpt", config=CONFIG, tensors=tensors, version=2)
    checkpoint = Checkpoint(path)
    assert (checkpoint.kind, checkpoint.config, checkpoint.runtime) == ("gpt", CONFIG, None)
    assert checkpoint.names() == tuple(sorted(tensors))
    for name, wanted in tensors.items():
        loaded = checkpoint.load(base_param_id(name))
        assert (loaded.dtype, loaded.shape) == (wanted.dtype, wanted.shape)
        assert loaded.tobytes() == wanted.tobytes()


@settings(max_examples=50)  # each one waits for the disk
@given(st.dictionaries(NAME, array(), max_size=5))
def test_the_file_is_laid_out_as_the_format_says(path, tensors):
    runtime = {"functional_overrides": {"matmul": "force=tiled"}}
    save(path, kind="gpt", config=CONFIG, runtime=runtime, tensors=tensors, version=2)
    raw = path.read_bytes()
    header, rows = read_by_hand(raw)
    assert header == {"kind": "gpt", "config": CONFIG, "runtime": runtime}
    assert [r.name.decode() for r in rows] == sorted(tensors)
    at = len(raw) - sum(len(r.data) for r in rows)
    assert at % 64 == 0
    for r in rows:
        wanted = tensors[r.name.decode()]
        assert (r.dims, r.tag) == (wanted.shape, TAGS[wanted.dtype.name])
        assert (r.offset, r.data) == (at, wanted.tobytes())
        assert r.base_id == base_param_id(r.name.decode())
        at += len(r.data)


ZERO = np.zeros(1, np.float32)
NESTED: list[Any] = functools.reduce(lambda inner, _: [inner], range(33), [])
REFUSED = [
    ({"tensors": {"w": np.zeros(1)}}, "tensor 'w': version 2 cannot hold f64; have f32, f16, bf"),
    ({"tensors": {"w": np.array(["x"])}}, "tensor 'w': no PTIR dtype"),
    ({"tensors": {"a..b": ZERO}}, "empty segment"),
    ({"tensors": {"": ZERO}}, "empty segment"),
    ({"tensors": {"é": ZERO}}, "must be ASCII"),
    ({"tensors": {"\ud800": ZERO}}, "not valid UTF-8"),
    ({"tensors": {"a\nb": ZERO}}, "control character"),
    ({"tensors": {"n" * 513: ZERO}}, "name of 513 bytes"),
    ({"tensors": {"w": np.zeros((1,) * 33, np.float32)}}, "rank 33"),
    ({"kind": "../gpt"}, 'needs "kind"'),
    ({"config": {"a": float("nan")}}, "config cannot be written as JSON"),
    ({"config": {"a": {1, 2}}}, "config cannot be written as JSON"),
    ({"config": {"a": 10**20}}, "21 digits"),
    ({"config": {"a": "\ud800"}}, "config is not valid JSON"),
    ({"config": {"a": "x" * (1 << 20)}}, "at most 1048576"),
    ({"runtime": {"a": NESTED}}, "nested more than 32 deep"),
]  # fmt: skip


@pytest.mark.parametrize("change,fact", REFUSED)
def test_what_no_reader_would_take_is_not_written(tmp_path, change, fact):
    path = tmp_path / "model.bin"
    with pytest.raises(CheckpointError, match=fact) as caught:
        save(path, **{"kind": "gpt", "config": {}, "tensors": {}, "version": 2} | change)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []
