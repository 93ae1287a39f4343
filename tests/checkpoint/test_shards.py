"""Folders of safetensors files: what they hold, and that nothing outside them is opened."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from ptir.checkpoint import Checkpoint, CheckpointError
from ptir.params import base_param_id

from .formats import (
    BY_NAME,
    F32,
    FIRST,
    HF_CONFIG,
    INDEX,
    SECOND,
    SHARDS,
    Disk,
    st_file,
    st_header,
    use,
)

FORMAT = BY_NAME["folder"]
SINGLE = "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    for name, data in FORMAT.files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def index(weights: object, **more: Any) -> bytes:
    return json.dumps({"weight_map": weights} | more).encode()


def refusal(folder: Path) -> str:
    found = use(folder)
    assert isinstance(found, str), found
    return found


def test_a_folder_is_one_source_of_all_its_shards(folder):
    checkpoint = Checkpoint(folder)
    assert checkpoint.format == "safetensors shards"
    assert (checkpoint.kind, checkpoint.config, checkpoint.runtime) == (None, HF_CONFIG, None)
    assert checkpoint.names() == ("a", "b.w", "c")
    np.testing.assert_array_equal(checkpoint.load(base_param_id("b.w")), F32)
    np.testing.assert_array_equal(checkpoint.load(base_param_id("a")), [True, False])


def test_a_folder_with_one_file_needs_no_index(folder):
    (folder / INDEX).unlink()
    (folder / FIRST).rename(folder / SINGLE)
    checkpoint = Checkpoint(folder)
    assert (checkpoint.format, checkpoint.config) == ("safetensors folder", HF_CONFIG)
    assert checkpoint.names() == ("b.w", "c")
    (folder / "config.json").unlink()
    assert Checkpoint(folder).config == {}
    assert Checkpoint(folder / SINGLE).names() == ("b.w", "c")


def test_a_folder_with_both_or_neither_is_refused(folder):
    (folder / SINGLE).write_bytes(FORMAT.files[FIRST])
    assert "is a folder with both of" in refusal(folder)
    (folder / SINGLE).unlink()
    (folder / INDEX).unlink()
    assert "is a folder with neither of" in refusal(folder)


NOT_PLAIN = [
    "../x.safetensors", "/etc/x.safetensors", "./x.safetensors", "sub/x.safetensors", "..", ".",
    "", "x.bin", "config.json", "\\\\host\\x.safetensors", "c:x.safetensors", "x\0.safetensors",
    "x\n.safetensors", "\x1b[31m.safetensors", "é.safetensors", ".safetensors",
    "n" * 300 + ".safetensors", 3, None, ["x.safetensors"], {"x.safetensors": 1},
]  # fmt: skip


@pytest.mark.parametrize("shard", NOT_PLAIN, ids=lambda shard: ascii(shard)[:30])
def test_a_shard_that_is_not_a_plain_name_is_refused_before_any_file_is_opened(
    folder, monkeypatch, shard
):
    (folder / INDEX).write_bytes(index({"a": SECOND, "b": shard}))
    opened: list[str] = []
    real = os.open

    def watched(path, *more):
        opened.append(path)
        return real(path, *more)

    monkeypatch.setattr(os, "open", watched)
    assert "tensor 'b': model.safetensors.index.json puts it into" in refusal(folder)
    assert {Path(path).name for path in opened} == {INDEX, "config.json"}


def outside(folder: Path) -> Path:
    """A valid shard that is not in the folder."""
    path = folder.parent / f"{folder.name}-outside.safetensors"
    path.write_bytes(FORMAT.files[SECOND])
    return path


@pytest.mark.parametrize("name", [INDEX, FIRST, "config.json"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "device"])
def test_what_is_not_a_regular_file_is_refused_unopened(folder, monkeypatch, name, kind):
    path = folder / name
    path.unlink()
    if kind == "link":
        path.symlink_to(folder / SECOND)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        lstat = os.lstat
        null = lstat(os.devnull)
        path.touch()
        monkeypatch.setattr(os, "lstat", lambda p: null if Path(p) == path else lstat(p))
    real = os.open

    def watched(opened, *more):
        assert Path(opened) != path
        return real(opened, *more)

    monkeypatch.setattr(os, "open", watched)
    words = {"link": "symbolic link", "folder": "is a folder"}
    assert words.get(kind, "not a regular file") in refusal(folder)


def test_links_are_followed_within_a_folder_that_the_caller_names(folder):
    cache = folder / "cache"
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, (name, data) in enumerate(FORMAT.files.items()):
        (blobs / str(number)).write_bytes(data)
        (snapshot / name).symlink_to(Path("..", "..", "blobs", str(number)))
    assert "symbolic link" in refusal(snapshot)
    assert Checkpoint(snapshot, within=cache).names() == ("a", "b.w", "c")
    with pytest.raises(CheckpointError, match=r"leads out of .*snapshots/1, to .*blobs"):
        Checkpoint(snapshot, within=snapshot)
    (snapshot / SECOND).unlink()
    (snapshot / SECOND).symlink_to(outside(folder))
    with pytest.raises(CheckpointError, match="leads out of"):
        Checkpoint(snapshot, within=cache)
    (snapshot / SECOND).unlink()
    os.mkfifo(blobs / "fifo")
    (snapshot / SECOND).symlink_to(blobs / "fifo")
    with pytest.raises(CheckpointError, match="not a regular file"):
        Checkpoint(snapshot, within=cache)


@pytest.mark.parametrize(
    "weights,fact",
    [
        ({"a": SECOND, "b.w": FIRST}, f"{FIRST}: tensor 'c': is here, but"),
        ({"a": SECOND, "b.w": FIRST, "c": SECOND}, f"{SECOND}: tensor 'c': is not here, where"),
        ({"a": SECOND}, None),
        ({"b.w": FIRST, "c": FIRST, "d": FIRST}, f"{FIRST}: tensor 'd': is not here, where"),
        ({"a": "x.safetensors"}, "x.safetensors: cannot be read: No such file"),
        ({"a\x1b[31m": SECOND}, r"tensor 'a\x1b[31m': is not here"),
        ({}, None),
        ([], 'needs "weight_map"'),
        (None, 'needs "weight_map"'),
    ],
)
def test_an_index_says_what_each_shard_holds(folder, weights, fact):
    (folder / INDEX).write_bytes(index(weights))
    if fact is None:
        assert list(Checkpoint(folder).names()) == sorted(weights)
    else:
        assert fact in refusal(folder)


def test_a_name_in_two_shards_is_refused(folder):
    (folder / SECOND).write_bytes(st_file(*st_header(SHARDS[0] | SHARDS[1])))
    assert "is here, but model.safetensors.index.json does not say so" in refusal(folder)


@pytest.mark.parametrize(
    "document,fact",
    [
        (b"", "file is not valid JSON"),
        (b"[]", "a JSON list"),
        (b"[" * 100_000, "nested more than 32 deep"),
        (b'{"weight_map": {"a": "x", "a": "y"}}', "'a' appears twice"),
        (b'{"weight_map": {"a": NaN}}', "NaN is not a JSON number"),
        (b'{"weight_map": {"a": ' + b"9" * 5000 + b"}}", "an integer of 5000 digits"),
        (b'{"weight_map": {"\\ud800": 1}}', "not valid JSON"),
        (b'{"weight_map": {}}' + b" " * (10 << 20), "at most 10485760 are read"),
        (b'{"weight_map": [' + b"[]," * (3 << 20) + b"[]]}", "at most 655360 are read"),
        (index({f"t{i}": f"{i}.safetensors" for i in range(1025)}), "names 1025 files; at most"),
    ],
    ids=lambda v: ascii(v[:40]),
)
def test_an_index_is_bounded_plain_json(folder, document, fact):
    (folder / INDEX).write_bytes(document)
    assert fact in refusal(folder)


def test_an_index_of_100_000_tensors_is_read(tmp_path):
    """As large as the largest that are published: 91,991 tensors in 163 shards."""
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    weights: dict[str, str] = {}
    for shard in range(4):
        names = [f"model.layers.{i}.mlp.experts.{shard}.weight_scale_inv" for i in range(25_000)]
        (tmp_path / f"{shard}.safetensors").write_bytes(st_file(dict.fromkeys(names, empty), b""))
        weights |= dict.fromkeys(names, f"{shard}.safetensors")
    (tmp_path / INDEX).write_bytes(index(weights))
    assert len(Checkpoint(tmp_path).names()) == 100_000


@pytest.mark.parametrize("shard", [FIRST, SECOND])
def test_a_shard_that_is_cut_while_open_is_refused(disk: Disk, shard):
    path = disk.put(FORMAT, FORMAT.files)
    checkpoint = Checkpoint(path)
    checkpoint.check_size()
    os.truncate(path / shard, 10)
    with pytest.raises(CheckpointError, match=f"{shard}: had .* when it was opened"):
        checkpoint.check_size()


@pytest.mark.parametrize("size,shards", [("5GB", 1), ("60KB", 2)])
def test_a_folder_that_transformers_wrote_is_read_bit_for_bit(tmp_path, size, shards):
    config = transformers.GPT2Config(
        vocab_size=300, n_positions=64, n_embd=48, n_layer=1, n_head=4, dtype="bfloat16"
    )
    model = transformers.GPT2LMHeadModel(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size=size)
    assert len(list(tmp_path.glob("*.safetensors"))) == shards
    checkpoint, wanted = Checkpoint(tmp_path), model.state_dict()
    assert set(wanted) - set(checkpoint.names()) == {"lm_head.weight"}  # tied, and written once
    assert checkpoint.config["n_embd"] == 48
    for name in checkpoint.names():
        loaded = checkpoint.load(base_param_id(name))
        assert loaded.tobytes() == wanted[name].view(torch.int16).numpy().tobytes()
