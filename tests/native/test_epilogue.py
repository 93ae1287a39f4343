"""Elementwise chains behind packed products: the same bits as one by one, or they stay apart."""

from functools import partial

import pytest

from ptir import backends, engine, ops
from ptir.functional import FUNCTIONALS
from ptir.ir import constant, tensor_type
from tests.native.calling import levels
from tests.native.test_pack import multiply, program, values

NATIVE = backends.find("native")
DTYPES = pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])


def functional(name, x, **attributes):
    (made,) = FUNCTIONALS[name].program({"x": x.type}, attributes).inline([x])
    return made


def number(value, like):
    return ops.broadcast_to(constant(value, like.type.dtype), shape=like.type.shape)


CHAINS = {
    "relu": partial(functional, "relu"),
    "silu": partial(functional, "silu"),
    "gelu": partial(functional, "gelu"),
    "gelu_tanh": partial(functional, "gelu", approximate="tanh"),
    "scaled": lambda x: ops.mul(number(0.125, x), x),
    "capped": lambda x: ops.mul(ops.tanh(ops.div(x, number(30, x))), number(30, x)),
    "wide": lambda x: ops.cast(ops.abs_(x), dtype="f32"),
    "narrow": lambda x: ops.cast(ops.neg(x), dtype="bf16"),
    "chosen": lambda x: ops.select(ops.compare(x, number(0.5, x), op="lt"), ops.neg(x), x),
}


def followed(chain, shape, dtype, rows, *, adds=False):
    """A product, with what is added, and a chain behind it."""
    types = [tensor_type(s, dtype) for s in ((rows, shape[0]), shape, shape[1:], (rows, shape[1]))]

    def build(x, w, b, r):
        made = multiply(x, w, b)
        return chain(ops.add(made, r) if adds else made)

    if adds:
        return program(build, *types)
    return program(lambda x, w, b: build(x, w, b, None), *types[:3])


def names(of):
    plan, _ = engine.plan_of(of, NATIVE)
    return [n.attrs["name"] for n in plan.program.nodes if n.op is ops.composite]


def run(of, given):
    plan, _ = engine.plan_of(of, NATIVE)
    (one,) = plan.derived
    (panels,) = one.derivation.program.results and NATIVE.compile(one.derivation.program)(
        NATIVE.put(given[1])
    )
    rest = [NATIVE.put(given[slot]) for slot in plan.slots]
    (made,) = plan.executable(*rest, panels)
    return NATIVE.get(made)


@DTYPES
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_in_the_tile_makes_the_bits_of_one_by_itself(name, level, dtype, monkeypatch):
    monkeypatch.setenv("PTIR_ISA", level)
    for rows, shape, adds in ((1, (64, 160), False), (7, (64, 510), True), (150, (130, 94), True)):
        of = followed(CHAINS[name], shape, dtype, rows, adds=adds)
        given = values(of)
        assert names(of) == ["packed_linear_add_then" if adds else "packed_linear_then"]
        fused = run(of, given)
        with monkeypatch.context() as apart:
            apart.setenv("PTIR_PASSES", "-fuse_epilogue")
            assert "then" not in " ".join(names(of))
            alone = run(of, given)
        assert fused.dtype == alone.dtype
        assert fused.tobytes() == alone.tobytes()


@DTYPES
def test_threads_make_the_same_bits(dtype, monkeypatch):
    of = followed(CHAINS["gelu"], (64, 510), dtype, 40)
    given = values(of)
    made = []
    for threads in "1", "2", "3":
        monkeypatch.setenv("PTIR_THREADS", threads)
        made.append(run(of, given).tobytes())
    assert len(set(made)) == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda y: ops.add(ops.exp(y), y),  # joins: one operand, used twice within the chain
    ],
)
def test_a_chain_may_read_the_product_more_than_once(build):
    of = followed(build, (64, 160), "f32", 5)
    assert names(of) == ["packed_linear_then"]


def test_what_reads_something_else_as_well_stays_apart():
    types = [tensor_type(s, "f32") for s in ((5, 64), (64, 160), (160,), (160,))]
    of = program(
        lambda x, w, b, s: ops.mul(ops.exp(multiply(x, w, b)), ops.broadcast_to(s, shape=(5, 160))),
        *types,
        parameters=(1, 2),
    )
    assert names(of) == ["packed_linear", "elementwise"]


def test_a_product_that_others_read_too_stays_apart():
    types = [tensor_type(s, "f32") for s in ((5, 64), (64, 160), (160,))]

    def build(x, w, b):
        made = multiply(x, w, b)
        return [ops.neg(ops.exp(made)), ops.reshape(made, shape=(160, 5))]

    assert names(program(build, *types)) == ["packed_linear", "elementwise"]


def test_integers_stay_apart():
    of = followed(lambda x: ops.cast(x, dtype="si32"), (64, 160), "f32", 5)
    assert names(of) == ["packed_linear"]


def test_a_product_that_is_read_through_a_broadcast_stays_apart(monkeypatch):
    left_out = "-canonicalize,-sink_broadcasts,-simplify,-move_transposes"
    monkeypatch.setenv("PTIR_PASSES", left_out)
    same = lambda y: ops.broadcast_to(y, shape=y.type.shape)  # noqa: E731
    for chain in (lambda y: ops.exp(ops.neg(same(y))), lambda y: ops.neg(same(y))):
        assert names(followed(chain, (64, 160), "f32", 5))[0] == "packed_linear"
