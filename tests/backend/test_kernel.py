"""Kernels from outside: claimed, checked against the functional's body, removed."""

from typing import Any

import numpy as np
import pytest

import ptir
from ptir import backends, engine, functional, kernel
from ptir.functional import FUNCTIONALS
from tests.backend.test_functionals import ROWS, Array, as_dtype, close, expected, normal
from tests.backend.test_functionals import run as run_row


@pytest.fixture(autouse=True)
def nothing_stays_installed():
    yield
    left = {name: dict(backends.find(name).kernels) for name in backends.names()}
    assert not any(left.values())


def wide(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype.itemsize < 4 else x


def rms_norm(x: Array, gamma: Array, *, eps: float) -> Array:
    """As one would write it in NumPy."""
    y = wide(x)
    rms = np.sqrt((y * y).mean(-1, keepdims=True) + y.dtype.type(eps))
    result: Array = (y / rms * wide(gamma)).astype(x.dtype)
    return result


def layer_norm(x: Array, gamma: Array, beta: Array | None, *, eps: float) -> Array:
    y = wide(x)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + y.dtype.type(eps))
    y = y * wide(gamma)
    result: Array = (y if beta is None else y + wide(beta)).astype(x.dtype)
    return result


def attention(
    q: Array, k: Array, v: Array, past: Array | None, lengths: Array | None, mask: Array | None,
    *, causal: bool, window: int | None, soft_cap: float | None, scale: float | None,
) -> Array:  # fmt: skip
    """One head of one sequence at a time."""
    result = np.zeros((*q.shape[:3], v.shape[3]), wide(q).dtype)
    B, heads, T, D = q.shape
    whole = None if mask is None else np.broadcast_to(wide(mask), (B, heads, T, k.shape[2]))
    key = np.arange(k.shape[2])
    for b, h in np.ndindex(B, heads):
        group = h * k.shape[1] // heads
        scores = wide(q[b, h]) @ wide(k[b, group]).T * (D**-0.5 if scale is None else scale)
        scores = scores if soft_cap is None else soft_cap * np.tanh(scores / soft_cap)
        scores = scores if whole is None else scores + whole[b, h]
        position = np.arange(T)[:, None] + (0 if past is None else past[b])
        hidden = (key > position) & causal
        hidden |= False if window is None else key <= position - window
        hidden |= False if lengths is None else key >= lengths[b]
        scores = np.where(hidden, -np.inf, scores)
        top = scores.max(-1, keepdims=True, initial=-np.inf)
        e = np.exp(scores - np.where(np.isfinite(top), top, 0))
        total = e.sum(-1, keepdims=True)
        result[b, h] = e / np.where(total == 0, 1, total) @ wide(v[b, group])
    return result.astype(q.dtype)


KERNELS = {f.__name__: f for f in (rms_norm, layer_norm, attention)}


def f32(*shape: int) -> ptir.Tensor:
    return ptir.as_tensor(normal(*shape).astype(np.float32))


def here() -> str:
    """The backend that this test runs on."""
    return engine.backend_of(None).name


def ran(tensor: ptir.Tensor) -> list[str]:
    """The custom calls of the program that gives a tensor."""
    program, _ = ptir.Program.capture([tensor.node])
    plan, _ = engine.plan_of(program, engine.backend_of(None))
    return [
        n.attrs["target"].split(".")[1]
        for each in plan.program.nested
        for n in each.nodes
        if n.op is ptir.ops.custom_call
    ]


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in KERNELS])
def test_a_kernel_runs_in_place_of_the_functional_and_equals_torch(row):
    calls = []
    code = KERNELS[row.name]

    def counting(**arguments: Any) -> Array:
        calls.append(arguments)
        return code(**arguments)

    operands = as_dtype(row.operands, np.dtype(np.float32))
    with kernel(row.name, backend=here())(counting):
        calls.clear()
        assert close(run_row(row, operands, here()), expected(row, operands))
        assert len(calls) == 1
    assert close(run_row(row, operands, here()), expected(row, operands))
    assert len(calls) == 1


def test_a_decorated_kernel_is_checked_on_all_dtypes_and_optional_operands():
    seen = set()

    @kernel("layer_norm", backend=here())
    def mine(x: Array, gamma: Array, beta: Array | None, *, eps: float) -> Array:
        seen.add((x.dtype.name, x.shape, beta is None, eps))
        return layer_norm(x, gamma, beta, eps=eps)

    mine.remove()
    names = {name for name, *_ in seen}
    assert names == {"float32", "float64", "float16", "bfloat16"}
    assert {without for _, _, without, _ in seen} == {True, False}
    assert {(3, 5), (2, 0, 7)} <= {shape for _, shape, *_ in seen}
    assert len({eps for *_, eps in seen}) == 2


def another_eps(x: Array, gamma: Array, *, eps: float) -> Array:
    return rms_norm(x, gamma, eps=eps * 3)


def one_element_off(x: Array, gamma: Array, *, eps: float) -> Array:
    y = rms_norm(x, gamma, eps=eps)
    y[2:, 3:4] += x.dtype.type(0.5)
    return y


def nan(x: Array, gamma: Array, *, eps: float) -> Array:
    return np.full_like(x, np.nan)


def other_dtype(x: Array, gamma: Array, *, eps: float) -> Array:
    return rms_norm(x, gamma, eps=eps).astype(np.float64)


def other_shape(x: Array, gamma: Array, *, eps: float) -> Array:
    return rms_norm(x, gamma, eps=eps)[..., :1]


def raising(x: Array, gamma: Array, *, eps: float) -> Array:
    raise ZeroDivisionError("no luck")


def writing(x: Array, gamma: Array, *, eps: float) -> Array:
    x *= 2
    return rms_norm(x, gamma, eps=eps)


def without_gamma(x: Array, *, eps: float) -> Array:
    return x


WRONG = [
    (
        another_eps,
        "rms_norm: the kernel differs on x f64[3, 5], gamma f64[5], eps=1e-06: at [0, 0] it ",
    ),
    (one_element_off, "on x f32[3, 5], gamma f32[5], eps=1e-06: at [2, 3] it gave "),
    (nan, "at [0, 0] it gave nan, wanted "),
    (other_dtype, "the kernel gave f64[3, 5], declared is f32[3, 5]"),
    (other_shape, "the kernel gave f32[3, 1], declared is f32[3, 5]"),
    (raising, "the kernel failed on x f32[3, 5], gamma f32[5], eps=1e-06: ZeroDivisionError: no l"),
    (writing, "ValueError: output array is read-only"),
    (without_gamma, "the kernel takes (x: "),
    ("int x;", "user.rms_norm.v"),
]


@pytest.mark.parametrize("code,message", WRONG, ids=lambda p: getattr(p, "__name__", None))
def test_a_wrong_kernel_is_refused_with_what_is_wrong(code, message):
    with pytest.raises(ptir.SpecError) as caught:
        kernel("rms_norm", backend=here())(code)
    assert message in str(caught.value)
    assert caught.value.code == "kernel"
    assert ran(functional.rms_norm(f32(2, 3), f32(3))) == []


def test_an_unchecked_kernel_is_taken_as_it_is():
    with kernel("rms_norm", backend=here(), unchecked=True)(nan):
        assert np.isnan(functional.rms_norm(f32(2, 3), f32(3)).numpy()).all()
    assert not np.isnan(functional.rms_norm(f32(2, 3), f32(3)).numpy()).any()


def test_a_kernel_changes_the_key_of_plans_and_of_compiled_functions():
    norm = ptir.compile(lambda x, gamma: functional.rms_norm(x, gamma))
    x, gamma = f32(2, 3), f32(3)
    before = norm.program(x, gamma)
    with kernel("rms_norm", backend=here())(rms_norm):
        assert not norm.is_bound(x, gamma)
        within = norm.program(x, gamma)
        assert "user.rms_norm" in str(within.program)
        assert "user.rms_norm" in within.reason
    assert norm.program(x, gamma) is before
    with kernel("rms_norm", backend=here())(rms_norm):  # another one: nothing is remembered
        assert norm.program(x, gamma) is not within


def test_a_kernel_claims_only_what_it_supports():
    def of_matrices(x: Any, gamma: Any, *, eps: float) -> bool:
        return (x.rank, x.dtype.name) == (2, "f32")

    with kernel("rms_norm", backend=here(), supports=of_matrices)(rms_norm):
        assert ran(functional.rms_norm(f32(2, 3), f32(3))) == ["rms_norm"]
        assert ran(functional.rms_norm(f32(2, 2, 3), f32(3))) == []
    with pytest.raises(ptir.SpecError, match="supports none of the functional's examples"):
        kernel("rms_norm", backend=here(), supports=lambda **types: False)(rms_norm)


def test_a_kernel_is_found_in_other_functionals_and_in_loops_and_in_bare_ops():
    def outer(x: ptir.Tensor, gamma: ptir.Tensor) -> ptir.Tensor:
        return functional.rms_norm(functional.rms_norm(x, gamma), gamma)

    types = [f32(2, 3).type, f32(3).type]
    body = ptir.trace(outer, types).program
    x, gamma = f32(2, 3), f32(3)
    looped = ptir.ops.scan(x, gamma, body=body, carries=1, inputs=0, length=2)
    named = ptir.ops.composite(x, gamma, name="outer", body=body)
    bare = x * ptir.ops.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * gamma
    wanted = [t.numpy() for t in (outer(outer(x, gamma), gamma), outer(x, gamma))]
    with kernel("rms_norm", backend=here())(rms_norm):
        assert [ran(t) for t in (looped, named, bare)] == [["rms_norm"] * 2] * 2 + [["rms_norm"]]
        np.testing.assert_allclose(looped.numpy(), wanted[0], rtol=1e-5)
        np.testing.assert_allclose(named.numpy(), wanted[1], rtol=1e-5)


def test_a_kernel_does_not_swallow_another_implementation():
    with (
        kernel("layer_norm", backend=here())(layer_norm),
        functional.override(layer_norm="force=welford"),
    ):
        assert ran(functional.layer_norm(f32(2, 3), f32(3))) == []


def test_one_kernel_at_a_time_and_only_of_what_there_is():
    with (
        kernel("rms_norm", backend=here())(rms_norm) as mine,
        pytest.raises(ptir.SpecError, match="has a kernel for it already; remove that one first"),
    ):
        kernel("rms_norm", backend=here())(rms_norm)
    mine.remove()  # again
    x, gamma = normal(2, 3), normal(3)
    np.testing.assert_array_equal(mine(x, gamma, eps=1e-6), rms_norm(x, gamma, eps=1e-6))
    with pytest.raises(ptir.SpecError, match="did you mean 'rms_norm'"):
        kernel("rmsnorm", backend=here())
    with pytest.raises(backends.BackendError, match="did you mean 'reference'"):
        kernel("rms_norm", backend="referense")


@pytest.mark.parametrize("name", sorted(FUNCTIONALS))
def test_the_body_of_every_functional_passes_as_a_kernel_of_it(name, monkeypatch):
    """So no example is one that a right kernel could not pass."""
    one = FUNCTIONALS[name]

    def body(**arguments: Any) -> Array:
        tensors = {
            n: ptir.as_tensor(a) if n in one.operands and a is not None else a
            for n, a in arguments.items()
        }
        made: Array = one.__wrapped__(**tensors).numpy()
        return made

    kernel(name, backend=here())(_taking(one.signature, body)).remove()


def _taking(signature: Any, body: Any) -> Any:
    body.__signature__ = signature
    return body


def test_a_call_that_a_kernel_serves_is_said_to_be_claimed():
    x, gamma = (ptir.as_tensor(np.ones(shape, np.float32)) for shape in ((2, 4), (4,)))
    call = functional.rms_norm(x, gamma)
    own = engine.backend_of(None).claims(call.node)
    before = f"{'claimed' if own else 'expanded'}: composite rms_norm"
    assert before in ptir.explain(call)
    with kernel("rms_norm", backend=here())(rms_norm):
        assert "claimed: composite rms_norm" in ptir.explain(call)
        (variant, *_) = FUNCTIONALS["rms_norm"].pattern.variants
        assert engine.backend_of(None).runs(variant.composite)
    only_f64 = kernel("rms_norm", backend=here(), supports=_is_f64)
    with only_f64(rms_norm):
        assert before in ptir.explain(call)


def _is_f64(x: Any, gamma: Any, *, eps: float) -> bool:
    return bool(x.dtype.name == "f64")
