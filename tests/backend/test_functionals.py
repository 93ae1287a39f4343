"""Every functional against Torch on every backend: f64 for the formula, f32, bf16 for rounding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch.nn import functional as TF

import ptir
from ptir import backends, engine, functional, passes
from ptir.backends import Backend
from ptir.functional import FUNCTIONALS
from ptir.ir import Node, Program

Array = np.ndarray[Any, Any]
# Largest error allowed, as a part of the largest magnitude in the result.
BOUND = {
    np.dtype(np.float64): 1e-13,
    np.dtype(np.float32): 3e-6,
    np.dtype(ml_dtypes.bfloat16): 8e-3,
}
FLOATS = tuple(BOUND)


@dataclass(frozen=True)
class Row:
    """One call of a functional and what Torch says, computed in f64 from the same operands."""

    name: str
    operands: Mapping[str, Array]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    oracle: Callable[..., Any] = lambda: None
    note: str = ""


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return np.random.default_rng((seed, *shape)).normal(size=shape) * scale


def ids(*shape: int, below: int) -> Array:
    return np.random.default_rng(shape).integers(0, below, shape, np.int32)


def sdpa(
    q: Any,
    k: Any,
    v: Any,
    past: Any = None,
    lengths: Any = None,
    mask: Any = None,
    *,
    causal: bool = True,
    window: int | None = None,
    soft_cap: float | None = None,
    scale: float | None = None,
) -> Any:
    """Attention as a loop over sequences and heads: nothing shared with the batched formula."""
    result = torch.zeros(*q.shape[:3], v.shape[3], dtype=q.dtype)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            g = h // (q.shape[1] // k.shape[1])
            for t in range(q.shape[2]):
                position = t + (int(past[b]) if past is not None else 0)
                s = (k[b, g] @ q[b, h, t]) * (scale if scale is not None else q.shape[3] ** -0.5)
                if soft_cap is not None:
                    s = soft_cap * torch.tanh(s / soft_cap)
                if mask is not None:
                    s = s + mask.expand(*q.shape[:3], k.shape[2])[b, h, t]
                for j in range(k.shape[2]):
                    hidden = causal and j > position
                    hidden |= window is not None and j <= position - window
                    hidden |= lengths is not None and j >= int(lengths[b])
                    if hidden:
                        s[j] = -torch.inf
                if (s > -torch.inf).any():
                    result[b, h, t] = torch.softmax(s, 0) @ v[b, g]
    return result


def rotate(x: Any, cos: Any, sin: Any) -> Any:
    """Rotary embedding as transformers writes it (Llama's `rotate_half`), on the first channels."""
    c, s = (torch.cat([t, t], -1) for t in (cos, sin))
    if c.ndim == 3:
        c, s = c[:, None], s[:, None]
    r = c.shape[-1]
    part, rest = x[..., :r], x[..., r:]
    half = torch.cat([-part[..., r // 2 :], part[..., : r // 2]], -1)
    return torch.cat([part * c + half * s, rest], -1)


def cached(cache: Any, k: Any, v: Any, past: Any, *, layer: int) -> Any:
    filled = cache.clone()
    for b, start in enumerate(past.tolist()):
        for index, new in enumerate((k, v)):
            filled[layer, index, b, :, start : start + k.shape[2]] = new[b]
    return filled


def qkv(
    batch: int, heads: int, groups: int, queries: int, keys: int, depth: int, out: int | None = None
) -> dict[str, Array]:
    return {
        "q": normal(batch, heads, queries, depth),
        "k": normal(batch, groups, keys, depth, seed=1),
        "v": normal(batch, groups, keys, out or depth, seed=2),
    }


def at(*positions: int) -> Array:
    return np.array(positions, np.int32)


CACHED = normal(1, 2, 2, 1, 4, 3), normal(2, 1, 2, 3), normal(2, 1, 2, 3)  # cache, k, v
TABLES = dict(zip(("cos", "sin"), functional.rotary_tables(5, 6), strict=True))
X = normal(3, 5, seed=9, scale=3)
EDGE = np.array([[0.0, -0.0, 1e-30, 40.0], [-40.0, 3.5, -0.75, 88.0]])

ROWS = [
    Row("relu", {"x": X}, oracle=TF.relu),
    Row("gelu", {"x": X}, oracle=TF.gelu),
    Row("gelu", {"x": EDGE}, oracle=TF.gelu, note="edge"),
    Row(
        "gelu",
        {"x": X},
        {"approximate": "tanh"},
        lambda x, approximate: TF.gelu(x, approximate="tanh"),
        "tanh",
    ),
    Row("silu", {"x": X}, oracle=TF.silu),
    Row("silu", {"x": EDGE}, oracle=TF.silu, note="edge"),
    Row("swiglu", {"gate": X, "up": normal(3, 5)}, oracle=lambda gate, up: TF.silu(gate) * up),
    Row("softmax", {"x": X}, oracle=lambda x: TF.softmax(x, -1)),
    Row("softmax", {"x": X}, {"axis": 0}, lambda x, axis: TF.softmax(x, axis), "axis 0"),
    Row("softmax", {"x": normal(2, 1)}, oracle=lambda x: TF.softmax(x, -1), note="one"),
    Row("log_softmax", {"x": X}, oracle=lambda x: TF.log_softmax(x, -1)),
    Row("matmul", {"a": normal(7, 5), "b": normal(5, 3)}, oracle=torch.matmul),
    Row(
        "matmul", {"a": normal(2, 1, 4, 5), "b": normal(3, 5, 2)}, oracle=torch.matmul, note="batch"
    ),
    Row("matmul", {"a": normal(5), "b": normal(5, 2)}, oracle=torch.matmul, note="vector"),
    Row("matmul", {"a": normal(2, 0), "b": normal(0, 3)}, oracle=torch.matmul, note="empty"),
    Row(
        "linear",
        {"x": normal(2, 3, 5), "weight": normal(5, 4), "bias": normal(4)},
        oracle=lambda x, weight, bias: TF.linear(x, weight.T, bias),
    ),
    Row(
        "linear",
        {"x": normal(5), "weight": normal(5, 4)},
        oracle=lambda x, weight: TF.linear(x, weight.T),
        note="bare",
    ),
    Row(
        "layer_norm",
        {"x": X, "gamma": normal(5), "beta": normal(5, seed=1)},
        oracle=lambda x, gamma, beta: TF.layer_norm(x, (5,), gamma, beta, 1e-5),
    ),
    Row(
        "layer_norm",
        {"x": np.full((2, 7), 1e3), "gamma": normal(7)},
        {"eps": 1e-3},
        lambda x, gamma, eps: TF.layer_norm(x, (7,), gamma, None, eps),
        "constant",
    ),
    Row(
        "rms_norm",
        {"x": X, "gamma": normal(5)},
        {"eps": 1e-5},
        lambda x, gamma, eps: TF.rms_norm(x, (5,), gamma, eps),
    ),
    Row(
        "embedding",
        {"indices": ids(2, 3, below=7), "weight": normal(7, 4)},
        oracle=lambda indices, weight: TF.embedding(indices, weight),
    ),
    Row("rotary", {"x": normal(2, 3, 5, 6), **TABLES}, oracle=rotate),
    Row("rotary", {"x": normal(2, 3, 5, 8), **TABLES}, oracle=rotate, note="partial"),
    Row(
        "rotary",
        {"x": normal(2, 1, 5, 6), **{k: np.stack([v, v[::-1]]) for k, v in TABLES.items()}},
        oracle=rotate,
        note="by sequence",
    ),
    Row("attention", qkv(2, 3, 3, 5, 5, 4), oracle=sdpa),
    Row("attention", qkv(1, 6, 2, 4, 4, 8), oracle=sdpa, note="grouped"),
    Row("attention", qkv(1, 4, 1, 3, 3, 1), oracle=sdpa, note="multi-query, head of 1"),
    Row("attention", qkv(2, 2, 2, 1, 9, 4) | {"past": at(8, 3)}, oracle=sdpa, note="decode"),
    Row("attention", qkv(2, 4, 2, 3, 9, 4) | {"past": at(0, 5)}, oracle=sdpa, note="chunk"),
    Row("attention", qkv(1, 2, 2, 3, 7, 4, 5), {"causal": False}, sdpa, "cross"),
    Row(
        "attention",
        qkv(2, 2, 2, 3, 7, 4) | {"lengths": at(7, 0)},
        {"causal": False},
        sdpa,
        "lengths, one empty",
    ),
    Row("attention", qkv(1, 2, 2, 6, 6, 4), {"window": 2}, sdpa, "window"),
    Row("attention", qkv(1, 2, 1, 4, 4, 4), {"soft_cap": 2.0, "scale": 0.7}, sdpa, "soft cap"),
    Row("attention", qkv(2, 4, 2, 3, 3, 4) | {"mask": normal(3, 3)}, oracle=sdpa, note="mask"),
    Row(
        "attention",
        qkv(2, 4, 2, 3, 3, 4) | {"mask": normal(2, 4, 1, 3)},
        oracle=sdpa,
        note="mask by head",
    ),
    Row(
        "update_cache",
        {
            "cache": normal(3, 2, 2, 3, 9, 4),
            "k": normal(2, 3, 2, 4),
            "v": normal(2, 3, 2, 4, seed=1),
            "past": at(7, 0),
        },
        {"layer": 2},
        oracle=cached,
    ),
]
IDS = [f"{row.name}-{row.note}" if row.note else row.name for row in ROWS]


def as_dtype(operands: Mapping[str, Array], to: np.dtype[Any]) -> dict[str, Array]:
    return {n: a.astype(to) if a.dtype.kind == "f" else a for n, a in operands.items()}


def expected(row: Row, operands: Mapping[str, Array]) -> Array:
    """Torch's answer in f64, from operands that have been rounded already."""
    as_torch = {
        n: torch.tensor(a.astype(np.float64) if a.dtype.kind not in "iu" else a)
        for n, a in operands.items()
    }
    named = {n: as_torch.pop(n) for n in ("past", "lengths", "mask") if n in as_torch}
    result: Array = row.oracle(*as_torch.values(), **named, **row.attrs).numpy()
    return result


def close(got: Array, wanted: Array) -> bool:
    scale = max(float(np.abs(wanted).max(initial=0)), 1e-30)
    error = np.abs(got.astype(np.float64) - wanted).max(initial=0) / scale
    return bool(error <= BOUND[got.dtype])


def run(row: Row, operands: Mapping[str, Array], backend: str) -> Array:
    tensors = {n: ptir.as_tensor(a, backend=backend) for n, a in operands.items()}
    result: Array = getattr(functional, row.name)(**tensors, **row.attrs).numpy()
    return result


@pytest.mark.parametrize("backend", backends.names())
@pytest.mark.parametrize("to", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_functional_equals_torch(row: Row, to, backend):
    operands = as_dtype(row.operands, to)
    got = run(row, operands, backend)
    assert got.dtype == to
    assert close(got, expected(row, operands))


def claiming(patch: pytest.MonkeyPatch, backend: str, composites: bool) -> None:
    """A backend that claims every composite, or none."""
    kind = type(backends.find(backend))
    claims = kind.claims

    def asked(self: Backend, node: Node) -> bool:
        return composites if node.op is ptir.ops.composite else claims(self, node)

    patch.setattr(kind, "claims", asked)
    patch.setattr(kind, "version", f"composites={composites}")  # or the plan cache would answer


def bare(row: Row, operands: Mapping[str, Array]) -> tuple[Program, tuple[Array, ...]]:
    """The call written out in ops, and the data that it stands on."""
    tensors = {n: ptir.as_tensor(a) for n, a in operands.items()}
    program, sources = Program.capture([getattr(functional, row.name)(**tensors, **row.attrs).node])
    written_out = passes.legalizer(lambda n: n.op is not ptir.ops.composite, "none")(program)
    assert all(n.op is not ptir.ops.composite for n in written_out.nodes)
    return written_out, tuple(source.load() for source in sources)


def run_bare(row: Row, operands: Mapping[str, Array], backend: str) -> Array:
    """Bare ops as a backend runs them that claims what `raise` finds."""
    program, data = bare(row, operands)
    target = backends.find(backend)
    plan, _ = engine.plan_of(program, target)
    (result,) = engine.execute(plan, [target.put(array) for array in data])
    return target.get(result)


@pytest.mark.parametrize("way", ["claimed", "expanded", "raised", "not optimised", "eager"])
@pytest.mark.parametrize("backend", backends.names())
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_functional_is_right_in_every_way(row: Row, backend, way, monkeypatch):
    """One more way, forced to each implementation, is in `test_overrides`, over the same rows."""
    operands = as_dtype(row.operands, np.dtype(np.float32))
    if way in ("claimed", "raised", "expanded"):
        claiming(monkeypatch, backend, composites=way != "expanded")
    if way == "not optimised":
        names = {passes.name(one) for one in passes.pipeline({})}
        monkeypatch.setenv("PTIR_PASSES", ",".join(f"-{name}" for name in sorted(names)))
    if way == "eager":
        monkeypatch.setenv("PTIR_EAGER", "1")
    got = run_bare(row, operands, backend) if way == "raised" else run(row, operands, backend)
    assert close(got, expected(row, operands))


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_functional_emits_one_composite_of_its_name(row: Row):
    tensors = {n: ptir.as_tensor(a) for n, a in as_dtype(row.operands, np.dtype("f4")).items()}
    made = getattr(functional, row.name)(**tensors, **row.attrs)
    assert made.node.op is ptir.ops.composite
    assert made.node.attrs["name"] == row.name


def test_every_functional_has_a_row():
    assert set(FUNCTIONALS) - {"dropout"} == {row.name for row in ROWS}


def call(name: str, *arrays: Array, **attrs: Any) -> ptir.Tensor:
    """A functional on f32 and si32 operands."""
    narrow = {"f": np.float32, "i": np.int32}
    tensors = [ptir.as_tensor(a.astype(narrow.get(a.dtype.kind, a.dtype))) for a in arrays]
    made: ptir.Tensor = getattr(functional, name)(*tensors, **attrs)
    return made


REFUSED = [
    ("gelu", (ids(2, below=3),), {}, "gelu: x is si32[2], wanted floats; use .astype('f32')"),
    ("gelu", (X,), {"approximate": "fast"}, "approximate is 'fast', wanted 'none' or 'tanh'"),
    ("softmax", (X,), {"axis": 2}, "axis 2 is out of range for rank 2"),
    ("softmax", (np.float32(1),), {}, "wanted rank 1 or more"),
    ("swiglu", (X, normal(5, 3)), {}, "gate is f32[3, 5] but up is f32[5, 3]"),
    ("matmul", (normal(2, 3), normal(2, 3)), {}, "the last axis of a must equal axis −2 of b"),
    ("matmul", (normal(2, 3, 3), normal(4, 3, 3)), {}, "do not broadcast"),
    ("linear", (X, normal(4, 5)), {}, "axis 0 of weight f32[4, 5] is 4, wanted 5"),
    ("linear", (X, normal(5, 4), normal(5)), {}, "axis 0 of bias f32[5] is 5, wanted 4"),
    ("layer_norm", (X, normal(4)), {}, "axis 0 of gamma f32[4] is 4, wanted 5"),
    ("layer_norm", (X, normal(5)), {"eps": 0.0}, "eps is 0.0, wanted a number above 0"),
    ("rms_norm", (X, normal(5, 5)), {}, "gamma is f32[5, 5], wanted rank 1"),
    ("embedding", (X, X), {}, "indices is f32[3, 5], wanted integers"),
    ("rotary", (normal(1, 1, 4, 6), *TABLES.values()), {}, "is 5, wanted 4 as axis 2 of x"),
    ("rotary", (normal(1, 1, 5, 4), *TABLES.values()), {}, "rotates more channels than x"),
    ("attention", tuple(qkv(1, 3, 2, 2, 2, 4).values()), {}, "3 query heads do not divide among 2"),
    ("attention", tuple(qkv(1, 2, 2, 2, 3, 4).values()), {}, "pass past= to say where they stand"),
    ("attention", tuple(qkv(1, 2, 2, 2, 2, 4).values()), {"window": 0}, "window is 0"),
    ("attention", tuple(qkv(1, 2, 2, 2, 2, 4).values()), {"window": 2.5}, "wanted a whole number"),
    ("update_cache", (*CACHED, at(1)), {"layer": 0}, "wanted 2 as the batch"),
    ("update_cache", (*CACHED, at(1, 0)), {"layer": 1}, "layer is 1, cache has 1"),
    ("update_cache", (CACHED[0], *CACHED[:2], at(1, 0)), {"layer": 0}, "wanted rank 4"),
    ("dropout", (X, at(1, 2)), {"p": 0.5}, "key is si32[2], wanted ui32[2]"),
    ("dropout", (X, np.array([1, 2], np.uint32)), {"p": 1.0}, "p is 1.0, wanted 0 ≤ p < 1"),
]


@pytest.mark.parametrize(
    "mask, message",
    [
        (np.ones((2, 2), bool), "mask is i1[2, 2], wanted floats to add"),
        (
            normal(3, 3).astype("f4"),
            "mask is f32[3, 3], wanted what broadcasts to [B, Hq, T, S] = [1, 2, 2, 2]",
        ),
        (normal(1, 1, 2, 2, 2), "wanted what broadcasts to [B, Hq, T, S]"),
    ],
)
def test_attention_refuses_a_mask_that_is_no_addend_of_its_scores(mask, message):
    operands = qkv(1, 2, 2, 2, 2, 4).values()
    with pytest.raises(ptir.SpecError) as caught:
        call("attention", *operands, mask=ptir.as_tensor(mask))
    assert message in str(caught.value)


@pytest.mark.parametrize("name, operands, attrs, message", REFUSED)
def test_functional_refuses_what_it_cannot_take(name, operands, attrs, message):
    with pytest.raises(ptir.SpecError) as caught:
        call(name, *map(np.asarray, operands), **attrs)
    assert message in str(caught.value)


def test_operands_of_two_dtypes_are_refused():
    with pytest.raises(ptir.SpecError, match="weight is f16 but x is f32; cast one of them"):
        functional.linear(ptir.as_tensor(X.astype("f4")), ptir.as_tensor(normal(5, 2).astype("f2")))


def test_a_cache_is_never_written_outside_its_capacity():
    with pytest.raises(ptir.SpecError, match="out of range"):
        call("update_cache", *CACHED, at(0, 3), layer=0).numpy()


@pytest.mark.parametrize("backend", backends.names())
def test_dropout_keeps_the_mean_and_repeats_with_its_key(backend):
    x = ptir.ones((200, 100))
    keys = [
        ptir.as_tensor(np.array(k, np.uint32), backend=backend) for k in ((1, 2), (1, 2), (3, 4))
    ]
    first, again, other = (functional.dropout(x, k, p=0.25).numpy() for k in keys)
    assert set(np.unique(first)) == {0, np.float32(1 / 0.75)}
    assert abs(first.mean() - 1) < 0.02
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def yarn_oracle(length: int, dim: int, theta: float, factor: float, original: int) -> Array:
    """cos of YaRN tables from the transformers library's own initialiser."""
    from transformers import LlamaConfig  # noqa: PLC0415 - slow to import, one test
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: PLC0415 - as above

    config = LlamaConfig(
        hidden_size=dim,
        num_attention_heads=1,
        head_dim=dim,
        max_position_embeddings=int(original * factor),
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": theta,
            "factor": factor,
            "original_max_position_embeddings": original,
        },
    )
    inverse, magnitude = ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
    angles = np.arange(length)[:, None] * inverse.numpy().astype(np.float64)
    cosines: Array = np.cos(angles) * magnitude
    return cosines


def test_yarn_tables_equal_those_of_transformers():
    cos, _ = functional.rotary_tables(32, 16, 10000.0, YARN)
    np.testing.assert_allclose(cos, yarn_oracle(32, 16, 10000.0, 4.0, 64), atol=1e-5)


def test_linear_scaling_stretches_positions():
    cos, sin = functional.rotary_tables(9, 8)
    stretched = functional.rotary_tables(17, 8, scaling=functional.RopeScaling("linear", 2.0))
    np.testing.assert_allclose(stretched[0][::2], cos, atol=1e-7)
    np.testing.assert_allclose(stretched[1][::2], sin, atol=1e-7)


YARN = functional.RopeScaling("yarn", factor=4.0, original_max_position_embeddings=64)


@pytest.mark.parametrize(
    "arguments",
    [
        {"rotary_dim": 5},
        {"rotary_dim": 0},
        {"rotary_dim": 4, "theta": -1.0},
        {"rotary_dim": 4, "theta": 1.0, "scaling": YARN},
    ],
)
def test_rotary_tables_refuse_what_makes_no_sense(arguments):
    with pytest.raises(ptir.SpecError):
        functional.rotary_tables(4, **arguments)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "yarn"},
        {"kind": "yarn", "original_max_position_embeddings": -32},
        {"kind": "yarn", "original_max_position_embeddings": 0},
        {"kind": "yarn", "original_max_position_embeddings": 32, "beta_slow": 0.0},
        {"kind": "ntk"},
        {"factor": 0.0},
    ],
)
def test_rope_scaling_refuses_what_makes_no_sense(fields):
    with pytest.raises(ptir.SpecError):
        functional.RopeScaling(**fields)
