"""What a file may state falsely, one thing at a time: sizes, places, names, JSON."""

import gc
import json
import re
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from tests.gptrschk import HEADER, Row, assemble, assemble_archive, sealed
from tests.mutate import BOUNDARIES, boundary_cases, cheaply

from .formats import BY_NAME, INDEX, SHARDS, Disk, Files, Format, one, st_file, st_header, use


class Tensor(NamedTuple):
    """A tensor of f32 as the file states it, of `size` elements, so many bytes behind the first."""

    name: bytes
    offset: int
    size: int = 2


def binary(make: Callable[[list[Row]], bytes]) -> Callable[[Sequence[Tensor], int], bytes]:
    """Files of `make` in which offsets are stated and the data are as long as asked."""

    def build(tensors: Sequence[Tensor], length: int) -> bytes:
        rows = [Row(t.name, (t.size,), 0, b"", 0, 0, 4 * t.size) for t in tensors]
        start = len(make(rows)) - TAIL.get(make, lambda _: 0)(len(rows))
        rows = [r._replace(offset=start + t.offset) for r, t in zip(rows, tensors, strict=True)]
        # All data belong to the last row; the index says otherwise.
        return make([*rows[:-1], rows[-1]._replace(data=bytes(length))])

    return build


def version_2(rows: list[Row]) -> bytes:
    return bytes(assemble(rows).data)


def version_3(rows: list[Row]) -> bytes:
    return bytes(assemble(rows, HEADER, 3).data)


def archive(rows: list[Row]) -> bytes:
    return bytes(assemble_archive(rows).data)


TAIL: dict[Callable[[list[Row]], bytes], Callable[[int], int]] = {
    version_3: lambda count: 32 * (count + 1)
}


def st(tensors: Sequence[Tensor], length: int) -> bytes:
    items = [
        b'"%s":{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}'
        % (t.name, t.size, t.offset, t.offset + 4 * t.size)
        for t in tensors
    ]
    return st_file(b"{" + b",".join(items) + b"}", bytes(length))


MAKERS: dict[str, Callable[[Sequence[Tensor], int], bytes]] = {
    "gptrschk2": binary(version_2),
    "gptrschk3": binary(version_3),
    "gptrsten": binary(archive),
    "safetensors": st,
}


@pytest.fixture(params=MAKERS)
def maker(request) -> str:
    return str(request.param)


def verdict(disk: Disk, maker: str, tensors: Sequence[Tensor], length: int) -> str:
    found = use(disk.put(BY_NAME[maker], one(MAKERS[maker](tensors, length))))
    return found if isinstance(found, str) else ""


# In units of which the data are 64 bytes each: aligned, as version 3 wants them.
A, B = Tensor(b"a", 0, 16), Tensor(b"b", 64, 16)
LAYOUTS = [
    ([A, B], 128, ""),
    ([A._replace(offset=64), B._replace(offset=0)], 128, ""),
    ([A, B._replace(size=0)], 64, ""),
    ([A, B._replace(offset=0, size=0)], 64, ""),
    ([A._replace(size=0), B._replace(offset=0, size=0)], 0, ""),
    ([A, B._replace(offset=60)], 128, "overlaps"),
    ([A, B._replace(offset=0)], 64, "overlaps"),
    ([A, B._replace(offset=0)], 128, "overlaps"),
    ([A, B._replace(offset=32, size=0)], 64, "overlaps"),
    ([A._replace(offset=64), B._replace(offset=128)], 192, "'a': 64 unused bytes before it"),
    ([A, B._replace(offset=128)], 192, "'b': 64 unused bytes before it"),
    ([A, B], 64, "'b': bytes .* are outside the data"),
    ([A, B], 192, "has 64 bytes after its last tensor"),
    ([A, B._replace(offset=1 << 62)], 128, "outside the data"),
    ([A, B._replace(name=b"a")], 128, "appears twice"),
]


@pytest.mark.parametrize("tensors,length,fact", LAYOUTS)
def test_the_tensors_fill_the_data_without_overlap_or_hole(disk, maker, tensors, length, fact):
    found = verdict(disk, maker, tensors, length)
    assert re.search(fact, found), found
    assert bool(fact) == bool(found)


NAMES = [
    b"", b".", b"..", b"../../x", b"a..b", b"a.", b"caf\xc3\xa9", b"\xff\xfe", b"\xc3", b"a\0b",
    b"a\nb", b"\x1b[31mred\x1b[0m", b"a\rb", b"a\x7fb", b"\xed\xa0\x80", b"a\xe2\x80\xaeb",
    b"a\\u0000b", b"a\\nb", b"\\u001b[31m", b"\\ud800", b"n" * 513,
]  # fmt: skip
ONLY_JSON = b"\\"  # where the format is not JSON, an escape is just a name


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_bad_name_is_refused_and_never_shown_raw(disk: Disk, maker: str, name: bytes):
    found = verdict(disk, maker, [Tensor(name, 0, 16)], 64)  # printable: `use` sees to it
    assert found or (ONLY_JSON in name and maker != "safetensors")


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_bad_name_in_a_shard_index_is_refused_and_never_shown_raw(disk: Disk, name: bytes):
    folder = BY_NAME["folder"]
    index = b'{"weight_map":{"%s":"%s"}}' % (name, list(folder.files)[1].encode())
    assert isinstance(use(disk.put(folder, {**folder.files, INDEX: index})), str)


# --- sizes ---


def tiny() -> list[tuple[str, bytes, int]]:
    """Files of less than 64 bytes, each with one integer at one of its boundaries."""
    cases = []
    for made in (assemble([], {"kind": "g", "config": {}}), assemble_archive([])):
        sample = bytes(made.data)
        cases += [(w, m, len(sample)) for w, m in boundary_cases(sample, made.fields)]
    cases += [
        (f"header_len={v}", (v % 2**64).to_bytes(8, "little") + b"{}", 10) for v in BOUNDARIES
    ]
    return cases


FIELDS = ['"shape":[%d]', '"shape":[0,%d]', '"shape":[%d,%d]', '"data_offsets":[0,%d]']
FIELDS += ['"data_offsets":[%d,0]', '"data_offsets":[%d,%d]']


def stated() -> list[tuple[str, bytes]]:
    """safetensors files whose one tensor states each boundary in each of its numbers."""
    cases = []
    for field in FIELDS:
        for value in BOUNDARIES:
            text = field % ((value,) * field.count("%d"))
            other = '"data_offsets":[0,0]' if "shape" in field else '"shape":[1]'
            raw = f'{{"a":{{"dtype":"F32",{text},{other}}}}}'.encode()
            cases.append((text, st_file(raw, b"")))
    return cases


@pytest.fixture
def no_collection():
    """The garbage of other tests is not part of the time measured."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_the_files_below_are_small():
    assert all(length < 64 for _, _, length in tiny())


@pytest.mark.usefixtures("no_collection")
def test_boundary_values_cost_no_time_and_no_memory(disk: Disk):
    single = BY_NAME["safetensors"]
    cases = [(what, data) for what, data, _ in tiny()] + stated()
    v3 = assemble([Row(b"w", (2, 3), 0, bytes(24))], HEADER, 3)
    sten = assemble_archive([Row(b"w", (2, 3), 0, bytes(24))])
    cases += [(w, sealed(m)) for w, m in boundary_cases(bytes(v3.data), v3.fields)]
    cases += list(boundary_cases(bytes(sten.data), sten.fields))
    outcomes = set()
    for what, data in cases:
        path = disk.put(single, one(data))
        outcomes.add(isinstance(cheaply(use, path, what), str))
    assert outcomes == {True, False}  # some boundary is the value that the field had


# --- JSON ---

MIB = 1 << 20
DOCUMENTS: dict[str, bytes] = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 40 + b"1" + b"}" * 40,
    "closing": b"]" * 655_000,
    "deep and open": b"[" * (9 * MIB),
    "quotes": b'"' * (9 * MIB),
    "arrays": b"[" + b"[]," * 215_000 + b"0]",
    "objects": b"[" + b"{}," * 215_000 + b"0]",
    "numbers": b"[" + b"1," * 655_000 + b"0]",
    "fractions": b"[" + b"1.5," * 655_000 + b"0]",
    "strings": b"[" + b'"",' * 215_000 + b"0]",
    "escapes": b'"' + b"\\n" * (4 * MIB) + b'"',
    "an open escape": b'"' + b'\\"' * (4 * MIB),
    "surrogates": b'"' + b"\\ud83d\\ude00" * (700 << 10) + b'"',
    "5,000 digits": b"9" * 5000,
    "9 MiB of digits": b"9" * (9 * MIB),
    "9 MiB of fraction": b"0." + b"9" * (9 * MIB),
    "an exponent": b"1e999999999",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "half a pair": b'"\\ud800"',
    "wide": b'["\xf0\x9f\x98\x80",' + b'{"a":1},' * 90_000 + b'"' + b"x" * (8 * MIB) + b'"]',
    "blanks": b" " * (11 * MIB) + b"1",
}


def in_header(document: bytes) -> Files:
    return one(st_file(b'{"a":' + document + b"}", b""))


def in_metadata(document: bytes) -> Files:
    return one(st_file(b'{"__metadata__":{"a":' + document + b"}}", b""))


def in_index(document: bytes) -> Files:
    return {**BY_NAME["folder"].files, INDEX: b'{"weight_map":{"a":' + document + b"}}"}


def in_config(document: bytes) -> Files:
    return one(bytes(assemble([], b'{"kind":"g","config":' + document + b"}", 3).data))


PLACES = {
    in_header: "safetensors",
    in_metadata: "safetensors",
    in_index: "folder",
    in_config: "gptrschk3",
}
# Texts that may stand where any string may.
TEXTS = {"escapes", "surrogates"}
# Documents of less than 1 MiB with nothing wrong in them.
PLAIN = {"arrays", "objects", "strings"}


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("what", DOCUMENTS)
def test_json_that_is_not_bounded_and_plain_is_refused_within_a_second_and_64_MiB(
    disk, place, what
):
    files = place(DOCUMENTS[what])
    path = disk.put(BY_NAME[PLACES[place]], files)
    began = time.process_time()
    found = use(path)
    assert time.process_time() - began < 1
    assert isinstance(found, str) or (place is in_metadata and what in TEXTS)
    tracemalloc.start()
    use(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < sum(map(len, files.values())) + (64 << 20)


def test_a_config_json_beside_shards_is_bounded_too(disk: Disk):
    folder: Format = BY_NAME["folder"]
    for what, document in DOCUMENTS.items():
        config = b'{"a":' + document + b"}"
        found = use(disk.put(folder, {**folder.files, "config.json": config}))
        assert isinstance(found, str) == (what not in PLAIN), what


def test_an_honest_header_of_every_shape_loads(disk: Disk):
    for arrays in SHARDS:
        header, data = st_header(arrays)
        text = json.dumps(header, indent=2).encode()
        assert not isinstance(use(disk.put(BY_NAME["safetensors"], one(st_file(text, data)))), str)
