"""Overrides: every exact implementation against Torch, forced, compiled, measured and kept."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ptir
from ptir import backends, engine, functional
from ptir.functional import FUNCTIONALS, Functional, benchmark, override, winners
from ptir.functional.registry import IMPLEMENTATIONS
from ptir.functional.winners import WINNERS
from ptir.passes.raise_ import RAISABLE
from tests.backend.test_functionals import (
    FLOATS,
    ROWS,
    Row,
    as_dtype,
    close,
    expected,
    normal,
    qkv,
    run,
    sdpa,
)

LONG = [  # of many blocks, the last one not full
    Row("attention", qkv(1, 4, 2, 5, 67, 8) | {"past": np.array([60], np.int32)}, oracle=sdpa),
    Row(
        "attention",
        qkv(2, 2, 1, 3, 11, 4) | {"lengths": np.array([4, 11]), "mask": normal(2, 3, 11)},
        {"causal": False, "soft_cap": 3.0},
        sdpa,
    ),
    Row(
        "attention",
        qkv(1, 2, 2, 2, 17, 4) | {"mask": normal(1, 2, 2, 1)},
        {"causal": False},
        sdpa,
    ),
    Row("matmul", {"a": normal(3, 130), "b": normal(130, 2)}, oracle=torch.matmul),
    Row("matmul", {"a": normal(2, 3), "b": normal(3)}, oracle=torch.matmul),
]
EXACT = [
    (row, one.name)
    for row in [*ROWS, *LONG]
    for one in FUNCTIONALS[row.name].implementations.values()
    if one.exact
]
IDS = [f"{row.name}.{name}-{i}" for i, (row, name) in enumerate(EXACT)]
SERVED_BY_DEFAULT_ALONE = {"matmul": "empty"}


@pytest.fixture(autouse=True)
def no_winner_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path / "cache"))
    WINNERS.clear()
    yield
    WINNERS.clear()


@pytest.mark.parametrize("backend", backends.names())
@pytest.mark.parametrize("to", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("row,name", EXACT, ids=IDS)
def test_every_exact_implementation_equals_torch(row: Row, name, to, backend, monkeypatch):
    operands = as_dtype(row.operands, to)
    with override(**{row.name: f"force={name}"}):
        if SERVED_BY_DEFAULT_ALONE.get(row.name) == row.note and name != "default":
            with pytest.raises(ptir.SpecError, match="do not force it here"):
                run(row, operands, backend)
            return
        lazily = run(row, operands, backend)
        monkeypatch.setenv("PTIR_EAGER", "1")
        eagerly = run(row, operands, backend)
    assert lazily.dtype == eagerly.dtype == to
    assert close(lazily, expected(row, operands))
    assert close(eagerly, expected(row, operands))


def names_in(program: ptir.Program) -> list[str]:
    return [n.attrs["name"] for n in program.nodes if n.op is ptir.ops.composite]


def f32(*shape: int, seed: int = 0) -> ptir.Tensor:
    return ptir.as_tensor(normal(*shape, seed=seed).astype(np.float32))


def made(tensor: ptir.Tensor) -> str:
    name: str = tensor.node.attrs["name"]
    return name


def test_force_puts_the_implementation_into_the_program():
    x, gamma = f32(3, 5), f32(5)
    assert made(functional.layer_norm(x, gamma)) == "layer_norm"
    with override(layer_norm="force=welford"):
        y = functional.layer_norm(x, gamma)
        assert made(y) == "layer_norm.welford"
        assert "scan" in str(y.node.attrs["body"])
    with override(layer_norm="force=default"):
        assert made(functional.layer_norm(x, gamma)) == "layer_norm"


def test_a_claim_of_the_functional_does_not_swallow_a_forced_implementation(monkeypatch):
    kind = type(engine.backend_of(None))
    claims, seen = kind.claims, list[str]()

    def spying(self: Any, node: ptir.ir.Node) -> bool:
        if node.op is ptir.ops.composite:
            seen.append(node.attrs["name"])
        return claims(self, node)

    monkeypatch.setattr(kind, "claims", spying)
    monkeypatch.setattr(kind, "version", "spied")
    with override(matmul="force=split_k"):
        functional.matmul(f32(2, 3), f32(3, 4)).numpy()
    assert "matmul.split_k" in seen
    assert "matmul" not in seen


def test_what_an_implementation_does_not_support_is_refused_with_its_needs():
    a, b = (ptir.as_tensor(np.ones((2, 2), np.int32)) for _ in range(2))
    functional.matmul(a, b)
    with override(matmul="force=split_k"), pytest.raises(ptir.SpecError) as caught:
        functional.matmul(a, b)
    assert str(caught.value) == (
        "matmul: implementation 'split_k' needs floats and a contraction of a known size, 2 or "
        "more; a si32[2, 2], b si32[2, 2] came; do not force it here [override]"
    )


@pytest.mark.parametrize("policy", ["force=split_k", "benchmark"])
@pytest.mark.parametrize("eager", ["0", "1"])
def test_operands_that_the_functional_refuses_are_refused_in_its_own_words(
    policy, eager, monkeypatch
):
    monkeypatch.setenv("PTIR_EAGER", eager)
    with override(matmul=policy), pytest.raises(ptir.SpecError, match="the last axis of a must"):
        functional.matmul(f32(2, 3), f32(2, 3))


def test_an_implementation_that_changes_numbers_runs_only_where_it_is_forced():
    x = f32(64)
    with override(gelu="benchmark"):
        assert made(functional.gelu(x)) == "gelu"
    with override(gelu="force=tanh"):
        forced = functional.gelu(x)
    assert made(forced) == "gelu.tanh"
    wanted = functional.gelu(x, approximate="tanh").numpy()
    np.testing.assert_allclose(forced.numpy(), wanted, rtol=1e-6)
    assert (np.abs(forced.numpy() - functional.gelu(x).numpy()) > 1e-5).any()


# --- compiled functions and plans ---


def test_a_compiled_function_follows_the_override_around_each_call():
    fast = ptir.compile(lambda a, b: functional.matmul(a, b))
    a, b = f32(3, 8), f32(8, 2)
    plain = fast(a, b).numpy()
    assert names_in(fast.program(a, b).key.program) == ["matmul"]
    with override(matmul="force=split_k"):
        assert not fast.is_bound(a, b)
        np.testing.assert_allclose(fast(a, b).numpy(), plain, rtol=1e-5)
        assert names_in(fast.program(a, b).key.program) == ["matmul.split_k"]
        assert fast.is_bound(a, b)
    assert names_in(fast.program(a, b).key.program) == ["matmul"]
    assert fast.program(a, b) is fast.program(a, b)


def test_plans_of_two_implementations_are_two_and_of_one_are_one():
    def misses() -> int:
        before = engine.PLANS.stats.misses
        functional.matmul(f32(5, 7), f32(7, 3)).numpy()
        return engine.PLANS.stats.misses - before

    engine.PLANS.clear()
    assert (misses(), misses()) == (1, 0)
    with override(matmul="force=split_k"):
        assert (misses(), misses()) == (1, 0)
    assert misses() == 0


def test_functionals_inside_a_functional_follow_the_override(declared):
    def outer(x: ptir.Tensor) -> ptir.Tensor:
        return functional.matmul(x, x)

    both = declared(outer)
    x = f32(4, 4)
    assert names_in(both(x).node.attrs["body"]) == ["matmul"]
    with override(matmul="force=split_k"):
        assert names_in(both(x).node.attrs["body"]) == ["matmul.split_k"]
    assert names_in(both(x).node.attrs["body"]) == ["matmul"]


def test_blocked_attention_serves_every_length_in_one_program():
    blocked = ptir.compile(
        lambda q, k, v, past: functional.attention(q, k, v, past),
        symbolic={"k": {2: "S"}, "v": {2: "S"}},
    )
    for keys in (3, 8, 1):
        arrays = (x.astype(np.float32) for x in qkv(1, 4, 2, 1, keys, 4).values())
        q, k, v, past = map(ptir.as_tensor, (*arrays, np.array([keys - 1], np.int32)))
        wanted = functional.attention(q, k, v, past).numpy()
        with override(attention="force=blocked"):
            np.testing.assert_allclose(blocked(q, k, v, past).numpy(), wanted, rtol=1e-5)
            assert names_in(blocked.program(q, k, v, past).key.program) == ["attention.blocked"]


# --- implementations of one's own ---


@pytest.fixture
def declared():
    """Declares functionals for one test."""
    names = list[str]()

    def declare(fn: Callable[..., Any]) -> Functional[..., Any]:
        one = functional.functional(fn)
        names.append(one.name)
        return one

    yield declare
    for name in names:
        del FUNCTIONALS[name], IMPLEMENTATIONS[name]
        RAISABLE.pop(name, None)  # found in bare ops only once it has an example


def cube(x: ptir.Tensor, *, scale: float = 1.0) -> ptir.Tensor:
    return x * x * x * scale


def test_an_implementation_that_calls_its_functional_gets_the_functionals_own_body(declared):
    one = declared(cube)

    @one.implementation("halves")
    def halves(x: ptir.Tensor, *, scale: float = 1.0) -> ptir.Tensor:
        half: ptir.Tensor = one(x, scale=scale / 2)
        return half + half

    with override(cube="force=halves"):
        y = one(f32(3), scale=2.0)
    assert made(y) == "cube.halves"
    assert names_in(y.node.attrs["body"]) == ["cube"]
    np.testing.assert_allclose(y.numpy(), 2 * normal(3) ** 3, rtol=1e-5)


def test_an_implementation_that_gives_another_type_is_refused(declared):
    one = declared(cube)
    one.implementation("wide")(lambda x, *, scale=1.0: (x * x * x * scale).astype("f64"))
    message = r"implementation 'wide' gives f64\[3\], wanted f32\[3\] for x f32\[3\], scale=1.0"
    with override(cube="force=wide"), pytest.raises(ptir.SpecError, match=message):
        one(f32(3))


# --- benchmark ---


def slow(x: ptir.Tensor, *, scale: float = 1.0) -> ptir.Tensor:
    for _ in range(30):
        x = x.maximum(x - 1)
    return x * x * x * scale


def executions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The composites of each program that a backend runs from now on, before it is expanded."""
    ran = list[str]()
    lower, kind = engine.lower, type(engine.backend_of(None))
    compile_ = kind.compile
    last = list[str]()

    def lowering(program: Any, *rest: Any) -> Any:
        last[:] = names_in(program)
        return lower(program, *rest)

    def compiling(self: Any, program: Any) -> Any:
        names, executable = list(last), compile_(self, program)

        def call(*handles: Any) -> Any:
            ran.extend(names)
            return executable(*handles)

        return call

    monkeypatch.setattr(engine, "lower", lowering)
    monkeypatch.setattr(kind, "compile", compiling)
    return ran


def test_benchmark_executes_every_exact_implementation_and_takes_the_fastest(declared, monkeypatch):
    one = declared(cube)
    one.implementation("slow")(slow)
    one.implementation("wrong", exact=False)(lambda x, *, scale=1.0: x)
    one.implementation("none", supports=lambda x, scale: False, needs="x")(slow)
    ran = executions(monkeypatch)
    with override(cube="benchmark"):
        y = one(f32(300))
    assert made(y) == "cube"
    assert {name: ran.count(name) for name in set(ran)} == {"cube": 9, "cube.slow": 9}
    (winner,) = winners.stored()
    assert winner.implementation == "default"
    assert set(winner.times) == {"default", "slow"}
    assert winner.times["default"] < winner.times["slow"]


def test_the_winner_need_not_be_the_default(declared):
    one = declared(slow)
    one.implementation("quick")(lambda x, *, scale=1.0: cube(x, scale=scale))
    with override(slow="benchmark"):
        assert made(one(f32(300))) == "slow.quick"


@pytest.fixture
def measured(declared, monkeypatch):
    """A functional of two implementations, and the names measured so far."""
    one = declared(cube)
    one.implementation("slow")(slow)
    measurements = list[list[str]]()

    def measure(programs: Any, operands: Any, backend: Any) -> dict[str, float]:
        measurements.append(sorted(programs))
        return {"default": 2.0, "slow": 1.0}

    monkeypatch.setattr(benchmark, "measure", measure)
    return one, measurements


def test_a_winner_is_measured_once_for_each_key(measured):
    one, measurements = measured
    with override(cube="benchmark"):
        for _ in range(3):
            assert made(one(f32(3))) == "cube.slow"
        assert len(measurements) == 1
        one(f32(4))
        one(f32(3).astype("f64"))
        one(f32(3), scale=2.0)
        assert len(measurements) == 4
        one(f32(3))
    assert len(measurements) == 4


def test_only_as_many_winners_are_kept_as_the_policy_says(measured, monkeypatch):
    one, measurements = measured
    monkeypatch.setattr(winners, "stored", list)
    with override(cube="benchmark(cache=2)"):
        for size in (3, 4, 3, 5, 3):  # 4 goes first: it was used least recently
            one(f32(size))
        assert len(measurements) == 3
        one(f32(4))
    assert len(measurements) == 4


def test_winners_come_back_from_disk(measured, tmp_path):
    one, measurements = measured
    with override(cube="benchmark"):
        one(f32(3))
        WINNERS.clear()
        assert made(one(f32(3))) == "cube.slow"
    assert len(measurements) == 1
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_winner_of_fewer_implementations_is_measured_again(measured):
    one, measurements = measured
    with override(cube="benchmark"):
        one(f32(3))
        one.implementation("third")(lambda x, *, scale=1.0: slow(x, scale=scale))
        one(f32(3))
    assert measurements == [["default", "slow"], ["default", "slow", "third"]]


def test_a_symbolic_size_is_measured_at_64(measured, monkeypatch):
    one, _ = measured
    shapes = list[tuple[int, ...]]()

    def measure(programs: Any, operands: Any, backend: Any) -> dict[str, float]:
        shapes.extend(x.shape for x in operands)
        return {"default": 2.0, "slow": 1.0}

    monkeypatch.setattr(benchmark, "measure", measure)
    step = ptir.compile(lambda x: one(x), symbolic={"x": {0: "N"}})
    with override(cube="benchmark"):
        for size in (3, 5):
            y = step(f32(size, 2)).numpy()
            np.testing.assert_allclose(y, normal(size, 2) ** 3, rtol=1e-5)
    assert shapes == [(64, 2)]


def corrupt(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def foreign(file: Path) -> None:
    file.write_text(file.read_text().replace(f'"cpu": "{winners.cpu()}"', '"cpu": "Z80"'))


def older(file: Path) -> None:
    version = ptir.__version__
    file.write_text(file.read_text().replace(f'"version": "{version}"', '"version": "0.0.1"', 1))


def other_fields(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"run": "me"}))


def deep(file: Path) -> None:
    file.write_bytes(b"[" * 1_000_000)


def binary(file: Path) -> None:
    file.write_bytes(b"\x80\x04\x95\xff\xfe")


def huge(file: Path) -> None:
    file.write_bytes(b" " * (winners.MAX_BYTES + 1))


SPOILED = [corrupt, foreign, older, other_fields, deep, binary, huge]


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda f: f.__name__)
def test_a_file_of_winners_that_is_not_ours_is_ignored_with_a_warning(measured, spoil, caplog):
    one, measurements = measured
    with override(cube="benchmark"):
        one(f32(3))
        spoil(winners.path())
        WINNERS.clear()
        with caplog.at_level(logging.WARNING):
            assert made(one(f32(3))) == "cube.slow"
        assert "is ignored" in caplog.text
        assert len(measurements) == 2
        WINNERS.clear()
        one(f32(3))  # written anew
    assert len(measurements) == 2


def test_a_winner_that_no_implementation_answers_to_is_measured_again(measured):
    one, measurements = measured
    with override(cube="benchmark"):
        one(f32(3))
        file = winners.path()
        file.write_text(
            file.read_text().replace('"implementation": "slow"', '"implementation": ""')
        )
        WINNERS.clear()
        one(f32(3))
    assert len(measurements) == 2


def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_it(
    measured, monkeypatch, tmp_path, caplog
):
    one, _ = measured
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PTIR_CACHE_DIR", str(tmp_path / "file" / "below"))
    with override(cube="benchmark"):
        assert made(one(f32(3))) == "cube.slow"
    assert "winners are not kept" in caplog.text


def test_measuring_leaves_no_trace_in_the_plan_cache():
    engine.PLANS.clear()
    with override(matmul="benchmark", layer_norm="benchmark"):
        functional.matmul(f32(2, 8), f32(8, 2))
        functional.layer_norm(f32(2, 8), f32(8))
    assert engine.PLANS.stats.misses == len(engine.PLANS) == 0


@pytest.mark.parametrize("name", sorted(FUNCTIONALS))
def test_every_functional_takes_operands_sampled_for_its_examples(name):
    one = FUNCTIONALS[name]
    assert one.examples
    for example in one.examples:
        operands = one.sample(example.types, np.random.default_rng(0))
        program = one.program(example.types, example.attributes)
        backend = engine.backend_of(None)
        handles = [backend.put(array) for array in operands.values()]
        (plan, _) = engine.plan_of(program, backend)
        assert len(engine.execute(plan, handles)) == 1
