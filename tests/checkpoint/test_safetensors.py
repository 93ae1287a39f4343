"""safetensors, held against the `safetensors` package: its verdicts, its bytes, its files."""

import json
import re
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ptir.checkpoint import Checkpoint, CheckpointError, safetensors
from ptir.params import base_param_id

from .formats import (
    BY_NAME,
    COMMON,
    MUTANTS,
    SEED,
    ST_NAMES,
    ST_SMALL,
    Array,
    Disk,
    one,
    st_file,
    st_header,
    st_mutants,
    use,
)

FORMAT = BY_NAME["safetensors"]
FIELDS = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DATA = b"\0\0\x80\x3f" * 2
TEXT = json.dumps(FIELDS).encode()


def header(name: bytes, fields: bytes = TEXT) -> bytes:
    return b'{"' + name + b'":' + fields + b"}"


def typed(dtype: str, count: int, end: int = 8) -> bytes:
    return json.dumps(
        FIELDS | {"dtype": dtype, "shape": [count], "data_offsets": [0, end]}
    ).encode()


DEEP = b"[" * 40 + b"]" * 40

# Where we are stricter: why, what we say, and files that the package reads and we refuse.
STRICTER: dict[str, tuple[str, list[bytes]]] = {
    "types that PTIR lacks": (
        r"dtype '(F4|F6_E2M3|F6_E3M2|F8_E8M0|F8_E4M3FNUZ|F8_E5M2FNUZ)' is unknown",
        [
            st_file(header(b"a", typed(name, count)), DATA)
            for name, count in (("F4", 16), ("F8_E8M0", 8), ("F8_E4M3FNUZ", 8))
        ],
    ),
    "names that are no parameter names": (
        r"name must be ASCII|empty segment|control character|tensor name of \d+ bytes",
        [st_file(header(n), DATA) for n in (b"", b"a..b", b"\\n", b"\xc3\xa9", b"n" * 513, b"..")],
    ),
    "a key that comes twice": (
        r"the key '.*' appears twice",
        [
            st_file(b'{"a":' + TEXT + b',"a":' + TEXT + b"}", DATA),
            st_file(b'{"__metadata__":{"k":"v","k":"w"}}', b""),
        ],
    ),
    "a tensor that is not an object of the three fields": (
        "header needs an object of dtype, shape, data_offsets",
        [
            st_file(header(b"a", b'["F32",[2],[0,8]]'), DATA),
            st_file(header(b"a", TEXT[:-1] + b',"more":1}'), DATA),
        ],
    ),
    "a type that is an object": (
        r"dtype \{.*\} is unknown",
        [st_file(header(b"a", TEXT.replace(b'"F32"', b'{"F32":null}')), DATA)],
    ),
    "metadata that are null": (
        "must be an object of strings",
        [st_file(b'{"__metadata__":null}', b"")],
    ),
    "numbers of more than 20 digits, where they mean nothing": (
        r"an integer of \d+ digits",
        [st_file(header(b"a", TEXT[:-1] + b',"more":' + b"1" * 30 + b"}"), DATA)],
    ),
    "deep JSON": (
        "nested more than 32 deep",
        [st_file(header(b"a", TEXT[:-1] + b',"more":' + DEEP + b"}"), DATA)],
    ),
    "ranks over 32": (
        "at most 32 is read",
        [st_file(header(b"a", TEXT.replace(b"[2]", b"[2" + b",1" * 40 + b"]")), DATA)],
    ),
    "empty shapes whose other sizes overflow": (
        "overflows 63 bits",
        [
            st_file(header(b"a", b'{"dtype":"F32","shape":%s,"data_offsets":[0,0]}' % shape), b"")
            for shape in (b"[0,18446744073709551615]", b"[9223372036854775807,0]")
        ],
    ),
    "headers over 10 MiB": (
        "at most 10485760 are read",
        [st_file(b"{}" + b" " * (10 << 20), b"")],
    ),
    "headers over 2,560 KiB that are not ASCII": (
        "at most 2621440 are read",
        [st_file('{"__metadata__":{"k":"é"}}'.encode() + b" " * (3 << 20), b"")],
    ),
    "headers of more than 655,360 parts": (
        "parts; at most",
        [st_file(b'{"__metadata__":{"k":"' + b"," * (1 << 21) + b'"}}', b"")],
    ),
    "booleans that are neither 0 nor 1": (
        "neither 0 nor 1",
        [st_file(header(b"a", typed("BOOL", 8)), b"\1\0\2\0\0\0\0\0")],
    ),
}


def accepted(data: bytes) -> dict[str, tuple[str, list[int], bytes]] | None:
    """What the package reads: type, shape and bytes by name; None where it refuses."""
    try:
        found = oracle.deserialize(data)
    except oracle.SafetensorError:
        return None
    return {name: (t["dtype"], t["shape"], bytes(t["data"])) for name, t in found}


def told(loaded: Mapping[str, Array]) -> dict[str, tuple[str, list[int], bytes]]:
    return {
        name: (ST_NAMES[a.dtype.name], list(a.shape), a.tobytes()) for name, a in loaded.items()
    }


def difference(disk: Disk, data: bytes) -> str | None:
    """Why we are stricter about these bytes than the package; None where the two agree."""
    theirs, ours = accepted(data), use(disk.put(FORMAT, one(data)))
    if not isinstance(ours, str):
        assert told(ours) == theirs, data
        return None
    if theirs is None:
        return None
    reasons = [why for why, (said, _) in STRICTER.items() if re.search(said, ours)]
    assert len(reasons) == 1, (ours, data)
    return reasons[0]


@pytest.mark.parametrize("why", STRICTER)
def test_we_are_stricter_about(disk: Disk, why: str):
    for data in STRICTER[why][1]:
        assert difference(disk, data) == why


def test_where_we_are_stricter_is_what_the_documentation_says():
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    listed = page.split("Stricter than the `safetensors` package")[1].split("\n\n")[1]
    assert re.findall(r"^- (.*?)[.;:]", listed, re.MULTILINE) == list(STRICTER)


@pytest.mark.parametrize("arrays,seed", [(ST_SMALL, SEED + 10), (COMMON, SEED + 11)])
def test_mutants_get_the_verdict_and_the_bytes_of_the_package(disk: Disk, arrays, seed):
    outcomes: Counter[str | None] = Counter()
    for mutant in st_mutants(arrays, seed, MUTANTS // 2):
        outcomes[difference(disk, mutant)] += 1
    assert outcomes.total() == MUTANTS // 2
    assert outcomes[None] > outcomes.total() // 2
    assert len(outcomes) > 3  # the mutants do reach where we differ


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0" * 7, b"\0" * 8, st_file(b"{}", b""), st_file(b"{}", b"x"), st_file(b"[]", b""),
        st_file(b" \n{} \t\r\n", b""), st_file(b"{}\0", b""), st_file(b"\xef\xbb\xbf{}", b""),
        struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 3) + b"{}",
        st_file(header(b"a"), DATA), st_file(header(b"a"), DATA[:-1]),
        st_file(header(b"a", TEXT.replace(b"F32", b"F\\u0033\\u0032")), DATA),
        st_file(header(b"a", TEXT.replace(b"[2]", b"[2.0]")), DATA),
        st_file(header(b"a", TEXT.replace(b"[2]", b"[true]")), DATA),
        st_file(header(b"a", TEXT.replace(b"[2]", b"[2, true]")), DATA),
        st_file(header(b"a", TEXT.replace(b"[2]", b"[-1, -2]")), DATA),
        st_file(header(b"a", TEXT.replace(b"[2]", b"[-2]")), DATA),
        st_file(header(b"a", b'{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}'), b""),
        st_file(header(b"a", b'{"dtype":"F32","shape":[0],"data_offsets":[-0,0]}'), b""),
        st_file(header(b"a", TEXT.replace(b"[0, 8]", b"[0, 8, 8]")), DATA),
        st_file(header(b"a", TEXT.replace(b"[0, 8]", b"[8, 0]")), DATA),
        st_file(header(b"a", TEXT.replace(b"[0, 8]", b"[4, 12]")), DATA + DATA),
        st_file(header(b"a\\ud800"), DATA), st_file(header(b"a\xff"), DATA),
        st_file(b'{"__metadata__":{"k":1}}', b""), st_file(b'{"__metadata__":[]}', b""),
    ],
    ids=lambda data: ascii(data[:60]),
)  # fmt: skip
def test_verdicts_are_those_of_the_package(disk: Disk, data: bytes):
    assert difference(disk, data) is None


def test_the_package_reads_a_name_of_an_escape_as_we_do(disk: Disk):
    data = st_file(header(b"\\u0061.w"), DATA)
    assert difference(disk, data) is None
    assert Checkpoint(disk.put(FORMAT, one(data))).names() == ("a.w",)


def test_metadata_are_read(disk: Disk, tmp_path):
    header, data = st_header(ST_SMALL)
    given = {"format": "pt", "é\n": "\x1b[31m"}
    checkpoint = Checkpoint(disk.put(FORMAT, one(st_file({"__metadata__": given} | header, data))))
    assert checkpoint.metadata == given
    assert (checkpoint.kind, checkpoint.config, checkpoint.runtime) == (None, {}, None)


# --- writing ---


def by_the_package(tensors: Mapping[str, Array], metadata: dict[str, str] | None = None) -> bytes:
    whole = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in tensors.items()}
    specs = {
        name: oracle.TensorSpec(
            dtype=a.dtype.name, shape=a.shape, data_ptr=a.ctypes.data, data_len=a.nbytes
        )
        for name, a in whole.items()
    }
    return bytes(oracle.serialize(specs, metadata=metadata))


@pytest.mark.parametrize("metadata", [None, {}, {"format": "np"}])
def test_a_written_file_is_the_packages_own_byte_for_byte(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    safetensors.save(path, COMMON, metadata)
    assert path.read_bytes() == by_the_package(COMMON, metadata)


DTYPES = [array.dtype for array in {a.dtype: a for a in COMMON.values()}.values()]
SEGMENT = st.text('abcdefgh_0123456789 -/"\\', min_size=1, max_size=6)
NAME = st.lists(SEGMENT, min_size=1, max_size=3).map(".".join)


@st.composite
def array(draw):
    """Any bits, NaN payloads among them, of any type and rank."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    count = int(np.prod(shape)) * dtype.itemsize
    raw: Array = np.frombuffer(draw(st.binary(min_size=count, max_size=count)), np.uint8)
    raw = raw & np.uint8(1) if dtype == np.bool_ else raw
    return raw.view(dtype).reshape(shape) if count else np.zeros(shape, dtype)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("save") / "x.safetensors"


@settings(max_examples=50)  # each one waits for the disk
@given(st.dictionaries(NAME, array(), max_size=6))
def test_any_tensors_are_written_as_the_package_writes_them_and_read_back(path, tensors):
    safetensors.save(path, tensors)
    assert path.read_bytes() == by_the_package(tensors)
    loaded = use(path)
    assert not isinstance(loaded, str), loaded
    assert told(loaded) == told(tensors)


@pytest.mark.parametrize(
    "tensors,metadata,fact",
    [
        ({"w": np.zeros(2, ml_dtypes.int4)}, None, "safetensors cannot hold si4; have ui64"),
        ({"w": np.zeros(2, np.complex128)}, None, "safetensors cannot hold c128"),
        ({"a..b": DATA}, None, "empty segment"),
        ({"é": DATA}, None, "must be ASCII"),
        ({}, {"k": 1}, "must be an object of strings"),
        ({}, {"k": "\ud800"}, "not valid JSON"),
        ({}, {"k": "x" * (10 << 20)}, "at most 10485760 are read"),
    ],
)
def test_what_no_reader_would_take_is_not_written(tmp_path, tensors, metadata, fact):
    with pytest.raises(CheckpointError, match=fact):
        safetensors.save(tmp_path / "x", tensors, metadata)
    assert list(tmp_path.iterdir()) == []


def test_values_are_lazily_mapped_views(disk: Disk):
    loaded = Checkpoint(disk.put(FORMAT, FORMAT.files)).load(base_param_id("blocks.0.w"))
    assert not loaded.flags.owndata
