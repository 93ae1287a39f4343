"""The executor: threads that give the same bits, survive a fork, and can be interrupted."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ptir
from ptir import functional as F
from ptir.backends.native.library import LibraryError, library
from ptir.backends.native.threads import allowed_cpus, cpu_quota, threads
from ptir.ir import SpecError

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def native(monkeypatch):
    monkeypatch.setenv("PTIR_BACKEND", "native")


def tensor(*shape):
    return ptir.as_tensor(RANDOM.standard_normal(shape, "f4"))


WEIGHT, BIAS = tensor(96, 200), tensor(200)


@ptir.compile(symbolic={"x": {0: "T"}})
def step(x: ptir.Tensor) -> ptir.Tensor:
    return F.softmax(F.gelu(F.linear(F.layer_norm(x, BIAS[:96]), WEIGHT, BIAS)))


def result(x):
    return step(x).numpy().tobytes()


@pytest.mark.parametrize("count", ["1", "2", "3", "5"])
def test_threads_do_not_change_a_bit(count, monkeypatch):
    x = tensor(67, 96)
    monkeypatch.setenv("PTIR_THREADS", "1")
    alone = result(x)
    monkeypatch.setenv("PTIR_THREADS", count)
    assert {result(x) for _ in range(20)} == {alone}


def test_python_threads_run_one_plan_at_once_and_agree(monkeypatch):
    monkeypatch.setenv("PTIR_THREADS", "2")
    x = tensor(33, 96)
    wanted = result(x)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: result(x), range(1000))) == {wanted}


def test_a_child_of_a_fork_runs_on_threads_of_its_own(monkeypatch):
    monkeypatch.setenv("PTIR_THREADS", "2")
    x = tensor(33, 96)
    wanted = result(x)
    busy = threading.Event()

    def load():
        while not busy.is_set():
            assert result(x) == wanted

    worker = threading.Thread(target=load)
    worker.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0 if all(result(x) == wanted for _ in range(5)) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        busy.set()
        worker.join()


LONG_RUN = """
import numpy as np, ptir, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell starts with &
x = ptir.as_tensor(np.ones((1024, 1024), "f4"))
@ptir.compile
def long(x):
    for _ in range(2000):
        x = (x @ x) * 0.001
    return x
program = long.program(x)
print("ready", flush=True)
try:
    long(x).numpy()
except KeyboardInterrupt:
    small = ptir.as_tensor(np.ones(3, "f4"))
    print("interrupted", (small + 1).tolist(), flush=True)
"""


def test_ctrl_c_ends_a_long_run_and_the_next_one_works():
    command = [sys.executable, "-c", LONG_RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        threading.Event().wait(0.3)
        child.send_signal(signal.SIGINT)
        try:
            said, _ = child.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    assert said == "interrupted [2.0, 2.0, 2.0]\n"


SUBNORMALS = """
import numpy as np
from ptir.backends.native.library import library
before = float(np.float64(5e-324) * 1.0), float(np.float32(1e-45) * np.float32(1))
library()
after = float(np.float64(5e-324) * 1.0), float(np.float32(1e-45) * np.float32(1))
print(before == after and min(before) > 0)
"""


def test_loading_the_library_leaves_subnormals_alone():
    done = subprocess.run(
        [sys.executable, "-c", SUBNORMALS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_a_level_that_is_not_there_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("PTIR_ISA", "avx1024")
    with pytest.raises(LibraryError, match="no such level; it has base"):
        library().level()


def test_every_level_gives_what_the_best_one_does(monkeypatch):
    x = tensor(9, 96)
    best = step(x).numpy()
    for level in library().levels:
        monkeypatch.setenv("PTIR_ISA", level)
        np.testing.assert_allclose(step(x).numpy(), best, rtol=1e-4, atol=1e-7)


def test_threads_are_those_of_the_affinity_mask():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from ptir.backends.native.threads import threads; print(threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert 1 <= threads() <= len(allowed_cpus())


APART = """
import os, threading
import numpy as np
import ptir
from ptir import functional as F
w = ptir.as_tensor(np.ones((96, 200), "f4"))
def masks():
    F.linear(w[:9, :96], w).numpy()
    tasks = map(int, os.listdir("/proc/self/task"))
    return [os.sched_getaffinity(t) for t in tasks if t != threading.get_native_id()]
free = os.sched_getaffinity(0)
assert masks() == []
os.environ["PTIR_THREADS"] = "2"
masks()
for here in [*free, *free]:
    os.sched_setaffinity(0, {here})
    assert masks() == [free - {here} or free], (here, masks())
"""


def test_threads_keep_off_the_processor_of_the_caller():
    env = os.environ | {"PTIR_BACKEND": "native", "OPENBLAS_NUM_THREADS": "1", "PTIR_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", APART], capture_output=True, text=True, env=env, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "text, wanted", [("max 100000", None), ("50000 100000", 0.5), ("300000 100000", 3.0)]
)
def test_the_quota_of_a_cgroup_is_read(text, wanted, tmp_path):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert cpu_quota(tmp_path) == wanted


def test_the_quota_of_the_first_cgroups_is_read(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("150000")
    assert cpu_quota(tmp_path) == 1.5
    assert cpu_quota(tmp_path / "none") is None


LITTLE_MEMORY = """
import re, resource
import numpy as np
import ptir
from ptir import functional as F
x, w = (ptir.as_tensor(np.random.default_rng(s).standard_normal((64, 64), "f4")) for s in (0, 1))
step = ptir.compile(lambda x: F.softmax(x @ w))
step.program(x)
kept = np.empty(1 << 20, np.uint8)  # what Python takes in passing

def size():
    return int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

def limited(extra):
    resource.setrlimit(resource.RLIMIT_AS, (size() + extra, resource.RLIM_INFINITY))

def told():
    try:
        return step(x).numpy().tobytes()
    except MemoryError as error:
        return str(error)

limited({extra} << 20)
first = told()
begun = size()
for _ in range(200):
    told()
grown = size() - begun
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
print(first if isinstance(first, str) else first == told(), grown < 1 << 20)
print(told() == step(x).numpy().tobytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and RLIMIT_AS are of Linux")
@pytest.mark.parametrize(
    "extra, first",
    [(2, "the native library got no memory for its threads"), (18, "True"), (64, "True")],
    ids=["no thread", "one thread", "all threads"],
)
def test_threads_that_get_no_memory_are_done_without(extra, first):
    """With one thread too few the same bits come from fewer, and nothing is taken again and again;
    with none the error is Python's own, and the process goes on.
    """
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY.replace("{extra}", str(extra))],
        env={**os.environ, "PTIR_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{first} True\nTrue\n", done.stderr


def test_what_does_not_fit_into_memory_is_refused_before_it_is_taken():
    huge = ptir.zeros((1 << 22, 1 << 20), "f32")
    with pytest.raises(SpecError, match="GB are free") as caught:
        huge.numpy()
    assert caught.value.code == "memory"
