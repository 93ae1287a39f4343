"""`ptir patterns`: what functionals are found by, and who claims them."""

import json

from ptir import kernel
from ptir.backends import reference
from ptir.functional import FUNCTIONALS
from ptir.ops import composite


def test_every_functional_is_listed_with_its_fields_and_variants(ptir):
    done = ptir("patterns")
    assert (done.code, done.err) == (0, "")
    heads = [row.partition("(")[0] for row in done.out.splitlines() if not row.startswith(" ")]
    assert heads == sorted(FUNCTIONALS)
    assert "layer_norm(x: Node, gamma: Node, beta: Node | None, eps: float)" in done.out
    assert "\n  x gamma beta eps=?  (11 ops)" in done.out


def test_one_functional_can_be_asked_for(ptir):
    done = ptir("patterns", "gelu")
    assert done.out == (
        "gelu(x: Node, approximate: str)\n"
        "  x approximate=none  (5 ops)\n"
        "  x approximate=tanh  (9 ops)\n"
    )


def test_json_says_the_same(ptir):
    (found,) = json.loads(ptir("patterns", "linear", "--json").out)
    assert found["fields"] == {"x": "Node", "weight": "Node", "bias": "Node | None"}
    assert [v["operands"] for v in found["variants"]] == [["x", "weight"], ["x", "weight", "bias"]]
    assert all(v["claimed"] == ["native"] for v in found["variants"])
    assert len(json.loads(ptir("patterns", "--json").out)) == len(FUNCTIONALS)


def test_backends_that_claim_a_variant_are_named(ptir, monkeypatch):
    claims = reference.Backend.claims

    def with_bias(self, node):
        return claims(self, node) or (node.op is composite and len(node.operands) == 3)

    monkeypatch.setattr(reference.Backend, "claims", with_bias)
    rows = ptir("patterns", "linear").out.splitlines()
    assert [row.partition("claimed by ")[2] for row in rows[1:]] == ["native", "native, reference"]


def test_an_unknown_functional_is_2_with_the_nearest(ptir):
    done = ptir("patterns", "sofmax")
    assert (done.code, done.out) == (2, "")
    assert "no functional 'sofmax'; did you mean 'softmax'?" in done.err


def test_a_backend_with_a_kernel_from_outside_is_named(ptir):
    with kernel("softmax", backend="reference", unchecked=True)(lambda x, axis: x):
        assert "claimed by native, reference" in ptir("patterns", "softmax").out
    assert "reference" not in ptir("patterns", "softmax").out
