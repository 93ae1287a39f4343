"""Parameter names, ids, keys and sources."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptir.ir.dtype import bf16, f32
from ptir.ir.error import SpecError
from ptir.params import (
    BaseParamId,
    DictSource,
    ModelNamespaceId,
    ParamSpec,
    base_param_id,
    new_namespace,
    param_key,
)
from tests.blake3 import blake3

PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters=".")
SEGMENT = st.text(PRINTABLE, min_size=1)
NAME = st.lists(SEGMENT, min_size=1, max_size=5).map(".".join)
U128 = st.integers(0, 2**128 - 1)


# The first two rows of the published BLAKE3 test vectors.
@pytest.mark.parametrize(
    "data,digest",
    [
        (b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (b"\0", "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
    ],
)
def test_the_oracle_gives_the_published_digests(data, digest):
    assert blake3(data).hex() == digest


def test_the_id_of_tok_embeddings_weight_is_known():
    assert f"{base_param_id('tok_embeddings.weight'):032x}" == "e69eece7056dba699fb4dde1cfea7f7e"


def test_the_key_of_tok_embeddings_weight_in_namespace_1_is_known():
    key = param_key(ModelNamespaceId(1), base_param_id("tok_embeddings.weight"))
    assert f"{key:032x}" == "3372a319cf42856b2b62774033edae5e"


@given(NAME)
def test_a_base_id_is_the_first_16_bytes_of_blake3_little_endian(name):
    assert base_param_id(name) == int.from_bytes(blake3(name.encode())[:16], "little")


@given(U128, U128)
def test_a_key_hashes_domain_namespace_and_base_id(namespace, base_id):
    hashed = (
        b"gpt-rs:param-key:v1" + namespace.to_bytes(16, "little") + base_id.to_bytes(16, "little")
    )
    wanted = int.from_bytes(blake3(hashed)[:16], "little")
    assert param_key(ModelNamespaceId(namespace), BaseParamId(base_id)) == wanted


BAD_NAMES = [
    "", ".", "..", "a..b", ".a", "a.", "../x", "café", "a\0b", "a\nb", "\x1b[31mred", "a\x7f",
    "a\u202eb", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_bad_name_is_refused_and_shown_escaped(name):
    with pytest.raises(SpecError) as caught:
        base_param_id(name)
    assert caught.value.code == "name"
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


@pytest.mark.parametrize("namespace,base_id", [(-1, 0), (2**128, 0), (0, -1), (0, 2**128)])
def test_a_key_of_an_id_outside_u128_is_refused(namespace, base_id):
    with pytest.raises(SpecError, match="128 bits"):
        param_key(ModelNamespaceId(namespace), BaseParamId(base_id))


def test_threads_never_share_a_namespace():
    found: list[ModelNamespaceId] = []
    threads = [
        threading.Thread(target=lambda: found.extend(new_namespace() for _ in range(500)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 4000
    assert min(found) >= 1


def test_a_dict_source_gives_its_arrays_by_id():
    weight = np.arange(6, dtype=np.float32).reshape(2, 3).T
    source = DictSource({"b": np.zeros((0, 2), bf16.numpy), "a.weight": weight})
    assert source.names() == ("a.weight", "b")
    assert source.spec("a.weight") == ParamSpec(f32, (3, 2))
    assert source.spec("a.weight").nbytes == 24
    assert source.spec("b") == ParamSpec(bf16, (0, 2))
    loaded = source.load(base_param_id("a.weight"))
    np.testing.assert_array_equal(loaded, weight)
    assert loaded.flags.c_contiguous
    assert not loaded.flags.writeable
    assert weight.flags.writeable


def test_a_dict_source_keeps_rank_0():
    source = DictSource({"scale": np.array(2.0, np.float32)})
    assert source.spec("scale").shape == ()
    assert source.load(base_param_id("scale")).shape == ()


def test_a_dict_source_refuses_what_it_does_not_hold():
    source = DictSource({"weight": np.zeros(1, np.float32)})
    with pytest.raises(SpecError, match="did you mean 'weight'"):
        source.spec("wieght")
    with pytest.raises(SpecError, match="no parameter has the id"):
        source.load(base_param_id("wieght"))


def test_a_dict_source_refuses_a_dtype_that_ptir_lacks():
    with pytest.raises(SpecError, match="no PTIR dtype"):
        DictSource({"a": np.array(["text"])})
