"""Derived parameters: computed once for their data, never stale, never mixed up, freed."""

import gc
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import ptir
from ptir import backends, engine, nn, ops
from ptir.engine import Parameter
from ptir.engine.source import SMALL
from ptir.ir import PARAM, Program, SpecError, leaf, type_of
from ptir.params import ModelNamespaceId, ParamKey, base_param_id, new_namespace, param_key
from ptir.runtime import load_model


class Weight:
    """A parameter whose loads are counted, and whose loaded arrays are watched."""

    def __init__(self, array, name="test.w", key=None):
        self.array = array = array.astype("f4")
        self.watched = watched = []

        def load():  # does not reach the tensor: a leaf that its own source holds never goes
            loaded = array.copy()
            watched.append(weakref.ref(loaded))
            return loaded

        known = param_key(new_namespace(), base_param_id(name)) if key is None else ParamKey(key)
        self.source = Parameter(type_of(array), name, known, load)
        self.tensor = ptir.Tensor(leaf(self.source))

    @property
    def loads(self):
        return len(self.watched)

    @property
    def resident(self):
        gc.collect()
        return sum(ref() is not None for ref in self.watched)


def ramp(*shape, start=0.0):
    return (np.arange(np.prod(shape)).reshape(shape) % 7 + start).astype("f4")


LARGE = (SMALL // 4 // 64 + 1, 64)  # of f32: just more than is kept for its own sake


@pytest.fixture
def counted(backend, monkeypatch):
    """A second backend that counts how often it runs each program."""
    ran = Counter[Program]()

    def compile(self, program):
        run = type(backend).compile(self, program)

        def count(*handles):
            ran[program] += 1
            return run(*handles)

        return count

    made = type("Counting", (type(backend),), {"name": "counting", "compile": compile})()
    made.ran = ran
    monkeypatch.setitem(backends._found, "counting", made)
    monkeypatch.setenv("PTIR_BACKEND", "counting")
    return made


def packed(q, k, v):
    """A matrix product with three weights as one."""
    return lambda x: x @ ptir.concat([q.tensor, k.tensor, v.tensor], axis=1)


def qkv(shape=(4, 3)):
    return [Weight(ramp(*shape, start=i), f"test.{n}") for i, n in enumerate("qkv")]


# --- computed once ---


@pytest.mark.parametrize("wrap", [lambda fn: fn, ptir.compile], ids=["lazy", "compiled"])
def test_three_weights_are_joined_once(plans, counted, wrap):
    q, k, v = qkv()
    project = wrap(packed(q, k, v))
    whole = np.concatenate([ramp(4, 3, start=i) for i in range(3)], axis=1)
    for start in range(3):
        x = ramp(2, 4, start=start)
        np.testing.assert_array_equal(project(ptir.as_tensor(x)).numpy(), x @ whole)
    assert sorted(counted.ran.values()) == [1, 3]
    assert [w.loads for w in (q, k, v)] == [1, 1, 1]


def test_a_compiled_function_and_a_lazy_tensor_share_the_derived_value(plans, counted):
    q, k, v = qkv()
    x = ptir.as_tensor(ramp(2, 4))
    ptir.compile(packed(q, k, v))(x).numpy()
    (packed(q, k, v)(x) + 1).numpy()
    assert sorted(counted.ran.values()) == [1, 1, 1]


def test_whoever_waits_for_values_is_told_how_many_bytes_are_there(plans, counted):
    weights = [Weight(ramp(4, n), f"test.{n}") for n in (2, 3, 5)]
    told: list[tuple[int, int]] = []

    @ptir.compile
    def scaled(x):
        return [x @ (w.tensor * w.tensor) for w in weights]

    x = ptir.as_tensor(ramp(2, 4))
    with engine.watch_derived(lambda *bytes: told.append(bytes)):
        scaled(x)
        sizes = [4 * 4 * n for n in (2, 3, 5)]
        assert [total for _, total in told] == [sum(sizes)] * 3
        assert sorted(b - a for (a, _), (b, _) in pairwise([(0, 0), *told])) == sizes
        scaled(x)
    (x @ (weights[0].tensor * 2)).numpy()
    assert len(told) == 3


def test_looking_at_a_plan_loads_and_computes_nothing(plans, counted):
    q, k, v = qkv()
    plan = ptir.compile(packed(q, k, v)).program(ptir.as_tensor(ramp(2, 4)))
    told = f"{plan.derived[0].name} of test.q, …"
    assert [i.name for i in plan.program.inputs] == [None, told]
    assert plan.derived[0].name.startswith("derived:")
    assert plan.slots == (0,)
    assert sum(counted.ran.values()) == sum(w.loads for w in (q, k, v)) == 0


def test_eight_threads_compute_it_once(plans, counted):
    q, k, v = qkv(LARGE)
    project, x = ptir.compile(packed(q, k, v)), ramp(1, LARGE[0])
    barrier = threading.Barrier(8)

    def work(i):
        barrier.wait()
        call = project if i % 2 else packed(q, k, v)
        return call(ptir.as_tensor(x)).numpy()

    with ThreadPoolExecutor(8) as pool:
        first, *rest = pool.map(work, range(8))
    assert all(np.array_equal(one, first) for one in rest)
    derivation = project.program(ptir.as_tensor(x)).derived[0].derivation.program
    assert counted.ran[derivation] == 1
    assert [w.loads for w in (q, k, v)] == [1, 1, 1]


def test_a_derivation_that_fails_is_tried_again(plans, counted):
    w = Weight(ramp(2, 2))
    broken = [OSError("the disk is gone")]
    load = w.source._load
    w.source._load = lambda: (_ for _ in ()).throw(broken.pop()) if broken else load()
    x = ptir.as_tensor(ramp(2, 2))
    with pytest.raises(OSError, match="the disk is gone"):
        (x + ops.exp(w.tensor)).numpy()
    np.testing.assert_allclose(
        (x + ops.exp(w.tensor)).numpy(), ramp(2, 2) + np.exp(ramp(2, 2)), 1e-6
    )


# --- streaming: what is loaded for a derivation goes after it ---


def test_large_leaves_are_let_go_once_their_values_are_there(plans, backend):
    q, k, v = qkv(LARGE)
    before = len(backend.params)
    project = ptir.compile(packed(q, k, v))
    project(ptir.as_tensor(ramp(1, LARGE[0]))).numpy()
    assert [w.resident for w in (q, k, v)] == [0, 0, 0]
    assert len(backend.params) == before + 1


def test_a_leaf_of_several_values_is_loaded_once_and_goes_after_the_last(plans, backend):
    w = Weight(ramp(LARGE[0], 96))

    def parts(x):
        return sum((x @ w.tensor[:, i : i + 32] for i in (0, 32, 64)), start=0)

    x = ramp(1, LARGE[0])
    want = sum(x @ ramp(LARGE[0], 96)[:, i : i + 32] for i in (0, 32, 64))
    np.testing.assert_allclose(ptir.compile(parts)(ptir.as_tensor(x)).numpy(), want, 1e-6)
    assert (w.loads, w.resident) == (1, 0)


def test_one_large_leaf_is_gone_before_the_next_is_loaded(plans, monkeypatch):
    v, w = Weight(ramp(*LARGE), "test.v"), Weight(ramp(*LARGE, start=1))
    alive = []

    def noted(load):
        alive.append(v.resident + w.resident)
        return load()

    for weight in (v, w):
        monkeypatch.setattr(weight.source, "_load", partial(noted, weight.source._load))
    (ptir.as_tensor(ramp(*LARGE)) * ops.exp(v.tensor) * ops.exp(w.tensor)).numpy()
    assert alive == [0, 0]


def test_a_leaf_that_is_also_used_itself_stays_and_is_loaded_once(plans):
    w = Weight(ramp(*LARGE))
    step = ptir.compile(lambda x: x + w.tensor + ops.exp(w.tensor))
    step(ptir.as_tensor(ramp(*LARGE))).numpy()
    assert (w.loads, w.resident) == (1, 1)


# --- never stale ---


class Scale(nn.Module):
    def __init__(self, weight, other=()):
        self.weight = weight
        self.others = list(other)

    def __call__(self, x):
        return x + ops.exp(self.weight)


@pytest.mark.parametrize("wrap", [lambda fn: fn, ptir.compile], ids=["lazy", "compiled"])
def test_a_replaced_parameter_is_computed_anew(plans, wrap):
    module = Scale(Weight(ramp(2, 2)).tensor)
    step, x = wrap(module.__call__), ptir.as_tensor(np.zeros((2, 2), "f4"))
    for start in (1.0, 2.0):
        nn.replace_parameter(module, "weight", ptir.as_tensor(ramp(2, 2, start=start)))
        np.testing.assert_allclose(step(x).numpy(), np.exp(ramp(2, 2, start=start)), 1e-6)


def test_new_data_may_stand_on_the_old(plans):
    module = Scale(Weight(ramp(2, 2)).tensor)
    nn.replace_parameter(module, "weight", module.weight * 2 + 1)
    nn.replace_parameter(module, "weight", module.weight * 2 + 1)
    np.testing.assert_array_equal(module.weight.numpy(), ramp(2, 2) * 4 + 3)


STALE = r"test\.w: its data was replaced; take the parameter from its module again"


def test_a_stale_parameter_is_refused(plans):
    old = Weight(ramp(2, 2)).tensor
    module, x = Scale(old), ptir.as_tensor(ramp(2, 2))
    pending = x + ops.exp(old)
    held = ptir.compile(lambda x: x + ops.exp(old))
    raw = ptir.compile(lambda x: x * old)
    for call in (held, raw):
        call(x).numpy()
    nn.replace_parameter(module, "weight", ptir.as_tensor(ramp(2, 2, start=5)))
    uses = (
        pending.numpy,
        old.numpy,
        lambda: held(x),
        lambda: raw(x),
        lambda: (x * old).numpy(),
        lambda: nn.replace_parameter(Scale(old), "weight", ptir.as_tensor(ramp(2, 2))),
    )
    for use in uses:
        for _ in range(2):
            with pytest.raises(SpecError, match=STALE) as caught:
                use()
            assert caught.value.code == "stale"


def test_a_tied_parameter_is_replaced_in_every_place(plans):
    tied = Weight(ramp(2, 2)).tensor
    module = Scale(tied, [tied])
    nn.replace_parameter(module, "others.0", ptir.as_tensor(ramp(2, 2, start=1)))
    assert module.weight is module.others[0]
    np.testing.assert_array_equal(module.weight.numpy(), ramp(2, 2, start=1))


@pytest.mark.parametrize("name", ["weight", "others.0"])
def test_a_parameter_that_is_tied_to_its_transpose_is_replaced_both_ways(plans, name):
    tied = Weight(ramp(2, 3)).tensor
    turned = ptir.Tensor(ops.transpose(tied.node, perm=(1, 0)))
    module = Scale(tied, [turned])
    data = ramp(2, 3, start=1)
    given = data if name == "weight" else np.ascontiguousarray(data.T)
    nn.replace_parameter(module, name, ptir.as_tensor(given))
    np.testing.assert_array_equal(module.weight.numpy(), data)
    np.testing.assert_array_equal(module.others[0].numpy(), data.T)
    with pytest.raises(SpecError, match=STALE):
        turned.numpy()


def test_only_a_known_parameter_takes_data_of_its_own_type(plans):
    module = Scale(Weight(ramp(2, 2)).tensor)
    with pytest.raises(SpecError, match="did you mean 'weight'"):
        nn.replace_parameter(module, "wieght", module.weight)
    with pytest.raises(SpecError, match=r"weight is f32\[2, 2\], the new data f32\[2\]"):
        nn.replace_parameter(module, "weight", ptir.as_tensor(ramp(2)))


def test_two_parameters_of_one_key_never_share_a_value(plans):
    x = ptir.as_tensor(np.zeros((2, 2), "f4"))
    first, second = (Weight(ramp(2, 2, start=i), key=77) for i in (0, 3))
    for weight, start in ((first, 0), (second, 3), (first, 0)):
        want = ramp(2, 2, start=start)
        np.testing.assert_array_equal((x + weight.tensor).numpy(), want)
        np.testing.assert_allclose((x + ops.exp(weight.tensor)).numpy(), np.exp(want), 1e-6)


# --- never mixed up ---


def test_models_of_one_architecture_in_two_namespaces_keep_their_own(plans):
    models = []
    for number in (1, 2):
        module = Scale(ptir.as_tensor(ramp(2, 2, start=number)))
        nn.bind_namespace(module, ModelNamespaceId(9000 + number))
        models.append(module)
    x = ptir.as_tensor(np.zeros((2, 2), "f4"))
    for _ in range(2):
        for number, module in enumerate(models, 1):
            want = np.exp(ramp(2, 2, start=number))
            np.testing.assert_allclose(module(x).numpy(), want, 1e-6)
    assert plans.stats.misses == 1


def test_parameters_in_another_order_are_another_value(plans):
    v, w = (Weight(ramp(2, 2, start=i), f"test.{i}") for i in (1, 4))
    x = ptir.as_tensor(np.zeros((2, 2), "f4"))
    for a, b in ((v, w), (w, v)):
        want = a.array - b.array
        np.testing.assert_array_equal((x + (a.tensor - b.tensor)).numpy(), want)


def test_two_backends_keep_their_own(plans, counted, backend, monkeypatch):
    w = Weight(ramp(2, 2))
    x = ptir.as_tensor(np.zeros((2, 2), "f4"))
    for name in ("counting", backend.name, "counting"):
        monkeypatch.setenv("PTIR_BACKEND", name)
        np.testing.assert_array_equal((ops.neg(w.tensor) - x).numpy(), -ramp(2, 2))
    assert sorted(counted.ran.values()) == [1, 2]
    assert {len(counted.params), w.loads} == {2}  # the small leaf and what derives from it


def test_other_options_of_a_backend_are_another_value(plans, counted, monkeypatch):
    w = Weight(ramp(2, 2))
    for options in ((), ("fast",)):
        monkeypatch.setattr(type(counted), "options", lambda self, o=options: o)
        (ptir.as_tensor(ramp(2, 2)) * ops.neg(w.tensor)).numpy()
    assert sorted(counted.ran.values()) == [2, 2]


# --- freed ---


def test_a_derived_value_goes_with_any_of_its_parameters(plans, backend):
    before = len(backend.params)
    q, k = Weight(ramp(*LARGE)), Weight(ramp(*LARGE, start=1))
    x = ptir.as_tensor(ramp(*LARGE))
    (x + (q.tensor - k.tensor)).numpy()
    assert len(backend.params) == before + 1
    del k
    gc.collect()
    assert len(backend.params) == before


def test_a_derived_value_goes_with_the_last_plan_that_needs_it(plans, backend, monkeypatch):
    w = Weight(ramp(*LARGE))
    before = len(backend.params)
    (ptir.as_tensor(ramp(*LARGE)) / ops.neg(w.tensor)).numpy()
    (ptir.as_tensor(ramp(*LARGE)) * ops.neg(w.tensor)).numpy()
    monkeypatch.setenv("PTIR_PLAN_CACHE", "1")
    (ptir.as_tensor(ramp(2)) + 1).numpy()  # pushes both out
    gc.collect()
    assert len(plans) == 1
    assert len(backend.params) == before


def test_a_derived_value_stays_for_another_plan_that_needs_it(plans, counted, monkeypatch):
    w = Weight(ramp(*LARGE))
    x = ptir.as_tensor(ramp(*LARGE))
    (x * ops.exp(w.tensor)).numpy()
    (x / ops.exp(w.tensor)).numpy()
    monkeypatch.setenv("PTIR_PLAN_CACHE", "2")
    (x + 1).numpy()  # pushes the first one out
    gc.collect()
    (x / ops.exp(w.tensor)).numpy()
    assert w.loads == 1
    assert sorted(counted.ran.values()) == [1, 1, 1, 2]


def test_a_thousand_derivations_leave_nothing_behind(plans, backend):
    before = len(backend.params)
    x = ptir.as_tensor(ramp(2))
    for i in range(1000):
        w = Weight(ramp(2, start=i))
        np.testing.assert_array_equal((x * ops.neg(w.tensor)).numpy(), ramp(2) * -ramp(2, start=i))
        del w
    gc.collect()
    assert len(backend.params) == before
    assert len(plans) == 1


# --- what is not derived, and what is safe ---


def test_leaving_the_pass_out_leaves_the_program_whole(plans, counted, monkeypatch):
    monkeypatch.setenv("PTIR_PASSES", "-fold_parameters")
    q, k, v = qkv()
    project = ptir.compile(packed(q, k, v))
    for _ in range(2):
        project(ptir.as_tensor(ramp(2, 4))).numpy()
    assert list(counted.ran.values()) == [2]
    plan = project.program(ptir.as_tensor(ramp(2, 4)))
    assert plan.derived == ()
    assert {"concat"} < {n.op.name for n in plan.program.nodes}


def test_one_computation_on_parameters_alone_is_not_kept(plans, backend):
    w = Weight(ramp(*LARGE))
    before = len(backend.params)
    assert ops.neg(w.tensor).numpy()[0, 1] == -1
    gc.collect()
    assert len(backend.params) == before + 1  # the parameter itself


def test_a_derived_result_is_copied_before_a_call_may_overwrite_it(plans, backend):
    w = Weight(ramp(3))

    def both(x):
        return x + 1, ops.neg(w.tensor)

    plan = ptir.compile(both).program(ptir.as_tensor(ramp(3)))
    assert plan.program.results[1].op is PARAM
    assert plan.shared == {1}
    for start in (ptir.compile(both), both):
        _, state = start(ptir.as_tensor(ramp(3)))
        state.realize()
        handle = state.node.attrs["source"]._handle if start is not both else None
        given = state.node.attrs["source"].donate(backend)
        assert given is not handle
        np.testing.assert_array_equal(backend.get(given), -ramp(3))


def test_values_that_are_two_results_are_shared(plans, backend):
    plan, _ = engine.plan_of(
        Program.of([type_of(ramp(3))], lambda x: (ops.neg(x), ops.neg(x), ops.exp(x), x)), backend
    )
    assert plan.shared == {0, 1, 3}


# --- the demo model ---


def decoded(backend):
    """The demo model's logits behind each of some tokens, and the plan of one step, which has all
    sizes fixed: with a symbolic batch, biases are broadcast and nothing is left to derive.
    """
    with load_model(backend=backend.name) as loaded:
        model = loaded.model.as_causal_lm()
        assert model is not None

        def advance(ids, cache, past):
            hidden, cache = model.hidden(ids, cache, past)
            return model.logits(hidden[:, -1]), cache

        step = ptir.compile(advance, state=["cache"], backend=backend.name)
        cache, rows = model.cache(1, 16), []
        for past, token in enumerate([3, 1, 4, 1, 5, 9]):
            given = np.array([[token]], "i4"), cache, np.array([past], "i4")
            plan = step.program(*given)
            logits, cache = step(*given)
            rows.append(logits.numpy())
        return np.stack(rows), plan


def test_the_demo_model_decodes_to_the_same_numbers_with_fewer_nodes(plans, backend, monkeypatch):
    folded, plan = decoded(backend)
    monkeypatch.setenv("PTIR_PASSES", "-fold_parameters")
    whole, longer = decoded(backend)
    if backend.name == "reference":  # what others claim, with no weight in another form, is less
        np.testing.assert_array_equal(folded.view("u4"), whole.view("u4"))
        assert len(plan.derived) >= 30
    np.testing.assert_allclose(folded, whole, rtol=1e-5, atol=1e-5)
    assert longer.derived == ()
    assert len(plan.program.nodes) <= len(longer.program.nodes) - len(plan.derived)


def test_the_facts_of_a_dump_name_derived_parameters(plans, tmp_path, backend):
    q, k, v = qkv()
    with ptir.dump(tmp_path):
        packed(q, k, v)(ptir.as_tensor(ramp(2, 4))).numpy()
    (facts,) = (Path(p).read_text(encoding="utf-8") for p in tmp_path.glob("*.json"))
    for word in ('"derived:', "test.q", "test.k", "test.v", "concat"):
        assert word in facts


def test_explain_names_derived_parameters():
    q, k, v = qkv()
    text = ptir.explain(ptir.compile(packed(q, k, v)), ptir.as_tensor(ramp(2, 4)))
    assert "derived parameters\n  derived:" in text
    assert "f32[4, 9] of 'test.q', 'test.k', 'test.v' by concat" in text
