"""Derived values on disk: computed by one process for all, never stale, never in the way."""

import errno
import gc
import json
import logging
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import ptir
from ptir import engine, nn, ops
from ptir.checkpoint import Checkpoint, CheckpointError, safetensors, save
from ptir.checkpoint import file as checkpoint_file
from ptir.engine import derived, kept
from ptir.ir import leaf, tensor_type
from ptir.ops.structure import KERNELS
from ptir.params import base_param_id, new_namespace, param_key
from tests.exact import same

SHAPE = (256, 512)  # joined, two of f32 have the bytes of the smallest value that is kept
JOINED = (256, 1024)
TICK = 0.12  # seconds after which a change of a file shows in its times


def ramp(start: int, shape=SHAPE) -> Any:
    return ((np.arange(np.prod(shape)).reshape(shape) * 7 + start) % 1009).astype("f4")


def weights(start: int = 0) -> dict[str, Any]:
    return {"w.a": ramp(start), "w.b": ramp(start + 500)}


def joined(start: int = 0) -> Any:
    return np.concatenate(list(weights(start).values()), axis=1)


def put_gptrschk(path: Path, start: int = 0) -> Path:
    save(path, kind="test", config={}, tensors=weights(start))
    return path


def put_safetensors(path: Path, start: int = 0) -> Path:
    safetensors.save(path, weights(start))
    time.sleep(TICK)
    return path


FORMATS = {"gptrschk": put_gptrschk, "safetensors": put_safetensors}


class Weights:
    """The parameters of a file as a process has them that has just opened it; loads are counted."""

    def __init__(self, path: Path) -> None:
        self.checkpoint = Checkpoint(path)
        self.loads = Counter[str]()
        self._namespace = new_namespace()
        self._tensors: dict[str, ptir.Tensor] = {}

    def __getitem__(self, name: str) -> ptir.Tensor:
        if name not in self._tensors:
            self._tensors[name] = self._tensor(name)
        return self._tensors[name]

    def _tensor(self, name: str) -> ptir.Tensor:
        spec, key = self.checkpoint.spec(name), base_param_id(name)

        def load():
            self.loads[name] += 1
            return self.checkpoint.load(key)

        source = engine.Parameter(
            tensor_type(spec.shape, spec.dtype),
            name,
            param_key(self._namespace, key),
            load,
            content=self.checkpoint.content(name),
            check=lambda: self.checkpoint.check_content(name),
        )
        return ptir.Tensor(leaf(source))


def value(given: Weights, axis: int = 1) -> Any:
    """The two weights of a file joined, by a program that needs them so."""
    a, b = given["w.a"], given["w.b"]
    shape = JOINED if axis else (SHAPE[0] * 2, SHAPE[1])
    return (ptir.as_tensor(np.zeros(shape, "f4")) + ptir.concat([a, b], axis=axis)).numpy()


@pytest.fixture
def restart(monkeypatch, plans) -> Callable[[], None]:
    """Forget what a process knows."""

    def forget() -> None:
        plans.clear()
        monkeypatch.setattr(derived, "KEPT", kept.Kept())

    forget()
    return forget


@pytest.fixture
def folder(tmp_path: Path, monkeypatch, restart) -> Path:
    """Where values are kept: not there yet."""
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "derived"


@pytest.fixture
def path(tmp_path) -> Path:
    return put_gptrschk(tmp_path / "m.gptrs")


@pytest.fixture
def warnings(caplog) -> Callable[[], list[str]]:
    def found() -> list[str]:
        rows = [r for r in caplog.records if r.name == "ptir.engine" and r.levelname == "WARNING"]
        return [r.getMessage() for r in rows]

    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.gptrs"))


# --- another process ---

PROCESS = """
import json, sys
from hashlib import sha256
from pathlib import Path
import numpy as np
from ptir.engine import derived, kept
from tests.backend.test_kept import Weights, value

written, save = [], kept.save
kept.save = lambda path, **given: written.append(path) or save(path, **given)
ran = []
compile = derived._executable
derived._executable = lambda *given: ran.append(given) or compile(*given)
given = Weights(Path(sys.argv[1]))
found = value(given)
right = bool((found == np.load(sys.argv[2])).all())
bits = sha256(found.tobytes()).hexdigest()
told = {"ran": len(ran), "written": len(written), "loads": given.loads.total()}
print(json.dumps(told | {"bits": bits, "right": right}))
"""


@pytest.fixture
def process(folder, path, tmp_path, backend) -> Callable[[], "subprocess.Popen[str]"]:
    """Start a process that computes the value of `path`."""
    wanted = tmp_path / "wanted.npy"
    np.save(wanted, joined())
    root = Path(__file__).parents[2]
    known = {"PTIR_CACHE_DIR": str(folder.parent), "PTIR_BACKEND": backend.name}
    known["PYTHONPATH"] = os.pathsep.join([str(root / "src"), str(root)])

    def start(program: str = PROCESS) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(wanted)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | known,
        )

    return start


def facts(started: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = started.communicate(timeout=120)
    assert (started.returncode, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_second_process_computes_and_loads_nothing(process, folder):
    first, second = facts(process()), facts(process())
    assert (first["ran"], first["loads"], first["right"]) == (1, 2, True)
    assert (second["ran"], second["loads"], second["right"]) == (0, 0, True)
    assert first["bits"] == second["bits"]
    assert len(files(folder)) == 1


def test_eight_processes_at_once_make_one_file(process, folder):
    found = [facts(one) for one in [process() for _ in range(8)]]
    assert all(one["right"] for one in found)
    assert sum(one["written"] for one in found) == 1
    assert len(files(folder)) == 1
    assert {p.name for p in folder.iterdir()} == {".lock", files(folder)[0].name}


KILLED = """
import os, sys, time
written = os.fsync
def hang(fd):
    print("writing", flush=True)
    time.sleep(600)
os.fsync = hang
"""


def test_a_process_that_is_killed_while_it_writes_leaves_a_working_store(
    process, folder, path, restart
):
    started = process(KILLED + PROCESS)
    assert started.stdout is not None
    assert started.stdout.readline() == "writing\n"
    started.send_signal(signal.SIGKILL)
    started.communicate(timeout=60)
    assert (started.returncode, files(folder)) == (-signal.SIGKILL, [])
    (left,) = folder.glob(".ptir-*.tmp")
    same(value(Weights(path)), joined())
    assert len(files(folder)) == 1
    assert left.exists()  # it may be somebody's
    os.utime(left, (time.time() - 2 * kept.STALE,) * 2)
    value(Weights(path), axis=0)
    assert (len(files(folder)), left.exists()) == (2, False)


# --- what is kept, and what is used of it ---


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mapped", ["1", "0"])
def test_parameters_are_not_loaded_for_a_value_that_is_kept(
    folder, tmp_path, restart, format, mapped, monkeypatch
):
    monkeypatch.setenv("PTIR_MMAP", mapped)
    path = FORMATS[format](tmp_path / "m")
    for loads in (2, 0, 0):
        given = Weights(path)
        same(value(given), joined())
        assert given.loads.total() == loads
        restart()
    assert len(files(folder)) == 1


def test_a_value_that_was_written_is_read_back_and_the_computed_one_goes(
    folder, path, backend, monkeypatch
):
    put, handles = type(backend).put, []

    def noted(self, array):
        handles.append(array)
        return put(self, array)

    monkeypatch.setattr(type(backend), "put", noted)
    same(value(Weights(path)), joined())
    (found,) = [x for x in handles if x.shape == JOINED and x.any()]
    assert isinstance(found.base, mmap.mmap)
    assert not found.flags.writeable


def test_two_models_of_one_file_share_what_is_kept(folder, path):
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: value(Weights(path)), range(4)):
            same(found, joined())
    assert len(files(folder)) == 1


def test_the_file_says_what_it_is(folder, path, backend):
    value(Weights(path))
    (file,) = files(folder)
    found = Checkpoint(file, verify=True)
    assert (found.format, found.kind, found.names()) == ("GPTRSCHK 3", "derived", ("value",))
    assert found.config["id"] == file.stem
    assert found.config["parameters"] == ["w.a", "w.b"]
    assert found.config["backend"] == backend.name
    assert stat_mode(folder) == 0o700


def stat_mode(place: Path) -> int:
    return place.stat().st_mode & 0o777


def test_what_is_read_written_and_evicted_is_told(folder, path, restart, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG, "ptir.engine")
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "1")
    old = sparse(folder, "0" * 32, 2 << 30, age=10)
    value(Weights(path))
    restart()
    value(Weights(path))
    (file,) = files(folder)
    told = [r.getMessage() for r in caplog.records if "a derived value was" in r.getMessage()]
    assert told == [
        f"a derived value was evicted: {old}",
        f"a derived value was written: {file}, {1 << 20} bytes",
        f"a derived value was read: {file}, {1 << 20} bytes",
    ]


def test_a_small_value_is_not_kept(folder, tmp_path):
    save(tmp_path / "s", kind="test", config={}, tensors={"w": ramp(0, (256, 1023))})
    w = Weights(tmp_path / "s")["w"]
    same((ptir.as_tensor(np.zeros((256, 1023), "f4")) + w * 2).numpy(), ramp(0, (256, 1023)) * 2)
    assert not folder.exists()


def test_a_value_of_data_that_nobody_knows_is_not_kept(folder, path):
    given = Weights(path)
    b = ptir.as_tensor(weights()["w.b"])
    unknown = nn.parameter(b, "w.b", param_key(new_namespace(), base_param_id("w.b")))
    zeros = ptir.as_tensor(np.zeros(JOINED, "f4"))
    same((zeros + ptir.concat([given["w.a"], unknown], axis=1)).numpy(), joined())
    assert not folder.exists()


@pytest.mark.parametrize("target,count", [("user.twice.v1", 0), ("ptir.test.twice.v1", 1)])
def test_a_value_that_a_kernel_from_outside_makes_is_not_kept(
    folder, path, monkeypatch, target, count
):
    """Its code may be another one tomorrow under the same name."""
    monkeypatch.setitem(KERNELS, target, lambda x: x * 2)
    joint = ptir.concat([Weights(path)[n] for n in weights()], axis=1)
    called = ops.custom_call(joint.node, target=target, type=joint.type, attributes={})
    found = ptir.as_tensor(np.zeros(JOINED, "f4")) + ptir.Tensor(called)
    same(found.numpy(), joined() * 2)
    assert len(files(folder)) == count


def test_none_is_kept_or_read_where_the_knob_says_so(folder, path, restart, monkeypatch):
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "0")
    same(value(Weights(path)), joined())
    assert not folder.exists()
    monkeypatch.delenv("PTIR_DERIVED_CACHE")
    restart()
    value(Weights(path))
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "0")
    restart()
    given = Weights(path)
    same(value(given), joined())
    assert given.loads.total() == 2


def test_four_bits_are_kept_too(folder, tmp_path, restart):
    shape = (1024, 2048)
    data = (np.arange(np.prod(shape)).reshape(shape) % 15 - 7).astype(ml_dtypes.int4)
    halves = {"w.a": data[:, :1024], "w.b": data[:, 1024:]}
    save(tmp_path / "m4", kind="test", config={}, tensors=halves)
    for loads in (2, 0):
        given = Weights(tmp_path / "m4")
        joint = ptir.concat([given["w.a"], given["w.b"]], axis=1)
        x = ptir.as_tensor(np.zeros(shape, ml_dtypes.int4))
        same(ptir.where(x == 0, joint, x).numpy(), data)
        assert given.loads.total() == loads
        restart()
    assert len(files(folder)) == 1


def test_more_mappings_than_a_process_has_files_for_are_copies(folder, path, restart, monkeypatch):
    value(Weights(path))
    restart()
    monkeypatch.setattr(kept, "MAPPED", 1)
    first, second = Weights(path), Weights(path)
    for given in (first, second):
        same(value(given), joined())
        assert given.loads.total() == 0
    assert len(descriptors(folder)) <= 1


def descriptors(folder: Path) -> list[str]:
    """The files of a folder that this process has open."""
    gc.collect()
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return [name for name in found if name.startswith(str(folder))]


@pytest.mark.parametrize("mapped", ["1", "0"])
def test_a_value_whose_file_is_deleted_stays(folder, path, mapped, monkeypatch):
    monkeypatch.setenv("PTIR_MMAP", mapped)
    given = Weights(path)
    step = ptir.compile(lambda x: x + ptir.concat([given["w.a"], given["w.b"]], axis=1))
    zeros = ptir.as_tensor(np.zeros(JOINED, "f4"))
    step(zeros).numpy()
    shutil.rmtree(folder)
    gc.collect()
    same(step(zeros).numpy(), joined())


def test_a_model_decodes_to_the_same_bits_from_what_is_kept(folder, restart, backend, monkeypatch):
    monkeypatch.setattr(kept, "MIN_BYTES", 1)
    found = []
    for _ in range(2):
        restart()
        with ptir.load_model(backend=backend.name) as loaded:
            found.append(loaded.forward(ptir.Tokens([[3, 1, 4, 1, 5]])))
    first, second = (np.asarray(x.logits) for x in found)
    np.testing.assert_array_equal(first.view("u4"), second.view("u4"))
    assert files(folder)


# --- never stale ---


@pytest.mark.parametrize("format", FORMATS)
def test_changed_weights_are_computed_anew(folder, tmp_path, restart, format):
    path = tmp_path / "m"
    for start in (0, 3, 0):
        FORMATS[format](path, start)
        restart()
        same(value(Weights(path)), joined(start))


def test_weights_that_are_written_in_place_are_computed_anew(folder, tmp_path, restart):
    path = put_safetensors(tmp_path / "m")
    same(value(Weights(path)), joined())
    before, other = path.stat(), put_safetensors(tmp_path / "o", 3)
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    restart()
    after = path.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino, after.st_size, after.st_mtime_ns,
    )  # fmt: skip
    same(value(Weights(path)), joined(3))


def test_what_is_made_of_damaged_weights_is_not_kept(folder, path, restart, warnings):
    """It would be served for the sound file as well, whose digests are the same."""
    sound = path.read_bytes()
    at = sound.index(weights()["w.b"].tobytes())
    path.write_bytes(sound[:at] + b"\1" + sound[at + 1 :])
    assert (value(Weights(path)) != joined()).any()
    (told,) = warnings()
    assert "its data are not those of its digest" in told
    path.write_bytes(sound)
    restart()
    same(value(Weights(path)), joined())


@pytest.mark.parametrize("when", ["while it is open", "just before"])
def test_what_is_made_of_a_file_that_changes_is_not_kept(
    folder, tmp_path, when, monkeypatch, warnings
):
    path = put_safetensors(tmp_path / "m")
    if when == "just before":
        monkeypatch.setattr(checkpoint_file, "_TICK", 60 * 10**9)
    given = Weights(path)
    if when == "while it is open":
        os.utime(path)
    same(value(given), joined())
    assert (files(folder), len(warnings())) == ([], 1)


def test_a_replaced_parameter_is_computed_anew(folder, path, restart):
    class Joined(nn.Module):
        def __init__(self, given: Weights) -> None:
            self.a, self.b = given["w.a"], given["w.b"]

        def __call__(self, x: ptir.Tensor) -> ptir.Tensor:
            return x + ptir.concat([self.a, self.b], axis=1)

    zeros = ptir.as_tensor(np.zeros(JOINED, "f4"))
    for _ in range(2):
        module = Joined(Weights(path))
        same(module(zeros).numpy(), joined())
        nn.replace_parameter(module, "a", ptir.as_tensor(ramp(77)))
        wanted = np.concatenate([ramp(77), weights()["w.b"]], axis=1)
        same(module(zeros).numpy(), wanted)
        restart()
    assert len(files(folder)) == 1


def test_another_order_program_backend_or_option_is_another_file(
    folder, path, restart, backend, monkeypatch
):
    value(Weights(path))
    given = Weights(path)
    swapped = ptir.concat([given["w.b"], given["w.a"]], axis=1)
    zeros = ptir.as_tensor(np.zeros(JOINED, "f4"))
    same((zeros + swapped).numpy(), np.concatenate([*reversed(weights().values())], axis=1))
    assert len(files(folder)) == 2
    value(Weights(path), axis=0)
    assert len(files(folder)) == 3
    for name, other in (("options", lambda self: ("other",)), ("version", "x"), ("name", "y")):
        monkeypatch.setattr(type(backend), name, other)
        restart()
        given = Weights(path)
        value(given)
        assert given.loads.total() == 2, name
    assert len(files(folder)) == 6


# --- files that are not what they should be ---


def cut(file: Path, other: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def empty(file: Path, other: Path) -> None:
    os.truncate(file, 0)


def foreign(file: Path, other: Path) -> None:
    file.write_bytes(b"a note that somebody keeps here")


def of_another_value(file: Path, other: Path) -> None:
    shutil.copy(other, file)


def of_another_shape(file: Path, other: Path) -> None:
    config = Checkpoint(file).config
    save(file, kind="derived", config=config, tensors={"value": ramp(0, (1024, 256))})


def of_another_type(file: Path, other: Path) -> None:
    config = Checkpoint(file).config
    save(file, kind="derived", config=config, tensors={"value": joined().astype("i4")})


def of_two_tensors(file: Path, other: Path) -> None:
    config = Checkpoint(file).config
    save(file, kind="derived", config=config, tensors={"value": ramp(0, JOINED), "x": ramp(0)})


def of_another_kind(file: Path, other: Path) -> None:
    config = Checkpoint(file).config
    save(file, kind="gpt", config=config, tensors={"value": ramp(0, JOINED)})


def a_header_that_was_changed(file: Path, other: Path) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"w.a", b"w.c", 1))


WRONG = [
    cut, empty, foreign, of_another_value, of_another_shape, of_another_type, of_two_tensors,
    of_another_kind, a_header_that_was_changed,
]  # fmt: skip


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_a_file_that_is_not_the_value_is_ignored_and_written_anew(
    folder, path, restart, warnings, spoil
):
    value(Weights(path))
    (file,) = files(folder)
    right = file.read_bytes()
    value(Weights(path), axis=0)
    (other,) = set(files(folder)) - {file}
    spoil(file, other)
    restart()
    same(value(Weights(path)), joined())
    assert len(warnings()) == 1
    assert str(file) in warnings()[0]
    assert file.read_bytes() == right


@pytest.mark.parametrize("what", ["link", "folder"])
def test_what_is_no_file_is_left_alone(folder, path, tmp_path, restart, warnings, what):
    value(Weights(path))
    (file,) = files(folder)
    if what == "link":
        file.rename(tmp_path / "moved")
        file.symlink_to(tmp_path / "moved")
    else:
        file.unlink()
        file.mkdir()
    restart()
    given = Weights(path)
    same(value(given), joined())
    assert (given.loads.total(), len(warnings())) == (2, 2)
    assert file.is_symlink() if what == "link" else file.is_dir()


def test_a_flipped_bit_is_found_where_digests_are_compared(
    folder, path, restart, monkeypatch, warnings
):
    value(Weights(path))
    (file,) = files(folder)
    raw = bytearray(file.read_bytes())
    raw[raw.index(joined().tobytes()) + 5] ^= 1
    file.write_bytes(raw)
    restart()
    assert (value(Weights(path)) != joined()).sum() == 1  # so it is read
    monkeypatch.setenv("PTIR_CHECK_DIGESTS", "1")
    restart()
    same(value(Weights(path)), joined())
    (told,) = warnings()
    assert "its data are not those of its digest" in told
    restart()
    same(value(Weights(path)), joined())
    assert len(warnings()) == 1


# --- folders and disks that do not take anything ---


def a_link(folder: Path, monkeypatch: Any) -> None:
    elsewhere = folder.parent.parent / "elsewhere"
    elsewhere.mkdir()
    folder.parent.mkdir()
    folder.symlink_to(elsewhere)


def a_file(folder: Path, monkeypatch: Any) -> None:
    folder.parent.mkdir()
    folder.write_text("mine")


def a_file_in_the_place_of_the_cache(folder: Path, monkeypatch: Any) -> None:
    folder.parent.write_text("mine")


def of_somebody_else(folder: Path, monkeypatch: Any) -> None:
    folder.mkdir(parents=True)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)


def not_writable(folder: Path, monkeypatch: Any) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    open_ = os.open

    def refusing(path: Any, flags: int, *given: Any, **named: Any) -> int:
        if flags & os.O_CREAT:  # whoever is root may write anyway
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_(path, flags, *given, **named)

    monkeypatch.setattr(os, "open", refusing)


def on_a_full_disk(folder: Path, monkeypatch: Any) -> None:
    def write(fd: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)


def where_saving_fails(folder: Path, monkeypatch: Any) -> None:
    def fail(path: Path, **given: Any) -> None:
        raise CheckpointError(path, "cannot be written: Disk quota exceeded")

    monkeypatch.setattr(kept, "save", fail)


PLACES = [
    a_link, a_file, a_file_in_the_place_of_the_cache, of_somebody_else, not_writable,
    on_a_full_disk, where_saving_fails,
]  # fmt: skip


@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
def test_a_place_that_takes_nothing_costs_one_warning(
    folder, path, monkeypatch, warnings, make, tmp_path
):
    make(folder, monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    for axis in (1, 0):
        same(value(Weights(path), axis), np.concatenate([*weights().values()], axis=axis))
    assert len(warnings()) == 1
    assert "derived values are not kept: " in warnings()[0]
    after = {p for p in tmp_path.rglob("*") if p.name not in (".lock", "cache", "derived")}
    assert after == {p for p in before if p.name not in (".lock", "cache", "derived")}


def test_after_a_failure_nothing_more_is_written_but_what_is_there_is_read(
    folder, path, restart, monkeypatch
):
    value(Weights(path))
    restart()
    tried = []

    def fail(path: Path, **given: Any) -> None:
        tried.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept, "save", fail)
    for axis, loads in ((0, 2), (0, 2), (1, 0)):
        given = Weights(path)
        value(given, axis)
        assert given.loads.total() == loads
    assert len(tried) == 1


def test_a_disk_keeps_two_gib_for_others(folder, path, monkeypatch, warnings, caplog):
    caplog.set_level(logging.INFO, "ptir.engine")
    usage = shutil.disk_usage(path)
    for free, count in (((2 << 30) + (1 << 20) - 1, 0), ((2 << 30) + (1 << 20), 1)):
        monkeypatch.setattr(shutil, "disk_usage", lambda p, f=free: usage._replace(free=f))
        same(value(Weights(path)), joined())
        assert len(files(folder)) == count
    assert warnings() == []
    assert "has no room" in caplog.text


# --- the bound ---


def sparse(folder: Path, name: str, size: int, age: float) -> Path:
    """A file of many bytes that takes none of the disk, used so many seconds ago."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.gptrs"
    path.touch()
    os.truncate(path, size)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def one_gib(folder, monkeypatch) -> list[Path]:
    """Three files of 341 MiB, the oldest first: 1 MiB less than what may be kept."""
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "1")
    return [sparse(folder, str(i) * 32, 341 << 20, age=100 - i) for i in range(3)]


def test_the_least_recently_used_goes_first(folder, one_gib, path):
    """A file has a few hundred bytes more than its data."""
    os.truncate(one_gib[2], (341 << 20) - 4096)
    value(Weights(path))  # fits beside them
    assert [p.exists() for p in one_gib] == [True, True, True]
    os.utime(one_gib[0])
    value(Weights(path), axis=0)
    assert [p.exists() for p in one_gib] == [True, False, True]
    assert len(files(folder)) == 4


def test_a_use_makes_a_file_recent(folder, path, restart):
    value(Weights(path))
    (file,) = files(folder)
    os.utime(file, (1, 1))
    restart()
    value(Weights(path))
    assert time.time() - file.stat().st_mtime < 60


def test_what_this_process_has_used_stays(folder, path, restart, monkeypatch):
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "1")
    value(Weights(path))
    (file,) = files(folder)
    os.truncate(file, 2 << 30)
    other = sparse(folder, "f" * 32, 1 << 20, age=10)
    same(value(Weights(path), axis=0), np.concatenate([*weights().values()]))
    assert set(files(folder)) == {file, other}  # nothing goes where that makes no room
    restart()
    value(Weights(path), axis=0)  # another process may
    assert file not in files(folder)


def test_a_file_that_is_written_anew_needs_no_room_beside_itself(folder, path, monkeypatch):
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "1")
    value(Weights(path))
    (file,) = files(folder)
    os.truncate(file, 2 << 30)
    given = Weights(path)
    same(value(given), joined())
    assert given.loads.total() == 2
    assert file.stat().st_size < 2 << 20


def test_a_folder_with_the_name_of_a_file_is_left_alone(folder, path, monkeypatch):
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "1")
    (folder / ("e" * 32 + ".gptrs")).mkdir(parents=True)
    os.utime(folder / ("e" * 32 + ".gptrs"), (1, 1))
    sparse(folder, "f" * 32, 2 << 30, age=10)
    value(Weights(path))
    assert sorted(p.is_dir() for p in files(folder)) == [False, True]


def test_files_of_others_are_neither_counted_nor_deleted(folder, path, monkeypatch):
    monkeypatch.setenv("PTIR_DERIVED_CACHE", "1")
    mine = sparse(folder, "my-model", 2 << 30, age=1e6)
    value(Weights(path))
    assert mine.exists()
    assert len(files(folder)) == 2


def test_another_version_of_the_package_keeps_its_own_values(folder, path, restart, monkeypatch):
    value(Weights(path))
    restart()
    monkeypatch.setattr("ptir.engine.kept.VERSION", "0")
    value(Weights(path))
    assert len(files(folder)) == 2
