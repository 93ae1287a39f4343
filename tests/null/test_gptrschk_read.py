"""Reading GPTRSCHK v2: what must load, and what must be refused in words.

What every format promises is in `tests/checkpoint`.
"""

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ptir.checkpoint import Checkpoint, CheckpointError
from ptir.ir.dtype import bf16, f16, f32, si32
from ptir.params import ParamSpec, base_param_id
from tests.checkpoint.formats import use
from tests.gptrschk import HEADER, Row, assemble, row
from tests.mutate import boundary_cases, cheaply, with_field

F32 = np.array([[1.5, -2.0, np.inf], [0.0, 3e-45, 7.0]], np.float32)
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "blocks.0.b": np.array([1.0, -3.5, 65504.0], np.float16),
    "blocks.0.w": F32,
    "ids": np.array([-1, 2**31 - 1], np.int32),
    "none": np.zeros((0, 4), np.float32),
    "scale": np.array(0.5, np.float32),
    "tail": np.array([1, 2.5, -3e38], ml_dtypes.bfloat16),
}
SAMPLE = assemble([row(name, array) for name, array in ARRAYS.items()])


@pytest.fixture
def write(tmp_path):
    path: Path = tmp_path / "model.bin"
    # Written in place: emptying a file first takes milliseconds on some file systems.
    with path.open("wb", buffering=0) as file:

        def put(data: bytes) -> Path:
            file.seek(0)
            file.write(data)
            file.truncate()
            return path

        yield put


def refusal(path: Path) -> str:
    """The message with which `path` is refused; it is one printable line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        Checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


@pytest.fixture(params=["1", "0"], ids=["mapped", "copied"])
def mmap_knob(request, monkeypatch):
    monkeypatch.setenv("PTIR_MMAP", request.param)


@pytest.mark.usefixtures("mmap_knob")
def test_a_file_assembled_byte_by_byte_loads(write):
    checkpoint = Checkpoint(write(bytes(SAMPLE.data)))
    assert (checkpoint.kind, checkpoint.config, checkpoint.runtime) == (
        "gpt",
        {"embed_dim": 8},
        None,
    )
    assert checkpoint.names() == tuple(ARRAYS)
    assert [checkpoint.spec(name) for name in ARRAYS] == [
        ParamSpec(f16, (3,)),
        ParamSpec(f32, (2, 3)),
        ParamSpec(si32, (2,)),
        ParamSpec(f32, (0, 4)),
        ParamSpec(f32, ()),
        ParamSpec(bf16, (3,)),
    ]
    for name, array in ARRAYS.items():
        loaded = checkpoint.load(base_param_id(name))
        assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
        assert loaded.tobytes() == array.tobytes()
        assert not loaded.flags.writeable


def test_mapped_tensors_are_views_and_outlive_the_checkpoint(write):
    loaded = Checkpoint(write(bytes(SAMPLE.data))).load(base_param_id("blocks.0.w"))
    assert not loaded.flags.owndata
    np.testing.assert_array_equal(loaded, F32)


@pytest.mark.parametrize("shift", range(8))
def test_tensors_at_any_alignment_load(write, shift):
    header = json.dumps(HEADER).encode() + b" " * shift
    path = write(bytes(assemble([row("w", F32)], header).data))
    np.testing.assert_array_equal(Checkpoint(path).load(base_param_id("w")), F32)


def test_a_base_id_of_0_is_computed_and_the_reserved_byte_is_ignored(write):
    file = assemble([row("w", F32, base_id=0)])
    reserved = next(field for field in file.fields if field.name == "reserved")
    file.data[reserved.offset] = 1
    np.testing.assert_array_equal(Checkpoint(write(bytes(file.data))).load(base_param_id("w")), F32)


def test_the_index_may_be_in_any_order(write):
    path = write(bytes(assemble([row("b", F32), row("a", F32 + 1)]).data))
    checkpoint = Checkpoint(path)
    assert checkpoint.names() == ("a", "b")
    np.testing.assert_array_equal(checkpoint.load(base_param_id("a")), F32 + 1)


def test_a_file_without_tensors_loads(write):
    assert Checkpoint(write(bytes(assemble([]).data))).names() == ()


def test_bytes_after_the_last_entry_of_the_index_are_refused(write):
    file = assemble([row("w", F32)])
    length = next(field for field in file.fields if field.name == "index_len")
    offset = next(field for field in file.fields if field.name == "offset")
    data = with_field(bytes(file.data), length, len(file.data) - 24 - length.offset - 4 + 8)
    data = with_field(data, offset, len(data) - 24 + 8)
    path = write(data[:-24] + b"\0" * 8 + data[-24:])
    assert "index has 8 bytes after its last field" in refusal(path)


def placed(name: str, offset: int, count: int = 2) -> Row:
    """`count` floats whose index says `offset` from the start of the data."""
    return row(name, np.zeros(count, np.float32), offset=DATA + offset)


DATA = len(assemble([row("a", F32[:0]), row("b", F32[:0, 0])]).data) - 8  # a and b have one dim


@pytest.mark.parametrize(
    "rows,fact",
    [
        ([placed("a", 0), placed("b", 4)], "tensor 'b': overlaps"),
        ([placed("a", 0), placed("b", 0)], "overlaps"),
        ([placed("a", 8), placed("b", 8)], "tensor 'a': 8 unused bytes before it"),
        ([placed("a", 0), placed("b", 12)], "tensor 'b': bytes .* are outside the data"),
        ([placed("a", -1), placed("b", 8)], "tensor 'a': bytes .* are outside the data"),
        ([placed("a", 0), placed("b", 2**63)], "outside the data"),
        ([placed("a", 0, 3), placed("b", 4, 0)], "overlaps"),
        ([placed("a", 0), placed("a", 8)], "tensor 'a': appears twice"),
        ([placed("a", 0, 0), placed("b", 0, 0)], None),
        ([placed("a", 8), placed("b", 0)], None),
        ([placed("a", 0), placed("b", 8, 0)], None),
        ([placed("a", 0), placed("b", 0, 0)], None),
    ],
)
def test_the_tensors_fill_the_data_without_overlap_or_hole(write, rows, fact):
    path = write(bytes(assemble(rows).data))
    if fact is None:
        assert Checkpoint(path).names() == ("a", "b")
    else:
        with pytest.raises(CheckpointError, match=fact):
            Checkpoint(path)


@pytest.mark.parametrize(
    "changes,fact",
    [
        ({"tag": 4}, "dtype tag 4 is unknown; have f32 .0., f16 .1., bf16 .2., si32 .3."),
        ({"dims": (2, 4)}, r"has 24 bytes but f32\[2, 4\] takes 32"),
        ({"dims": (0, 2**63)}, "overflows 63 bits"),
        ({"dims": (2**32, 2**32)}, "overflows 63 bits"),
        ({"dims": (2**63 + 3, 2)}, "overflows 63 bits"),
        ({"dims": (1,) * 33}, "rank 33"),
        ({"dims": (1,) * 30 + (2, 3)}, None),
        ({"dims": (), "data": b"\0" * 4}, None),
        ({"byte_len": 23}, "has 23 bytes"),
        ({"base_id": 7}, "base id 0x0+7 is not the id of its name"),
        ({"name": b"n" * 513, "base_id": 0}, "name of 513 bytes"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(write, changes, fact):
    path = write(bytes(assemble([row("w", F32, **changes)]).data))
    if fact is None:
        assert Checkpoint(path).load(base_param_id("w")).shape == changes["dims"]
    else:
        with pytest.raises(CheckpointError, match=fact):
            Checkpoint(path)


NAMES = [
    b"", b".", b"..", b"../../x", b"a..b", b"a.", b"caf\xc3\xa9", b"\xff\xfe", b"\xc3", b"a\0b",
    b"a\nb", b"\x1b[31mred\x1b[0m", b"a\rb", b"a\x7fb", b"\xed\xa0\x80", b"a\xe2\x80\xaeb",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_bad_name_is_refused_and_never_shown_raw(write, name):
    assert "name" in refusal(write(bytes(assemble([Row(name, (1,), 0, b"\0" * 4)]).data)))


DEEP = b"[" * 100_000 + b"]" * 100_000
DOCUMENTS = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"[]", "a JSON list"),
    (b"null", "a JSON NoneType"),
    (b'{"kind": "gpt"}', 'needs "config"'),
    (b'{"config": {}}', 'needs "kind"'),
    (b'{"kind": 3, "config": {}}', 'needs "kind"'),
    (b'{"kind": "../gpt", "config": {}}', 'needs "kind"'),
    (b'{"kind": "os.path", "config": {}}', 'needs "kind"'),
    (b'{"kind": "\\u001b[31m", "config": {}}', 'needs "kind"'),
    (b'{"kind": "gpt", "config": []}', "an object; got list"),
    (b'{"kind": "gpt", "config": {}, "runtime": 1}', '"runtime" in config must be an object'),
    (b'{"kind": "gpt", "kind": "gpt", "config": {}}', "'kind' appears twice"),
    (b'{"kind": "gpt", "config": {"a": 1, "a": 1}}', "'a' appears twice"),
    (b'{"kind": "gpt", "config": {"a": NaN}}', "NaN is not a JSON number"),
    (b'{"kind": "gpt", "config": {"a": -Infinity}}', "-Infinity is not a JSON number"),
    (b'{"kind": "gpt", "config": {"a": 1e999}}', "does not fit in 64 bits"),
    (b'{"kind": "gpt", "config": {"a": ' + b"9" * 5000 + b"}}", "an integer of 5000 digits"),
    (b'{"kind": "gpt", "config": {"a": ' + b"9" * 500_000 + b".5}}", "does not fit in 64 bits"),
    (b'{"kind": "gpt", "config": {"a": "\xff"}}', "not valid JSON"),
    (b'{"kind": "gpt", "config": {"a": "\\ud800"}}', "not valid JSON"),
    (b'{"kind": "gpt", "config": {"a": "\n"}}', "not valid JSON"),
    (b'{"kind": "gpt", "config": {"a": ' + DEEP + b"}}", "nested more than 32 deep"),
    (b'{"kind": "gpt", "config": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "nested more than 32 deep"),
    (b'{"a": "' + b'\\"' * 500_000, "not valid JSON"),
    (b'"' * 600_001, "not valid JSON"),
    (b'"' * 1_000_000, "1000000 parts; at most 655360 are read"),
    (b'{"kind": "gpt", "config": {}}' + b" " * (1 << 20), "at most 1048576 are read"),
]


@pytest.mark.parametrize("document,fact", DOCUMENTS, ids=lambda v: repr(v[:40]))
def test_a_config_that_is_not_bounded_plain_json_is_refused_within_a_second(write, document, fact):
    path = write(bytes(assemble([], document).data))
    began = time.process_time()
    assert fact in refusal(path)
    assert time.process_time() - began < 1


def test_brackets_inside_strings_are_not_depth(write):
    text = "[{" * 1000 + '\\"' + "[{" * 1000
    header = {"kind": "gpt", "config": {"a": text}, "runtime": {"functional_overrides": {}}}
    checkpoint = Checkpoint(write(bytes(assemble([], header).data)))
    assert checkpoint.config == {"a": text}
    assert checkpoint.runtime == {"functional_overrides": {}}


TINY = assemble([], {"kind": "g", "config": {}})
ONE = assemble([row("w", F32)])


@pytest.fixture
def no_collection():
    """The garbage of other tests is not part of the time measured."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("sample", [TINY, ONE, SAMPLE], ids=["tiny", "one", "sample"])
def test_boundary_values_cost_no_time_and_no_memory(write, sample):
    assert len(TINY.data) < 64
    outcomes = set()
    for what, mutant in boundary_cases(bytes(sample.data), sample.fields):
        path = write(mutant)
        outcomes.add(isinstance(cheaply(use, path, what), str))
    assert outcomes == {True, False}  # some boundary is the value that the field had


# What is not a file to read.


def test_what_is_not_a_regular_file_is_not_even_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    monkeypatch.setattr(os, "open", lambda path, *_: pytest.fail(f"opened {path}"))
    for path in (tmp_path / "fifo", tmp_path / "link", tmp_path, Path(os.devnull)):
        refusal(path)


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_file_swapped_between_look_and_open_is_refused_at_once(
    tmp_path, write, monkeypatch, kind
):
    regular = os.lstat(write(bytes(SAMPLE.data)))
    swapped = tmp_path / kind
    os.mkfifo(tmp_path / "fifo")
    if kind == "link":
        swapped.symlink_to(tmp_path / "model.bin")
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda p: regular if p == swapped else lstat(p))
    refusal(swapped)


def test_a_path_is_shown_escaped_and_a_nul_is_refused():
    with pytest.raises(CheckpointError) as caught:
        Checkpoint("bad\n\x1b[31m\0")
    assert str(caught.value).isprintable()
