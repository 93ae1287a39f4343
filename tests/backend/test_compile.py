"""Compiled functions: one plan for each combination, and the same answers as without compiling."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any, NamedTuple

import numpy as np
import pytest

import ptir
from ptir import engine, functional, ops
from ptir.engine import Parameter
from ptir.ir import SpecError, leaf, tensor_type
from ptir.params import ParamKey
from ptir.trace import trace


def rows(*shape):
    return ptir.as_tensor(np.arange(np.prod(shape), dtype="f4").reshape(shape))


def counted(fn):
    """`fn`, and how often it was traced."""
    calls = []

    def body(*args, **kwargs):
        calls.append(args)
        return fn(*args, **kwargs)

    return ptir.compile(body), calls


# --- one plan for each combination ---


def test_a_combination_is_traced_once(plans):
    step, traces = counted(lambda x: x * 2 + 1)
    for start in range(3):
        assert step(rows(3) + start).tolist() == [2 * (start + i) + 1 for i in range(3)]
    assert len(traces) == 1
    step(rows(4))
    step(rows(3).astype("f64"))
    assert len(traces) == 3


def test_two_functions_of_one_graph_share_a_plan(plans):
    ptir.compile(lambda x: x + 1)(rows(3))
    assert (plans.stats.misses, plans.stats.hits) == (1, 0)
    ptir.compile(lambda y: y + 1)(rows(3))
    assert (plans.stats.misses, plans.stats.hits) == (1, 1)


def test_static_arguments_are_part_of_the_key():
    seen = []

    @ptir.compile
    def scale(x, factor):
        seen.append(factor)
        return x * factor

    for factor in (1, True, 1.0, 2, -0.0, 0.0, 1, True, 1.0):
        got = scale(rows(3), factor).numpy()
        assert np.array_equal(got, np.arange(3, dtype="f4") * factor)
        assert np.array_equal(np.signbit(got), np.signbit(np.arange(3, dtype="f4") * factor))
    assert list(map(repr, seen)) == ["1", "True", "1.0", "2", "-0.0", "0.0"]


def test_numpy_arrays_are_arguments():
    add = ptir.compile(lambda x, y: x + y)
    assert add(np.ones(2, "f4"), np.float32(2)).tolist() == [3, 3]
    assert add(np.zeros(2, "f4"), np.float32(5)).tolist() == [5, 5]


def test_lazy_arguments_are_computed_first():
    assert ptir.compile(lambda x: x * 2)(rows(3) + 1).tolist() == [2, 4, 6]


def test_a_changed_pipeline_is_another_plan(plans, monkeypatch):
    step = ptir.compile(lambda x: x.transpose(0, 1) + 1)
    step(rows(2, 2))
    monkeypatch.setenv("PTIR_PASSES", "-canonicalize")
    step(rows(2, 2))
    assert plans.stats.misses == 2
    monkeypatch.delenv("PTIR_PASSES")
    step(rows(2, 2))
    assert plans.stats.misses == 2


# --- signatures ---


def test_keywords_and_defaults_reach_the_function():
    @ptir.compile
    def f(x, /, y, scale=2, *, shift=0):
        return (x - y) * scale + shift

    x, y = rows(3) + 5, rows(3)
    assert f(x, y).tolist() == [10, 10, 10]
    assert f(x, y=y, scale=3).tolist() == [15, 15, 15]
    assert f(x, y, 3, shift=rows(3)).tolist() == [15, 16, 17]
    with pytest.raises(TypeError, match="positional"):
        f(x, y, 3, 1)
    with pytest.raises(TypeError, match="missing"):
        f(x)


def test_stars_reach_the_function():
    total = ptir.compile(lambda *xs: sum(xs[1:], xs[0]))
    assert total(rows(2)).tolist() == [0, 1]
    assert total(rows(2), rows(2), rows(2)).tolist() == [0, 3]
    named = ptir.compile(lambda x, **more: x + more["a"] - more["b"])
    assert named(rows(2), a=rows(2), b=rows(2) * 3).tolist() == [0, -1]


def test_the_wrapper_looks_like_the_function():
    @ptir.compile
    def named(x):
        """What it does."""
        return x

    assert (named.__name__, named.__doc__) == ("named", "What it does.")
    assert named.__wrapped__(3) == 3


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Cache:
    keys: Any
    length: int


def test_structures_go_in_and_come_out():
    @ptir.compile
    def f(tree):
        caches = [Cache(c.keys + 1, c.length * 2) for c in tree["caches"]]
        return {"pair": Pair(tree["x"], (caches[0].keys, [3, None])), 7: caches}

    got = f({"x": rows(2), "caches": [Cache(rows(2), 4)]})
    assert list(got) == ["pair", 7]
    assert isinstance(got["pair"], Pair)
    assert got["pair"].first.tolist() == [0, 1]
    assert got["pair"].second[0].tolist() == [1, 2]
    assert got["pair"].second[1] == [3, None]
    (cache,) = got[7]
    assert isinstance(cache, Cache)
    assert (cache.keys.tolist(), cache.length) == ([1, 2], 8)


def test_a_function_that_returns_no_tensor_is_refused():
    with pytest.raises(SpecError, match="returned 3, wanted tensors"):
        ptir.compile(lambda x: 3)(rows(2))
    with pytest.raises(SpecError, match="unpack"):
        ptir.compile(lambda x: ops.top_k(x, k=1))(rows(2))


def test_a_static_argument_without_a_hash_is_refused():
    with pytest.raises(SpecError, match="neither a tensor nor hashable"):
        ptir.compile(lambda x, s: x)(rows(2), {1, 2})


# --- symbolic axes ---


def test_one_plan_serves_every_length(plans):
    @ptir.compile
    def mean(x):
        return x.mean(1)

    symbolic = ptir.compile(mean.__wrapped__, symbolic={"x": {1: "T"}})
    for length in (1, 2, 3, 50, 7, 2):
        got = symbolic(rows(2, length))
        assert got.shape == (2,)
        np.testing.assert_allclose(got.numpy(), np.arange(2 * length).reshape(2, length).mean(1))
    assert plans.stats.misses == 1


def test_result_shapes_follow_the_symbols():
    f = ptir.compile(lambda x, y: ptir.concat([x, y, x]), symbolic={"x": {0: "A"}, "y": {0: "B"}})
    for a, b in ((1, 2), (4, 0), (0, 0), (3, 3)):
        got = f(rows(a), rows(b))
        assert got.shape == (2 * a + b,)
        assert got.tolist() == [*range(a), *range(b), *range(a)]


def test_a_negative_axis_may_be_symbolic(plans):
    f = ptir.compile(lambda x: x + 1, symbolic={"x": {-1: "T"}})
    assert f(rows(2, 3)).shape == (2, 3)
    assert f(rows(2, 5)).shape == (2, 5)
    assert plans.stats.misses == 1


def test_axes_of_one_symbol_must_agree():
    f = ptir.compile(lambda x, y: x + y, symbolic={"x": {0: "T"}, "y": {0: "T"}})
    assert f(rows(3), rows(3)).tolist() == [0, 2, 4]
    with pytest.raises(SpecError, match=r"\(4,?\)"):
        f(rows(3), rows(4))


def test_names_that_are_no_parameter_are_refused():
    with pytest.raises(SpecError, match="no parameter 'cache'"):
        ptir.compile(lambda x: x, state=["cache"])
    with pytest.raises(SpecError, match="no parameter 'ids'"):
        ptir.compile(lambda x: x, symbolic={"ids": {0: "T"}})
    with pytest.raises(SpecError, match="order of the parameters"):
        ptir.compile(lambda x, y: (x, y), state=["y", "x"])
    with pytest.raises(SpecError, match="identifier"):
        ptir.compile(lambda x: x, symbolic={"x": {0: "a b"}})


def test_a_symbolic_axis_that_an_argument_lacks_is_refused():
    f = ptir.compile(lambda x: x.sum(), symbolic={"x": {2: "T"}})
    with pytest.raises(SpecError, match=r"symbolic axis 2 is out of range .* f32\[2, 3\]"):
        f(rows(2, 3))


def test_a_symbolic_size_used_as_a_value_is_refused_in_words():
    f = ptir.compile(lambda x: x + x.shape[0], symbolic={"x": {0: "T"}})
    with pytest.raises(SpecError, match=r"the symbolic size \?T is no value"):
        f(rows(2, 3))


# --- state ---


def appended(cache, x):
    return x.sum(), cache + x


def test_state_is_donated_and_replaced():
    step = ptir.compile(appended, state=["cache"])
    cache = ptir.zeros((3,)) + 0
    for turn in range(1, 4):
        before = cache
        total, cache = step(cache, rows(3))
        assert total.item() == 3
        with pytest.raises(SpecError, match="was donated as state") as caught:
            (before + 1).numpy()
        assert caught.value.code == "donated"
        kept, cache = cache.tolist(), cache
        assert kept == [0, turn, 2 * turn]


def test_state_that_others_read_is_copied(backend):
    step = ptir.compile(appended, state=["cache"])
    data = ptir.as_tensor(np.ones(3, "f4"))
    source = data.node.attrs["source"]
    first, second = source.donate(backend), source.donate(backend)
    assert first is not second
    assert not np.shares_memory(backend.get(first), source.load())
    step(data, rows(3))
    assert data.tolist() == [1, 1, 1]  # data of the caller is never overwritten


def test_a_value_that_a_compiled_function_closes_over_is_not_overwritten(backend):
    shared = (rows(3) + 1).realize()
    reads = ptir.compile(lambda x: x + shared)
    assert reads(rows(3)).tolist() == [1, 3, 5]
    handle = shared.node.attrs["source"].handle(backend)
    assert shared.node.attrs["source"].donate(backend) is not handle
    assert reads(rows(3)).tolist() == [1, 3, 5]


def test_state_must_come_back_with_its_type():
    with pytest.raises(SpecError, match="its new value"):
        ptir.compile(lambda cache: cache.sum(), state=["cache"])(rows(3))


@pytest.mark.parametrize("order", ["state first", "state last"])
def test_a_tensor_cannot_be_state_and_argument_at_once(order):
    if order == "state first":
        step: Any = ptir.compile(lambda cache, x: cache + x, state=["cache"])
    else:
        step = ptir.compile(lambda x, cache: cache + x, state=["cache"])
    both = (rows(3) + 1).realize()
    with pytest.raises(SpecError, match="was donated as state"):
        step(both, both)


# --- what a function closes over ---


def parameter(name, key, load):
    return ptir.Tensor(leaf(Parameter(tensor_type((2,), "f32"), name, ParamKey(key), load)))


def test_parameters_are_loaded_once():
    loads = []

    def load():
        loads.append(1)
        return np.array([1, 2], "f4")

    w = parameter("test.w", 9001, load)
    step = ptir.compile(lambda x: x * w + w)
    assert step(rows(2)).tolist() == [1, 4]
    assert step(rows(2)).tolist() == [1, 4]
    assert ptir.compile(lambda x: x - w)(rows(2)).tolist() == [-1, -1]
    assert len(loads) == 1


def test_a_parameter_keeps_its_name_and_role(plans):
    w = parameter("test.v", 9002, lambda: np.ones(2, "f4"))
    plan = ptir.compile(lambda x: x + w).program(rows(2))
    assert [(i.role, i.name) for i in plan.key.program.inputs] == [
        ("argument", None),
        ("parameter", "test.v"),
    ]


def test_a_parameter_of_another_type_than_declared_is_refused():
    w = parameter("test.u", 9003, lambda: np.ones(3, "f4"))
    with pytest.raises(SpecError, match=r"test.u: the source gave f32\[3\], wanted f32\[2\]"):
        ptir.compile(lambda x: x + w)(rows(2))


def test_outer_values_are_computed_once_and_passed_in(plans):
    outer = rows(3) * 10
    step = ptir.compile(lambda x: x + (outer + 1))
    assert step(rows(3)).tolist() == [1, 12, 23]
    program = step.program(rows(3)).key.program
    assert len(program.inputs) == 2
    assert [n.op.name for n in program.nodes] == ["param", "param", "add"]


def test_a_nested_trace_hoists_what_it_closes_over():
    """A scan whose body closes over an argument of the function, its state and outer data."""
    outer = rows(2) + 1

    def step(cache, x):
        def body(carry, row):
            return carry + functional.relu(row) * outer + cache + x[0]

        traced = trace(body, [tensor_type((2,), "f32"), tensor_type((2,), "f32")])
        outside = [ptir.Tensor(n) for n in traced.outside]
        assert [i.role for i in traced.program.inputs] == ["argument"] * 5
        carry = ops.scan(x[0] * 0, x, *outside, body=traced.program, carries=1, inputs=1)
        return carry, cache + 1

    x = rows(3, 2)
    got, _ = ptir.compile(step, state=["cache"])(ptir.zeros((2,)) + 1, x)
    wanted, array = np.zeros(2), x.numpy()
    for row in array:
        wanted = wanted + row * [1, 2] + [1, 1] + array[0]
    assert got.tolist() == wanted.tolist()


def test_a_compiled_function_inside_another_is_refused_clearly():
    @ptir.compile
    def inner(x):
        return x + 1

    for outer in (lambda x: inner(x), lambda x: inner(x * 2)):
        with pytest.raises(
            SpecError, match="inner: a compiled function was called while"
        ) as caught:
            ptir.compile(outer)(rows(2))
        assert "__wrapped__" in str(caught.value)
    assert ptir.compile(lambda x: inner.__wrapped__(x) * 2)(rows(2)).tolist() == [2, 4]


def test_an_argument_cannot_be_read_while_it_is_traced():
    for read in (lambda x: float(x[0]), lambda x: x.numpy()):
        with pytest.raises(SpecError, match="not known while a function is traced; compute with"):
            ptir.compile(lambda x, read=read: x if read(x) else -x)(rows(2))


# --- eager, threads, plans ---


def test_eager_mode_gives_equal_results(monkeypatch):
    @ptir.compile
    def f(x, y, scale=2.0):
        return {"a": functional.softmax(x @ y, axis=-1) * scale, "b": (x - 1, y)}

    lazy = f(rows(2, 3), np.ones((3, 2), "f4"))
    monkeypatch.setenv("PTIR_EAGER", "1")
    eager = f(rows(2, 3), np.ones((3, 2), "f4"))
    assert repr(eager["a"]).endswith(": data>") or "data on" in repr(eager["a"])
    np.testing.assert_array_equal(lazy["a"].numpy(), eager["a"].numpy())
    assert lazy["b"][0].tolist() == eager["b"][0].tolist()


def test_eight_threads_compile_one_combination_once(plans):
    step, traces = counted(lambda x: (x * 3).sum() - x[0])
    barrier = Barrier(8)

    def call(_):
        barrier.wait()
        return [step(rows(4) + i).tolist() for i in range(20)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, range(8)))
    assert all(f == [3 * (6 + 4 * i) - i for i in range(20)] for f in found)
    assert len(traces) == 1


def test_eight_threads_compile_eight_shapes(plans):
    step, traces = counted(lambda x: x.sum())
    barrier = Barrier(8)

    def call(thread):
        barrier.wait()
        return [step(rows(1 + (thread + i) % 8)).item() for i in range(16)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, range(8)))
    sizes = [[1 + (t + i) % 8 for i in range(16)] for t in range(8)]
    assert found == [[n * (n - 1) / 2 for n in row] for row in sizes]
    assert len(traces) == 8


def test_the_plan_can_be_read_before_anything_runs(plans):
    step = ptir.compile(lambda x: x + 1)
    plan = step.program(rows(3))
    assert plan.reason == "new graph: 4 nodes, 1 inputs"
    assert step(rows(3)).tolist() == [1, 2, 3]
    assert plans.stats.misses == 1


def test_an_unknown_backend_is_refused_with_the_nearest_name():
    with pytest.raises(ptir.PtirError, match="did you mean 'reference'"):
        ptir.compile(lambda x: x, backend="referense")(rows(2))
    assert engine.backend_of("reference").name == "reference"


class Scaled:
    """Something with a compiled method: not a structure, so each instance is static."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    @ptir.compile
    def __call__(self, x):
        return x * self.factor


def test_a_method_is_compiled_once_for_each_instance(backend):
    x = np.ones(3, np.float32)
    double, triple = Scaled(2.0), Scaled(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(double(x).numpy(), x * 2)
        np.testing.assert_array_equal(triple(x).numpy(), x * 3)
    assert isinstance(Scaled.__call__, ptir.Compiled)
