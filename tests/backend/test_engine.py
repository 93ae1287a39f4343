"""The engine: what never shares a plan, why a plan was made, what is kept, what is written down."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ptir
from ptir import backends, engine, functional, ops, passes
from ptir.backends import Backend
from ptir.engine import Parameter
from ptir.ir import Dim, Input, Program, Role, SpecError, leaf, node, param, rewrite, rule
from ptir.ir import tensor_type as t
from ptir.ops.evaluate import evaluate
from ptir.params import ParamKey

F2 = t((2,), "f32")


def rows(*data):
    return ptir.as_tensor(list(data))


def twin_of(backend, name, **members):
    """A second backend that runs as `backend` does, under another name."""

    return type("Twin", (type(backend),), {"name": name, **members})()


@pytest.fixture
def twin(backend, monkeypatch):
    made = twin_of(backend, "twin")
    monkeypatch.setitem(backends._found, "twin", made)
    return made


# --- what never shares a plan ---


def test_swapped_operands_are_two_plans(plans):
    straight, swapped = ptir.compile(lambda a, b: a - b), ptir.compile(lambda a, b: b - a)
    a, b = rows(5.0, 7.0), rows(1.0, 2.0)
    assert straight(a, b).tolist() == [4, 5]
    assert swapped(a, b).tolist() == [-4, -5]
    assert (plans.stats.misses, len(plans)) == (2, 2)


def test_swapped_parameters_are_two_plans(plans):
    v, w = (
        ptir.Tensor(leaf(Parameter(F2, name, ParamKey(key), partial(np.full, 2, value, "f4"))))
        for name, key, value in (("test.v", 9101, 5.0), ("test.w", 9102, 2.0))
    )
    assert (v - w).tolist() == [3, 3]
    assert (w - v).tolist() == [-3, -3]
    assert plans.stats.misses == 2
    assert plans.stats.reasons[-1] == "parameter: input 0 is 'test.w', was 'test.v'"


def test_two_pipelines_are_two_plans(plans, monkeypatch):
    program = Program.of([F2], lambda x: ops.neg(ops.neg(ops.neg(x))))
    backend = engine.backend_of(None)
    short, _ = engine.plan_of(program, backend)
    monkeypatch.setenv("PTIR_PASSES", "-simplify")
    long, hit = engine.plan_of(program, backend)
    assert not hit
    assert short.program != long.program
    assert "simplify" not in [p.name for p in long.passes]
    x = backend.put(np.array([1, 2], "f4"))
    for plan in (short, long):
        assert backend.get(engine.execute(plan, [x])[0]).tolist() == [-1, -2]


def test_two_backends_are_two_plans(plans, backend, twin):
    x = rows(1.0, 2.0)
    assert (x.to(backend.name) + 1).tolist() == [2, 3]
    assert (x.to("twin") + 1).tolist() == [2, 3]
    assert plans.stats.misses == 2
    assert plans.stats.reasons[-1] == f"backend: {backend.name} → twin"


def test_equal_graphs_over_new_data_are_one_plan(plans):
    for start in range(20):
        assert (rows(start, 2.0) * 2 + 1).tolist() == [2 * start + 1, 5]
    assert (plans.stats.misses, plans.stats.hits) == (1, 19)


def test_an_unknown_pass_to_leave_out_is_refused(monkeypatch):
    monkeypatch.setenv("PTIR_PASSES", "-canonicalise")
    with pytest.raises(SpecError, match="did you mean 'canonicalize'"):
        (rows(1.0) + 1).numpy()


# --- why ---


def reason(plans, first, second, backend=None):
    """Why `second` was compiled after `first`."""
    for program in (first, second):
        engine.plan_of(program, backend or engine.backend_of(None))
    return plans.stats.reasons[-1]


def unary(type, op=ops.exp):
    return Program.of([type], op)


def test_reason_new_graph(plans):
    words = reason(plans, unary(F2), Program.of([F2], lambda x: ops.add(x, ops.exp(x))))
    assert words == "new graph: 3 nodes, 1 inputs"


def test_reason_shape(plans):
    assert reason(plans, unary(F2), unary(t((3,), "f32"))) == ("shape of input 0: f32[2] → f32[3]")


def test_reason_dtype(plans):
    assert reason(plans, unary(F2), unary(t((2,), "f64"))) == "dtype of input 0: f32[2] → f64[2]"


def test_reason_symbol(plans):
    symbolic = unary(t((Dim.symbol("T"),), "f32"))
    assert reason(plans, unary(F2), symbolic) == "shape of input 0: f32[2] → f32[?T]"


def test_reason_role(plans):
    state = Program((Input(F2, Role.STATE),), (ops.exp(param(0, F2)),))
    assert reason(plans, unary(F2), state) == "role of input 0: argument → state"


def test_reason_attribute(plans):
    square = t((2, 2), "f32")
    first, second = (
        Program.of([square], lambda x, a=a: ops.reduce(x, kind="sum", axes=a)) for a in (0, 1)
    )
    assert reason(plans, first, second) == "attribute of reduce: axes (0,) → (1,)"


def test_reason_literal(plans):
    first, second = (
        Program.of([t((), "f32")], lambda x, v=v: ops.add(x, node.constant(v, "f32")))
        for v in (1, 2)
    )
    assert reason(plans, first, second) == "literal: f32[] of another value"


def test_reason_region(plans):
    first, second = (
        Program.of([F2], lambda x, op=op: ops.call(x, body=unary(F2, op)))
        for op in (ops.exp, ops.neg)
    )
    assert reason(plans, first, second) == "region of call"


def test_reason_order_of_inputs(plans):
    first = Program.of([F2, F2], lambda x, y: ops.sub(x, y))
    second = Program.of([F2, F2], lambda x, y: ops.sub(y, x))
    assert reason(plans, first, second) == "order of inputs: the same graph on other inputs"


def test_reason_number_of_inputs(plans):
    more = Program.of([F2, F2], lambda x, y: ops.exp(x))
    assert reason(plans, unary(F2), more) == "number of inputs or results"


def test_reason_pipeline(plans, monkeypatch):
    engine.plan_of(unary(F2), engine.backend_of(None))
    monkeypatch.setenv("PTIR_PASSES", "-canonicalize")
    engine.plan_of(unary(F2), engine.backend_of(None))
    assert plans.stats.reasons[-1].startswith("pipeline: ")
    before, after = plans.stats.reasons[-1].split(" → ")
    assert "canonicalize" in before
    assert "canonicalize" not in after


def test_reason_backend_version_and_options(plans, backend):
    old = twin_of(backend, "t")
    engine.plan_of(unary(F2), old)
    engine.plan_of(unary(F2), twin_of(backend, "t", version="new"))
    assert plans.stats.reasons[-1] == f"backend version: {backend.version} → new"
    engine.plan_of(unary(F2), twin_of(backend, "t", options=lambda self: ("fast",)))
    assert plans.stats.reasons[-1].startswith("backend ")
    plans.clear()
    engine.plan_of(unary(F2), old)
    engine.plan_of(unary(F2), twin_of(backend, "t", options=lambda self: ("fast",)))
    assert plans.stats.reasons[-1].startswith("backend options: ")
    assert plans.stats.reasons[-1].endswith("→ fast")


def test_reason_evicted(plans, monkeypatch):
    monkeypatch.setenv("PTIR_PLAN_CACHE", "1")
    for op in (ops.exp, ops.neg, ops.exp):
        engine.plan_of(unary(F2, op), engine.backend_of(None))
    assert plans.stats.reasons[-1] == "evicted: it was compiled before, but the cache was full"


def test_a_thousand_reasons_are_kept(plans):
    key = engine.plan_of(unary(F2), engine.backend_of(None))[0].key
    for i in range(600):
        plans.stats.reasons.append(f"{i}")
    engine.plan_of(unary(F2, ops.neg), engine.backend_of(None))
    assert len(plans.stats.reasons) == 602
    assert plans.reason(key) == ""


# --- what is kept ---


def test_the_least_recently_used_plan_goes_first(plans, monkeypatch):
    monkeypatch.setenv("PTIR_PLAN_CACHE", "2")
    backend = engine.backend_of(None)
    a, b, c = (unary(F2, op) for op in (ops.exp, ops.neg, ops.abs_))
    hits = [engine.plan_of(p, backend)[1] for p in (a, b, a, c, a, b)]
    assert hits == [False, False, True, False, True, False]
    assert (len(plans), plans.stats.evictions, plans.stats.misses) == (2, 2, 4)


def test_threads_that_want_one_plan_compile_it_once(plans, backend):
    compiled = []
    slow = threading.Event()

    def compile(self, program):
        compiled.append(program)
        slow.wait(0.05)
        return type(backend).compile(self, program)

    shared, barrier = twin_of(backend, "slow", compile=compile), Barrier(8)

    def fetch(_):
        barrier.wait()
        return engine.plan_of(unary(F2), shared)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fetch, range(8)))
    assert len(compiled) == 1
    assert len({id(plan) for plan, _ in found}) == 1
    assert sorted(hit for _, hit in found) == [False] + [True] * 7
    assert (plans.stats.misses, plans.stats.hits) == (1, 7)


def test_a_failed_compilation_is_tried_again(plans, backend):
    attempts = []

    def compile(self, program):
        attempts.append(program)
        if len(attempts) == 1:
            raise MemoryError
        return type(backend).compile(self, program)

    flaky = twin_of(backend, "flaky", compile=compile)
    with pytest.raises(MemoryError):
        engine.plan_of(unary(F2), flaky)
    assert not engine.plan_of(unary(F2), flaky)[1]
    assert len(attempts) == 2


def test_a_backend_is_made_once_whichever_thread_asks(monkeypatch, backend):
    monkeypatch.setattr(backends, "_found", {})
    barrier = Barrier(8)

    def find(_):
        barrier.wait()
        return backends.find(backend.name)

    with ThreadPoolExecutor(8) as pool:
        assert len({id(b) for b in pool.map(find, range(8))}) == 1


class EntryPoints(list[Any]):
    @property
    def names(self):
        return {e.name for e in self}

    def __getitem__(self, name):
        return next(e for e in self if e.name == name)


class EntryPoint:
    def __init__(self, name, made):
        self.name, self.load = name, lambda: made


def test_a_third_party_backend_is_found_by_its_entry_point(monkeypatch, backend):
    made = type("Foreign", (type(backend),), {"name": "foreign"})
    module, odd = SimpleNamespace(Backend=made), SimpleNamespace(Backend=dict)
    points = EntryPoints(
        [EntryPoint("foreign", module), EntryPoint("alias", module), EntryPoint("odd", odd)]
    )
    monkeypatch.setattr(backends, "_foreign", lambda: points)
    monkeypatch.setattr(backends, "_found", {})
    assert backends.find("foreign") is backends.find("foreign")
    assert {"foreign", "alias", "odd", backend.name} <= set(backends.names())
    with pytest.raises(ptir.PtirError, match="'alias' calls itself 'foreign'"):
        backends.find("alias")
    with pytest.raises(ptir.PtirError, match=r"dict is not a ptir\.backends\.Backend"):
        backends.find("odd")


def test_a_backend_that_claims_three_ops_runs_what_expands_to_them(plans, backend):
    few = twin_of(
        backend,
        "few",
        claims=lambda self, n: n.op in (ops.reduce, ops.broadcast_to, ops.sub, ops.exp, ops.div),
    )
    x = rows(1.0, 2.0, 4.0)
    program, sources = Program.capture([functional.softmax(x, axis=-1).node])
    plan, _ = engine.plan_of(program, few)
    (got,) = engine.execute(plan, [few.put(x.numpy()) for _ in sources])
    np.testing.assert_allclose(few.get(got), np.exp([1, 2, 4]) / np.exp([1, 2, 4]).sum(), 1e-6)
    with pytest.raises(SpecError, match="backend 'few' does not claim it") as caught:
        engine.plan_of(unary(F2, ops.sort), few)
    assert (caught.value.op, caught.value.code) == ("sort", "unclaimed")


def test_what_is_not_claimed_is_expanded_in_regions_too(plans, backend):
    mean = Program.of([F2], lambda x: functional_node("relu", x))
    nested = Program.of([F2], lambda x: ops.cond(truth(), x, on_true=mean, on_false=unary(F2)))
    program = Program.of([F2], lambda x: ops.cond(truth(), x, on_true=nested, on_false=nested))
    bare = twin_of(backend, "bare", claims=lambda self, n: n.op is not ops.composite)
    plan, _ = engine.plan_of(program.verify(), bare)
    todo, met = [plan.program], set[str]()
    while todo:
        one = todo.pop()
        met.update(n.op.name for n in one.nodes)
        todo.extend(one.regions)
    assert "composite" not in met
    assert {"cond", "maximum"} <= met
    (got,) = engine.execute(plan, [bare.put(np.array([-1, 2], "f4"))])
    assert bare.get(got).tolist() == [0, 2]


def truth():
    return node.constant(True, "i1")


def functional_node(name, x):
    """A functional on a node."""
    return getattr(functional, name)(ptir.Tensor(x)).node


# --- verification ---


def test_verify_names_the_pass_that_broke_the_program(plans, backend, monkeypatch):
    def breaker(program):
        return Program(program.inputs, (param(7, F2),))

    broken = twin_of(backend, "broken", pipeline=lambda self: {"pre": (breaker,)})
    monkeypatch.setenv("PTIR_VERIFY", "1")
    with pytest.raises(SpecError, match=r"it broke the program: .*not declared") as caught:
        engine.plan_of(unary(F2), broken)
    assert (caught.value.op, caught.value.code) == ("breaker", "pass")


def test_passes_of_a_backend_run_at_their_points(plans, backend):
    @rule(ops.exp)
    def exp_to_neg(found):
        return ops.neg(found.operands[0])

    def swap(program):
        return rewrite(program, (exp_to_neg,))

    own = twin_of(backend, "own", pipeline=lambda self: {"fuse": (swap,)})
    plan, _ = engine.plan_of(unary(F2), own)
    ran = [p.name for p in plan.passes]
    assert ran.index("canonicalize") < ran.index("legalize") < ran.index("swap")
    assert plan.program == unary(F2, ops.neg)
    assert isinstance(own, Backend)
    assert "pre" in passes.PIPELINE


# --- what is written down ---


def read(folder):
    """The programs and facts in a folder, in order."""
    texts = [p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.ptir"))]
    facts = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]
    return [ptir.ir.parse_program(text) for text in texts], facts


def test_compiled_programs_are_written_once(plans, tmp_path, backend):
    with ptir.dump(tmp_path):
        for start in range(3):
            functional.softmax(rows(start, 1.0), axis=-1).numpy()
    (program,), (facts,) = read(tmp_path)
    assert (facts["cache"], facts["reason"]) == ("miss", "new graph: 2 nodes, 1 inputs")
    assert (facts["backend"], facts["inputs"]) == (backend.name, ["argument : f32[2]"])
    assert "legalize" in [p["name"] for p in facts["passes"]]
    assert facts["passes"][0]["before"] == 2
    assert facts["nodes"] == len(program.nodes)
    assert facts["compile_ms"] > 0
    assert facts["error"] is None


def test_a_written_program_runs_to_the_same_numbers(plans, tmp_path):
    big = np.linspace(-1, 1, 80, dtype="f4")  # more than the text form shows on one line
    program = Program.of(
        [t((80,), "f32")], lambda x: ops.tanh(ops.add(x, node.constant(big, "f32")))
    )
    backend = engine.backend_of(None)
    with ptir.dump(tmp_path):
        plan, _ = engine.plan_of(program, backend)
    (again,), _ = read(tmp_path)
    assert again == plan.program
    x = np.full(80, 0.25, "f4")
    wanted = backend.get(plan.executable(backend.put(x))[0])
    np.testing.assert_allclose(evaluate(again, [x])[0], wanted, rtol=1e-6)


def test_all_executed_programs_are_written(plans, tmp_path):
    with ptir.dump(tmp_path, "all"):
        for start in range(3):
            (rows(start, 1.0) + 1).numpy()
        step = ptir.compile(lambda x: x * 2)
        step(rows(1.0))
        step(rows(1.0))
    programs, facts = read(tmp_path)
    assert [f["cache"] for f in facts] == ["miss", "hit", "hit", "miss", "hit"]
    assert all(f["run_ms"] > 0 for f in facts)
    assert programs[0] == programs[1] == programs[2] != programs[3]


def test_a_failure_is_written_down(plans, tmp_path):
    with ptir.dump(tmp_path, "all"), pytest.raises(SpecError, match="division by zero"):
        ops.div(ptir.as_tensor([1]), ptir.as_tensor([0])).numpy()
    _, facts = read(tmp_path)
    assert "division by zero" in facts[0]["error"]


def test_a_mode_that_is_none_is_refused(tmp_path):
    with pytest.raises(ptir.ConfigError, match="dump mode 'every' is not compile or all"):
        ptir.dump(tmp_path, "every").__enter__()  # type: ignore[arg-type]  # the point of the test


def test_the_environment_names_a_folder(plans, tmp_path, monkeypatch):
    monkeypatch.setenv("PTIR_DUMP_DIR", str(tmp_path))
    ptir.compile(lambda x: x * 3).program(rows(1.0))  # compiled, not executed
    assert len(read(tmp_path)[0]) == 1
    monkeypatch.delenv("PTIR_DUMP_DIR")
    (rows(1.0) * 4).numpy()
    assert len(read(tmp_path)[0]) == 1


# --- explanations ---


def test_explaining_a_tensor_says_everything_and_runs_nothing(plans, backend):
    x = functional.softmax(rows(1.0, 2.0), axis=-1).reshape(2).reshape(1, 2) + 1
    text = ptir.explain(x)
    assert "composite(" in text
    assert "%0: f32[2] argument from Data" in text
    assert "canonicalize: " in text
    assert f"on {backend.name}" in text
    assert "miss: new graph" in text
    assert "claimed: reshape" in text
    assert (len(plans), plans.stats.misses, plans.stats.hits) == (0, 0, 0)
    assert repr(x).endswith("add>")
    x.numpy()
    again = functional.softmax(rows(5.0, 2.0), axis=-1).reshape(2).reshape(1, 2) + 1
    assert ptir.explain(again).rstrip().endswith("hit")


def test_explaining_a_function_says_the_same(plans):
    step = ptir.compile(lambda x, n: x * n)
    text = ptir.explain(step, rows(1.0), 2)
    assert "%0: f32[1] argument" in text
    assert "miss: new graph" in text
    assert len(plans) == 0
    step(rows(1.0), 2)
    assert "hit: bound by an earlier call" in ptir.explain(step, rows(3.0), 2)
    assert "miss: literal" in ptir.explain(step, rows(3.0), 3)
    assert "hit" in ptir.explain(lambda x: x * 2, rows(3.0))
