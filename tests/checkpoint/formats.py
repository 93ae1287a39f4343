"""Every format as a test sees it: a sample made by hand, its hostile variants, its writer.

A file set is what lies in one folder, by name; a format says which path in it is opened.
"""

import io
import itertools
import json
import math
import os
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ptir.checkpoint import Checkpoint, CheckpointError, gptrsten, safetensors, save
from ptir.params import base_param_id
from tests.gptrschk import HEADER, assemble, assemble_archive, row, sealed
from tests.mutate import Field, documents, mutants

Array = np.ndarray[Any, Any]
Files = dict[str, bytes]

SEED = 5
# How many mutants of each format a run reads; a long run says more.
MUTANTS = int(os.environ.get("MUTANTS", "20000"))

F32 = np.array([[1.5, -2.0, np.inf], [0.0, 3e-45, 7.0]], np.float32)
OLD: dict[str, Array] = {
    "blocks.0.b": np.array([1.0, -3.5, 65504.0], np.float16),
    "blocks.0.w": F32,
    "ids": np.array([-1, 2**31 - 1], np.int32),
    "none": np.zeros((0, 4), np.float32),
    "scale": np.array(0.5, np.float32),
    "tail": np.array([1, 2.5, -3e38], ml_dtypes.bfloat16),
}
EIGHT_BITS = np.arange(256, dtype=np.uint8)
COMMON: dict[str, Array] = OLD | {
    "e4m3": EIGHT_BITS.view(ml_dtypes.float8_e4m3fn),
    "e5m2": EIGHT_BITS.view(ml_dtypes.float8_e5m2)[::3].copy(),
    "mask": np.array([[True, False, True]]),
    "octets": np.array([0, 255], np.uint8),
    "signed": np.array([-128, 127], np.int8),
    "short": np.array([-(2**15), 2**15 - 1], np.int16),
    "ushort": np.array([2**16 - 1], np.uint16),
    "uint": np.array([2**32 - 1], np.uint32),
    "long": np.array([-(2**63), 2**63 - 1], np.int64),
    "ulong": np.array([2**64 - 1], np.uint64),
    "double": np.array([5e-324, -0.0, np.nan]),
    "complex": np.array([1 + 2j, -np.inf * 1j], np.complex64),
}
ALL: dict[str, Array] = COMMON | {
    "nibbles": np.arange(-8, 7).astype(ml_dtypes.int4).reshape(3, 5),
    "unsigned": np.arange(16).astype(ml_dtypes.uint4),
    "wide": np.array([1 - 2j], np.complex128),
}
ST_NAMES = {
    "bool": "BOOL", "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32",
    "uint32": "U32", "int64": "I64", "uint64": "U64", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "bfloat16": "BF16", "float16": "F16", "float32": "F32",
    "float64": "F64", "complex64": "C64",
}  # fmt: skip


def st_header(arrays: Mapping[str, Array]) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a safetensors file with these tensors, in this order."""
    header, data = {}, b""
    for name, array in arrays.items():
        end = len(data) + array.nbytes
        header[name] = {
            "dtype": ST_NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(data), end],
        }
        data += array.tobytes()
    return header, data


def st_file(header: bytes | Mapping[str, Any], data: bytes) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


@dataclass(frozen=True)
class Format:
    """`files` is a valid sample of `arrays`; `opened` is what is opened in its folder."""

    name: str
    files: Files
    arrays: Mapping[str, Array]
    mutants: Callable[[int, int], Iterator[Files]]
    opened: str = "model.bin"
    save: Callable[[Path, Mapping[str, Array]], None] | None = None


def interleaved(*kinds: Iterator[Files]) -> Iterator[Files]:
    return itertools.chain.from_iterable(zip(*kinds, strict=True))


def one(data: bytes) -> Files:
    return {"model.bin": data}


def checkpoints(version: int, arrays: Mapping[str, Array]) -> Format:
    rows = [row(name, array) for name, array in sorted(arrays.items())]
    sample = assemble(rows, version=version)

    def variants(seed: int, count: int) -> Iterator[Files]:
        quarter = count // 4
        binary = mutants(bytes(sample.data), sample.fields, seed=seed, count=3 * quarter)
        configs = documents(json.dumps(HEADER).encode(), seed=seed, count=quarter)
        for config in configs:
            yield one(next(binary))  # as it comes: of version 3 the seal is broken
            yield from (one(sealed(next(binary)) if version == 3 else next(binary)) for _ in "12")
            yield one(bytes(assemble(rows, config, version).data))

    def write(path: Path, tensors: Mapping[str, Array]) -> None:
        save(path, kind="gpt", config={"embed_dim": 8}, tensors=tensors, version=version)

    return Format(f"gptrschk{version}", one(bytes(sample.data)), arrays, variants, save=write)


def archives() -> Format:
    sample = assemble_archive([row(name, array) for name, array in sorted(OLD.items())])

    def variants(seed: int, count: int) -> Iterator[Files]:
        return map(one, mutants(bytes(sample.data), sample.fields, seed=seed, count=count))

    return Format("gptrsten", one(bytes(sample.data)), OLD, variants, save=gptrsten.save)


def quoted(*words: str) -> tuple[bytes, ...]:
    return tuple(b'"%s"' % word.encode() for word in words)


FOREIGN_TYPES = ("F4", "F6_E2M3", "F8_E8M0", "F8_E4M3FNUZ", "C128", "f32")
ST_WORDS = quoted(*ST_NAMES.values(), *FOREIGN_TYPES, *("a", "b"), *("dtype", "shape"))
ST_WORDS += quoted("data_offsets", "__metadata__")
ST_SMALL: dict[str, Array] = {
    "a": np.array([1, 0], np.bool_),
    "b.w": F32,
    "c": np.array(3, np.int16),
    "e": np.zeros((2, 0), np.float64),
    "h": EIGHT_BITS[:8].view(ml_dtypes.float8_e4m3fn),
}


def restated(header: Mapping[str, Any], seed: int, count: int) -> Iterator[bytes]:
    """`count` headers in valid JSON that say other things of the tensors."""
    rng = random.Random(seed)
    for _ in range(count):
        rows = [(name, dict(fields)) for name, fields in header.items()]
        for _ in range(rng.choice((1, 1, 2))):
            _restate(rng, rows)
        rng.shuffle(rows)
        yield b"{%s}" % b",".join(b"%s:%s" % (*quoted(n), json.dumps(f).encode()) for n, f in rows)


def _restate(rng: random.Random, rows: list[tuple[str, Any]]) -> None:
    at, other = rng.randrange(len(rows)), rng.randrange(len(rows))
    name, fields = rows[at]
    if not isinstance(fields, dict):
        return
    shape = fields["shape"]
    match rng.randrange(8):
        case 0:
            fields["dtype"] = rng.choice((*ST_NAMES.values(), *FOREIGN_TYPES))
        case 1:
            rng.shuffle(shape)
        case 2:
            fields["shape"] = [1] * rng.choice((1, 8, 40)) + shape
        case 3:
            fields["shape"] = [math.prod(shape)]
        case 4:
            key = rng.choice(("dtype", "shape", "data_offsets"))
            fields[key] = rows[other][1][key] if isinstance(rows[other][1], dict) else None
        case 5:
            rows[at] = (
                rng.choice(("", "..", "x.y", "a b", "\x7f", "é", "/", rows[other][0])),
                fields,
            )
        case 6:
            rows[at] = (name, rng.choice((list(fields.values()), fields | {"x": 1}, None)))
        case _:
            fields["data_offsets"] = [n + rng.choice((-1, 0, 0, 1)) for n in fields["data_offsets"]]


def st_mutants(arrays: Mapping[str, Array], seed: int, count: int) -> Iterator[bytes]:
    """Headers of their right length with other words, statements and bytes; then any bytes."""
    header, data = st_header(arrays)
    text = json.dumps({"__metadata__": {"format": "np"}} | header).encode()
    whole = st_file(text, data)
    fields = [Field("header_len", 0, 8)]
    quarter = count // 4
    worded = documents(text, seed=seed, count=quarter, words=ST_WORDS)
    stated = restated(header, seed, quarter)
    texts = mutants(text, [], seed=seed, count=quarter)
    for mutant in mutants(whole, fields, seed=seed, count=quarter):
        yield mutant
        yield st_file(next(texts), data)
        yield st_file(next(worded), data)
        yield st_file(next(stated), data)


def safetensors_files() -> Format:
    sample = st_file(*st_header(COMMON))

    def variants(seed: int, count: int) -> Iterator[Files]:
        half = count // 2
        yield from map(one, st_mutants(ST_SMALL, seed, half))
        yield from map(one, st_mutants(COMMON, seed + 1, count - half))

    return Format("safetensors", one(sample), COMMON, variants, save=safetensors.save)


INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
HF_CONFIG = {"model_type": "gpt2", "n_embd": 8, "layer_norm_epsilon": 1e-05}
SHARDS: tuple[dict[str, Array], dict[str, Array]] = (
    {"b.w": F32, "c": np.array(3, np.int16)},
    {"a": np.array([1, 0], np.bool_)},
)
SHARD_WORDS = quoted(FIRST, SECOND, "../x.safetensors", "config.json", "/dev/zero", "weight_map")
SHARD_WORDS += quoted("a", "b.w", "c", "sub/x.safetensors", ".safetensors", "link.safetensors")


def folders() -> Format:
    weights = dict.fromkeys(SHARDS[0], FIRST) | dict.fromkeys(SHARDS[1], SECOND)
    index = json.dumps({"metadata": {"total_size": 28}, "weight_map": weights}).encode()
    config = json.dumps(HF_CONFIG).encode()
    files = {
        INDEX: index,
        FIRST: st_file(*st_header(SHARDS[0])),
        SECOND: st_file(*st_header(SHARDS[1])),
        "config.json": config,
    }

    def variants(seed: int, count: int) -> Iterator[Files]:
        n = count // 5
        return interleaved(
            ({**files, INDEX: d} for d in documents(index, seed=seed, count=n, words=SHARD_WORDS)),
            ({**files, INDEX: d} for d in documents(index, seed=~seed, count=n, words=SHARD_WORDS)),
            ({**files, INDEX: d} for d in mutants(index, [], seed=seed, count=n)),
            ({**files, FIRST: d} for d in st_mutants(SHARDS[0], seed, 4 * (n // 4))),
            ({**files, "config.json": d} for d in documents(config, seed=seed, count=n)),
        )

    return Format("folder", files, SHARDS[0] | SHARDS[1], variants, opened="")


FORMATS = [
    checkpoints(2, OLD),
    checkpoints(3, ALL),
    archives(),
    safetensors_files(),
    folders(),
]
BY_NAME = {format.name: format for format in FORMATS}


class Disk:
    """A folder whose files are written in place: emptying one first takes milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, io.FileIO] = {}
        self._last: Files = {}

    def put(self, format: Format, files: Files) -> Path:
        """The path to open when the folder holds `files`."""
        for name, data in files.items():
            if self._last.get(name) != data:
                self._write(name, data)
        return self.folder / format.opened

    def _write(self, name: str, data: bytes) -> None:
        if name not in self._open:
            self._open[name] = (self.folder / name).open("wb", buffering=0)
        file = self._open[name]
        file.seek(0)
        file.write(data)
        file.truncate()
        self._last[name] = data

    def close(self) -> None:
        for file in self._open.values():
            file.close()


def use(path: Path) -> dict[str, Array] | str:
    """Every tensor of a checkpoint, each what its spec says and read to its end; or the refusal."""
    try:
        checkpoint = Checkpoint(path)
        loaded = {name: checkpoint.load(base_param_id(name)) for name in checkpoint.names()}
    except CheckpointError as error:
        message = str(error)
        assert message.isprintable(), ascii(message)
        assert message.startswith(str(path)), message
        return message
    for name, array in loaded.items():
        spec = checkpoint.spec(name)
        assert (array.dtype, array.shape) == (spec.dtype.numpy, spec.shape)
        assert not array.flags.writeable
        assert len(array.tobytes()) == array.nbytes
    return loaded
