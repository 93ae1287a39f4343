"""Weights in panels: which products take them, and that they mean what they meant."""

import numpy as np
import pytest

from ptir import backends, engine, ops
from ptir.backends.native.pack import PANEL, SMALL, pack_weights
from ptir.functional import FUNCTIONALS
from ptir.ir import Dim, Input, Program, Role, param, tensor_type
from ptir.ops.evaluate import evaluate
from tests.native.test_packed import packed

DTYPES = pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
NATIVE = backends.find("native")
T = Dim.symbol("T")


def multiply(x, w, b=None):
    """x · w + b as the functional has it."""
    given = {"x": x, "weight": w} | ({} if b is None else {"bias": b})
    types = {name: node.type for name, node in given.items()}
    (made,) = FUNCTIONALS["linear"].program(types, {}).inline(list(given.values()))
    return made


def program(build, *types, parameters=(1, 2)):
    """What `build` makes of inputs of these types, some of which are parameters."""
    slots = [param(slot, type) for slot, type in enumerate(types)]
    roles = [Role.PARAMETER if i in parameters else Role.ARGUMENT for i in range(len(types))]
    names = [f"p{i}" if i in parameters else None for i in range(len(types))]
    made = build(*slots)
    results = tuple(made) if isinstance(made, list) else (made,)
    return Program(tuple(map(Input, types, roles, names)), results)


def product(shape, dtype="f32", rows=5, **how):
    x, w, b = (tensor_type(s, dtype) for s in ((rows, shape[0]), shape, shape[1:]))
    return program(multiply, x, w, b, **how)


def packs(of):
    """The products of a program that take packed weights after the pass."""
    return [
        node
        for node in pack_weights(of).nodes
        if node.op is ops.composite and node.attrs["name"].startswith("packed_")
    ]


def values(of, seed=0):
    random = np.random.default_rng(seed)
    shapes = [(i.type.static_shape, i.type.dtype.numpy) for i in of.inputs]
    return [random.standard_normal(s).astype("f4").astype(d) for s, d in shapes]


@DTYPES
@pytest.mark.parametrize("shape", [(64, 160), (64, 510), (96, 128)])
def test_a_packed_product_means_what_it_meant(shape, dtype):
    of = product(shape, dtype)
    given = values(of)
    assert len(packs(of)) == 1
    (plain,), (made,) = evaluate(of, given), evaluate(pack_weights(of), given)
    np.testing.assert_array_equal(plain, made)


@DTYPES
@pytest.mark.parametrize("shape", [(64, 160), (64, 510)])
def test_a_plan_takes_the_panels_of_the_kernel_as_a_derived_parameter(shape, dtype):
    of = product(shape, dtype)
    x, w, b = values(of)
    plan, _ = engine.plan_of(of, NATIVE)
    assert [of.inputs[slot].name for slot in plan.slots] == [None, "p2"]
    (one,) = plan.derived
    assert plan.program.inputs[-1].name == f"{one.name} of p1"
    (panels,) = evaluate(one.derivation.program, [w])
    np.testing.assert_array_equal(panels, packed(w))
    (result,) = plan.executable(*map(NATIVE.put, (x, b, panels)))
    (wanted,) = evaluate(of, [x, w, b])
    tolerance = 1e-5 if dtype == "f32" else 2e-2
    np.testing.assert_allclose(
        NATIVE.get(result).astype("f8"), wanted.astype("f8"), tolerance, tolerance
    )


@DTYPES
def test_without_folding_the_weight_is_packed_in_each_run(dtype, monkeypatch):
    monkeypatch.setenv("PTIR_PASSES", "-fold_parameters")
    of = product((64, 510), dtype)
    given = values(of)
    plan, _ = engine.plan_of(of, NATIVE)
    assert plan.derived == ()
    (result,) = plan.executable(*map(NATIVE.put, given))
    (wanted,) = evaluate(of, given)
    tolerance = 1e-5 if dtype == "f32" else 2e-2
    np.testing.assert_allclose(
        NATIVE.get(result).astype("f8"), wanted.astype("f8"), tolerance, tolerance
    )


def test_a_sum_that_is_fused_with_a_product_stays_fused():
    types = [tensor_type(s, "f32") for s in ((5, 64), (64, 128), (128,), (5, 128))]
    of = program(lambda x, w, b, r: ops.add(multiply(x, w, b), r), *types)
    plan, _ = engine.plan_of(of, NATIVE)
    assert [node.attrs["name"] for node in plan.program.nodes if node.op is ops.composite] == [
        "packed_linear_add"
    ]


@pytest.mark.parametrize(
    "shape, dtype",
    [
        ((32, 96), "f32"),  # too small
        ((600, 33), "f32"),  # half of the second panel and more would be empty
        ((601, 96), "bf16"),  # no pairs
        ((600, 96), "f64"),  # another kernel
    ],
)
def test_other_weights_stay_as_they_are(shape, dtype):
    assert packs(product(shape, dtype)) == []


def test_a_weight_that_is_an_argument_stays_as_it_is():
    assert packs(product((64, 160), parameters=())) == []
    assert len(packs(product((64, 160), parameters=(1,)))) == 1


def test_a_weight_is_packed_from_a_size_on():
    columns = 2 * PANEL
    rows = SMALL // 4 // columns
    assert packs(product((rows, columns))) != []
    assert packs(product((rows - 1, columns))) == []


def test_of_one_weight_there_is_one_packed_form():
    """Two would take more than twice its bytes where panels are not full: see `fold_parameters`."""
    x, w = tensor_type((5, 126), "f32"), tensor_type((126, 126), "f32")

    def build(x, w):
        turned = ops.transpose(w, perm=(1, 0))
        return [multiply(x, w), multiply(x, turned), multiply(multiply(x, w), w)]

    made = packs(program(build, x, w, parameters=(1,)))
    assert len(made) == 2  # both of w as it is; one product is the operand of the other
    assert len({node.operands[1] for node in made}) == 1


def test_a_product_of_parameters_alone_is_left_to_folding():
    assert packs(product((64, 160), parameters=(0, 1, 2))) == []


def test_the_number_of_rows_may_be_a_symbol():
    of = product((64, 160), rows=T)
    assert len(packs(of)) == 1
    (wanted,) = evaluate(of.substitute({"T": 3}), given := values(of.substitute({"T": 3})))
    (made,) = evaluate(pack_weights(of).substitute({"T": 3}), given)
    np.testing.assert_array_equal(made, wanted)
