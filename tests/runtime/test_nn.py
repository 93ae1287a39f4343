"""Modules and their names; each layer against Torch, and attention against its own chunks."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ptir import SpecError, Tensor, as_tensor, nn
from ptir.nn import BoundParam, KVCache, Module, ParamRole, bind_namespace
from ptir.params import ModelNamespaceId, base_param_id, param_key

Array = np.ndarray[Any, Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("f4")


def close(got: Tensor, want: torch.Tensor) -> None:
    """Equal to a float64 result of Torch within a few roundings of f32."""
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=1e-5)


def wide(array: Array) -> torch.Tensor:
    return torch.from_numpy(array).double()


# --- names ---


class Leaf(Module):
    BUFFERS = frozenset({"table"})

    def __init__(self) -> None:
        self.weight = as_tensor([1.0, 2.0])
        self.table = as_tensor([3.0])
        self.size = 7


class Tree(Module):
    def __init__(self) -> None:
        self.second = Leaf()
        self.first = as_tensor([0.0])
        self.blocks = [Leaf(), Leaf()]
        self.scales = [as_tensor([1.0]), as_tensor([2.0])]
        self.nothing = None


TREE = [
    ("second.weight", ParamRole.PARAMETER),
    ("second.table", ParamRole.BUFFER),
    ("first", ParamRole.PARAMETER),
    ("blocks.0.weight", ParamRole.PARAMETER),
    ("blocks.0.table", ParamRole.BUFFER),
    ("blocks.1.weight", ParamRole.PARAMETER),
    ("blocks.1.table", ParamRole.BUFFER),
    ("scales.0", ParamRole.PARAMETER),
    ("scales.1", ParamRole.PARAMETER),
]


def test_parameters_come_in_the_order_of_the_attributes_with_scoped_names_and_roles():
    assert [(name, role) for name, _, role in Tree().named_parameters()] == TREE


def test_named_parameters_are_the_tensors_themselves():
    tree = Tree()
    named = {name: t for name, t, _ in tree.named_parameters()}
    assert named["blocks.1.weight"] is tree.blocks[1].weight
    assert named["scales.1"] is tree.scales[1]


def test_visit_params_puts_what_it_gets_in_place():
    tree = Tree()
    tree.visit_params(lambda name, t, role: t * 10)
    assert tree.second.weight.tolist() == [10, 20]
    assert [t.tolist() for t in tree.scales] == [[10], [20]]
    assert tree.blocks[1].table.tolist() == [30]
    assert tree.second.size == 7


def test_binding_gives_each_parameter_the_key_of_its_name_in_the_namespace():
    namespace = ModelNamespaceId(5)
    bound = bind_namespace(Tree(), namespace)
    roles = dict(TREE)
    assert bound == [
        BoundParam(
            name, roles[name], base_param_id(name), param_key(namespace, base_param_id(name))
        )
        for name in sorted(roles)
    ]


def test_bound_parameters_keep_their_values_and_carry_their_keys():
    tree = Tree()
    tree.first = as_tensor([1.0]) + 1  # not computed yet
    bound = {b.name: b for b in bind_namespace(tree, ModelNamespaceId(6))}
    assert (tree.first + 0).tolist() == [2.0]
    source = tree.first.node.attrs["source"]
    assert (source.name, source.key) == ("first", bound["first"].key)


def test_namespaces_keep_equal_names_apart():
    keys = [{b.key for b in bind_namespace(Tree(), ModelNamespaceId(n))} for n in (7, 8)]
    assert not keys[0] & keys[1]


class Twice(Module):
    def __init__(self) -> None:
        self.weight = as_tensor([1.0])

    def visit_params(self, visit: nn.module.Visit, scope: str = "") -> None:
        super().visit_params(visit, scope)
        super().visit_params(visit, scope)


def test_two_parameters_of_one_name_are_refused():
    with pytest.raises(SpecError, match="two parameters are named 'weight'"):
        bind_namespace(Twice(), ModelNamespaceId(9))


@pytest.mark.parametrize("name", ["größe", "a b\n", ""])
def test_a_name_that_no_file_can_hold_is_refused(name):
    leaf = Leaf()
    setattr(leaf, name, as_tensor([1.0]))
    with pytest.raises(SpecError, match="name"):
        bind_namespace(leaf, ModelNamespaceId(10))


def test_an_attribute_with_a_dot_is_refused():
    leaf = Leaf()
    setattr(leaf, "a.b", as_tensor([1.0]))
    with pytest.raises(SpecError, match="dot"):
        list(leaf.named_parameters())


# --- layers ---


@pytest.mark.parametrize("biased", [True, False])
def test_linear_equals_torch(backend, biased):
    x, w, b = normal(2, 3, 5), normal(5, 7), normal(7)
    layer = nn.Linear(as_tensor(w), as_tensor(b) if biased else None)
    close(layer(as_tensor(x)), F.linear(wide(x), wide(w).T, wide(b) if biased else None))


def test_embedding_equals_torch(backend):
    ids, w = np.array([[0, 6, 2], [2, 2, 1]], "i4"), normal(7, 4)
    close(
        nn.Embedding(as_tensor(w))(as_tensor(ids)),
        F.embedding(torch.from_numpy(ids).long(), wide(w)),
    )


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_layer_norm_equals_torch(backend, eps):
    x, g, b = normal(3, 9), normal(9, seed=1), normal(9, seed=2)
    close(
        nn.LayerNorm(as_tensor(g), as_tensor(b), eps)(as_tensor(x)),
        F.layer_norm(wide(x), (9,), wide(g), wide(b), eps),
    )


@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_rms_norm_equals_torch(backend, eps):
    x, g = normal(3, 9), normal(9, seed=1)
    close(nn.RMSNorm(as_tensor(g), eps)(as_tensor(x)), F.rms_norm(wide(x), (9,), wide(g), eps))


ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward_equals_torch(backend, activation):
    x, w_in, b_in, w_out, b_out = normal(4, 5), normal(5, 8), normal(8), normal(8, 5), normal(5)
    layer = nn.FeedForward(
        as_tensor(w_in), as_tensor(b_in), as_tensor(w_out), as_tensor(b_out), activation=activation
    )
    hidden = ACTIVATIONS[activation](wide(x) @ wide(w_in) + wide(b_in))
    close(layer(as_tensor(x)), hidden @ wide(w_out) + wide(b_out))


def test_the_forms_of_feed_forward_differ():
    x, w = as_tensor(normal(4, 5)), as_tensor(normal(5, 5))
    results = [nn.FeedForward(w, None, w, None, a)(x).numpy() for a in ACTIVATIONS]
    for i, one in enumerate(results):
        assert all(np.abs(one - other).max() > 1e-4 for other in results[:i])


def test_an_unknown_activation_is_refused():
    w = as_tensor(normal(5, 5))
    with pytest.raises(SpecError, match="wanted gelu, gelu_tanh, relu or silu"):
        nn.FeedForward(w, None, w, None, "gelu_new")


def test_gated_feed_forward_equals_torch(backend):
    x, gate, up, down = normal(4, 5), normal(5, 8, seed=1), normal(5, 8, seed=2), normal(8, 5)
    hidden = F.silu(wide(x) @ wide(gate)) * (wide(x) @ wide(up))
    close(nn.GatedFeedForward(*map(as_tensor, (gate, up, down)))(as_tensor(x)), hidden @ wide(down))


# --- attention ---

E, HEADS, KV_HEADS, DEPTH, CONTEXT = 10, 6, 2, 8, 12
ATTENTION: dict[str, dict[str, Any]] = {
    "one_group": {"num_kv_heads": HEADS},
    "grouped_query": {},
    "multi_query": {"num_kv_heads": 1},
    "partial_rotary": {"rotary": 6},
    "full_rotary": {"rotary": DEPTH},
    "window": {"window": 3},
    "soft_cap": {"soft_cap": 0.5},
    "everything": {"rotary": 4, "window": 4, "soft_cap": 2.0},
    "no_bias": {"bias": False},
}


class Case:
    """One attention layer: ours, and its parts for the oracle."""

    def __init__(
        self,
        *,
        num_kv_heads: int = KV_HEADS,
        rotary: int = 0,
        window: int | None = None,
        soft_cap: float | None = None,
        bias: bool = True,
    ) -> None:
        packed = (HEADS + 2 * num_kv_heads) * DEPTH
        self.w_qkv, self.w_out = normal(E, packed), normal(HEADS * DEPTH, E)
        self.b_qkv: Array | None = normal(packed) if bias else None
        self.b_out: Array | None = normal(E) if bias else None
        self.kv_heads, self.window, self.soft_cap = num_kv_heads, window, soft_cap
        angles = np.outer(np.arange(CONTEXT), 0.5 ** np.arange(rotary // 2))
        self.cos, self.sin = np.cos(angles).astype("f4"), np.sin(angles).astype("f4")
        self.rotary = rotary
        self.layer = nn.CausalSelfAttention(
            as_tensor(self.w_qkv),
            None if self.b_qkv is None else as_tensor(self.b_qkv),
            as_tensor(self.w_out),
            None if self.b_out is None else as_tensor(self.b_out),
            num_heads=HEADS,
            num_kv_heads=num_kv_heads,
            window=window,
            soft_cap=soft_cap,
            cos=as_tensor(self.cos) if rotary else None,
            sin=as_tensor(self.sin) if rotary else None,
        )

    def oracle(self, x: Array) -> torch.Tensor:
        """Attention in float64, one query at a time."""
        B, T, _ = x.shape
        qkv = wide(x) @ wide(self.w_qkv) + (0 if self.b_qkv is None else wide(self.b_qkv))
        heads = qkv.reshape(B, T, -1, DEPTH)
        q, k, v = heads.split([HEADS, self.kv_heads, self.kv_heads], dim=2)
        q, k = self.rotated(q), self.rotated(k)
        out = torch.zeros(B, T, HEADS, DEPTH, dtype=torch.float64)
        for t in range(T):
            start = 0 if self.window is None else max(0, t + 1 - self.window)
            for h in range(HEADS):
                g = h // (HEADS // self.kv_heads)
                scores = torch.einsum("bd,bsd->bs", q[:, t, h], k[:, start : t + 1, g])
                scores = scores / DEPTH**0.5
                if self.soft_cap is not None:
                    scores = self.soft_cap * torch.tanh(scores / self.soft_cap)
                weights = scores.softmax(-1)
                out[:, t, h] = torch.einsum("bs,bsd->bd", weights, v[:, start : t + 1, g])
        bias = 0 if self.b_out is None else wide(self.b_out)
        return out.reshape(B, T, -1) @ wide(self.w_out) + bias

    def rotated(self, heads: torch.Tensor) -> torch.Tensor:
        """Half-split rotation as multiplication of complex numbers."""
        half = self.rotary // 2
        first, second, rest = heads.split([half, half, DEPTH - 2 * half], dim=-1)
        turn = torch.complex(wide(self.cos), wide(self.sin))[: heads.shape[1], None]
        turned = torch.complex(first, second) * turn
        return torch.cat([turned.real, turned.imag, rest], dim=-1)


@pytest.fixture(params=ATTENTION)
def attention(request):
    return Case(**ATTENTION[request.param])


def test_attention_equals_torch(backend, attention):
    x = normal(2, 7, E)
    got, _ = attention.layer(as_tensor(x))
    close(got, attention.oracle(x))


def test_without_a_cache_no_cache_is_made(backend):
    assert Case().layer(as_tensor(normal(2, 7, E)))[1] is None


@pytest.mark.parametrize("cuts", [(3,), (1, 2), (1, 2, 3, 4, 5, 6)])
@pytest.mark.parametrize("capacity", [7, 12])
def test_cached_chunks_equal_the_whole(backend, attention, cuts, capacity):
    x = normal(2, 7, E)
    cache: KVCache | None = KVCache.empty(1, 2, attention.kv_heads, capacity, DEPTH)
    pieces = []
    for start, stop in zip((0, *cuts), (*cuts, 7), strict=True):
        past = as_tensor(np.array([start, start], "i4"))
        piece, cache = attention.layer(as_tensor(x[:, start:stop]), cache, past)
        pieces.append(piece.numpy())
    close(as_tensor(np.concatenate(pieces, axis=1)), attention.oracle(x))


def test_each_sequence_stands_behind_its_own_past(backend):
    case = Case(rotary=4)
    x = normal(2, 6, E)
    cache: KVCache | None = KVCache.empty(1, 2, KV_HEADS, 8, DEPTH)
    _, cache = case.layer(as_tensor(x[:, :4]), cache, as_tensor(np.zeros(2, "i4")))
    # The second sequence goes on behind two of its four: the others are overwritten or unseen.
    got, _ = case.layer(as_tensor(x[:, 4:]), cache, as_tensor(np.array([4, 2], "i4")))
    first, second = x[:1], np.concatenate([x[1:, :2], x[1:, 4:]], axis=1)
    close(got, torch.cat([case.oracle(first)[:, 4:], case.oracle(second)[:, 2:]]))


def test_a_cache_without_a_past_is_refused():
    cache = KVCache.empty(1, 1, KV_HEADS, 4, DEPTH)
    with pytest.raises(SpecError, match="cache and past, or neither"):
        Case().layer(as_tensor(normal(1, 2, E)), cache)


def test_projections_that_do_not_divide_into_heads_are_refused():
    w, out = as_tensor(normal(E, 49)), as_tensor(normal(48, E))
    with pytest.raises(SpecError, match="does not divide into 10 heads"):
        nn.CausalSelfAttention(w, None, out, None, num_heads=6, num_kv_heads=2)


def test_rotary_tables_of_a_layer_are_buffers():
    roles = {name: role for name, _, role in Case(rotary=4).layer.named_parameters()}
    assert {name for name, role in roles.items() if role is ParamRole.BUFFER} == {"cos", "sin"}
    assert roles["w_qkv"] is ParamRole.PARAMETER


# --- the cache ---


def test_a_grown_cache_keeps_its_contents(backend):
    data = normal(3, 2, 2, 3, 4, 5)
    grown = KVCache(as_tensor(data)).grown(6)
    assert (grown.batch, grown.capacity) == (2, 6)
    np.testing.assert_array_equal(grown.data.numpy()[..., :4, :], data)
    assert not grown.data.numpy()[..., 4:, :].any()


def test_each_layer_has_its_own_part_of_a_cache(backend):
    data, k, v = normal(3, 2, 2, 3, 4, 5), normal(2, 3, 2, 5, seed=1), normal(2, 3, 2, 5, seed=2)
    past = as_tensor(np.array([2, 0], "i4"))
    new = KVCache(as_tensor(data)).updated(1, as_tensor(k), as_tensor(v), past)
    wanted = data.copy()
    for index, rows in enumerate((k, v)):
        wanted[1, index, 0, :, 2:4], wanted[1, index, 1, :, 0:2] = rows
        np.testing.assert_array_equal(new.of(1, 2)[index].numpy(), wanted[1, index])
    np.testing.assert_array_equal(new.data.numpy(), wanted)


def test_fewer_sequences_than_a_cache_has_rows_use_the_first(backend):
    data, new = normal(1, 2, 3, 1, 4, 2), normal(2, 1, 1, 2, seed=1)
    past = as_tensor(np.array([3, 1], "i4"))
    after = KVCache(as_tensor(data)).updated(0, as_tensor(new), as_tensor(new), past)
    np.testing.assert_array_equal(after.data.numpy()[:, :, 2], data[:, :, 2])
    assert [t.shape[0] for t in after.of(0, 2)] == [2, 2]
    np.testing.assert_array_equal(after.of(0, 2)[1].numpy()[0, :, 3], new[0, :, 0])


def test_a_cache_does_not_shrink():
    with pytest.raises(SpecError, match="capacity 4 does not grow to 3"):
        KVCache.empty(1, 1, 1, 4, 2).grown(3)


def test_a_cache_has_the_dtype_that_is_asked_for():
    assert KVCache.empty(2, 1, 1, 4, 2, "bf16").data.dtype.name == "bf16"
