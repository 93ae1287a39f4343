"""Policies: how they are spelled, for how long they hold, and what is refused."""

from threading import Thread

import pytest

from ptir import SpecError, functional
from ptir.functional import Functional, FunctionalRegistry, current, override
from ptir.functional.registry import Benchmark, Default, Force, parse_policy
from ptir.tensor import Tensor

VALID = [
    ("default", Default()),
    ("force=default", Force("default")),
    ("force=split_k", Force("split_k")),
    ("benchmark", Benchmark(128)),
    ("benchmark(cache=1)", Benchmark(1)),
    ("benchmark(cache=64)", Benchmark(64)),
]


@pytest.mark.parametrize("text,policy", VALID)
def test_a_policy_is_read_as_it_is_spelled(text, policy):
    assert parse_policy("matmul", text) == policy
    assert parse_policy("matmul", str(policy)) == policy


MALFORMED = [
    ("matmull", "default", "no functional 'matmull'; did you mean 'matmul'?"),
    ("ptir.functional.matmul", "default", "no functional 'ptir.functional.matmul'"),
    ("matmul", "", "no policy ''; have benchmark, benchmark(cache=128), default, force="),
    ("matmul", "force=", "no policy 'force='; did you mean 'force="),
    ("matmul", "force=splitk", "no implementation 'splitk'; did you mean 'split_k'?"),
    ("matmul", "force=blocked", "no implementation 'blocked'; have default, split_k"),
    ("matmul", "split_k", "no policy 'split_k'; did you mean 'force=split_k'?"),
    ("matmul", " force=split_k", "did you mean 'force=split_k'?"),
    ("matmul", "force = split_k", "did you mean 'force=split_k'?"),
    ("matmul", "Benchmark", "no policy 'Benchmark'; did you mean 'benchmark'?"),
    ("matmul", "benchmark()", "did you mean 'benchmark'?"),
    ("matmul", "benchmark(cach=4)", "did you mean 'benchmark(cache=128)'?"),
    ("matmul", "benchmark(cache=)", "did you mean 'benchmark(cache=128)'?"),
    ("matmul", "benchmark(cache=1.5)", "did you mean 'benchmark(cache=128)'?"),
    ("matmul", "benchmark(cache=0)", "'benchmark(cache=0)' keeps no winner; wanted benchmark(cach"),
    ("matmul", "benchmark(cache=-3)", "'benchmark(cache=-3)' keeps no winner"),
    ("matmul", "benchmark(cache=9999999999)", "no policy"),
    ("matmul", "benchmark\n", "did you mean 'benchmark'?"),
    ("matmul", 3, "the policy is 3 (int), wanted a string"),
    ("matmul", None, "the policy is None (NoneType), wanted a string"),
]


@pytest.mark.parametrize("name,text,message", MALFORMED)
def test_what_is_no_policy_is_refused_with_the_nearest_spelling(name, text, message):
    with pytest.raises(SpecError) as caught:
        FunctionalRegistry.from_settings({name: text})
    assert message in str(caught.value)
    assert caught.value.code == "override"
    with pytest.raises(SpecError):
        override(**{name: text})  # at once, not when the block is entered
    assert current().policies == {}


def test_an_override_holds_within_its_block_and_ends_with_an_error():
    assert current().policies == {}
    seen = []

    def fail() -> None:
        with override(matmul="force=split_k"):
            seen.append(dict(current().policies))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [{"matmul": Force("split_k")}]
    assert current().policies == {}


def test_the_innermost_block_that_names_a_functional_counts():
    with override(matmul="force=split_k", attention="benchmark"):
        with override(matmul="benchmark(cache=2)", gelu="force=tanh"):
            assert {n: str(p) for n, p in current().policies.items()} == {
                "attention": "benchmark(cache=128)",
                "gelu": "force=tanh",
                "matmul": "benchmark(cache=2)",
            }
        with override(matmul="default"):
            assert current().policies == {"attention": Benchmark()}
        with override():
            assert len(current().policies) == 2
        assert current().policies == {"matmul": Force("split_k"), "attention": Benchmark()}


def test_a_registry_can_be_installed_again_within_itself():
    registry = FunctionalRegistry.from_settings({"matmul": "force=split_k"})
    with registry.installed(), override(matmul="default"), registry.installed():
        assert current().policies == registry.policies
    assert current().policies == {}


def test_fingerprints_are_equal_for_equal_policies_and_only_for_them():
    def seen(**policies: str) -> object:
        with override(**policies):
            return current().fingerprint

    assert seen(matmul="benchmark", gelu="force=tanh") == seen(
        gelu="force=tanh", matmul="benchmark(cache=128)"
    )
    assert seen(matmul="default") == seen()
    assert len({seen(), seen(matmul="benchmark"), seen(matmul="force=split_k")}) == 3


def test_an_override_holds_on_its_own_thread_only():
    seen = []
    with override(matmul="force=split_k"):
        thread = Thread(target=lambda: seen.append(dict(current().policies)))
        thread.start()
        thread.join()
    assert seen == [{}]


def test_the_registry_knows_what_changes_numbers():
    inexact = {
        f"{name}.{one.name}"
        for name, each in functional.FUNCTIONALS.items()
        for one in each.implementations.values()
        if not one.exact
    }
    assert inexact == {"gelu.tanh"}


def twice(x: Tensor, *, by: int = 2) -> Tensor:
    """Not registered: a functional that only this file knows."""
    return x * by


def test_a_functional_keeps_the_name_docs_and_signature_of_its_function():
    made = Functional(twice)
    assert (made.__name__, made.__doc__) == (twice.__name__, twice.__doc__)
    assert (made.operands, made.attributes) == (("x",), ("by",))
    assert "twice(x: " in repr(made)


def other_name(x: Tensor, *, times: int = 2) -> Tensor:
    return x * times


def other_default(x: Tensor, *, by: int = 3) -> Tensor:
    return x * by


@pytest.mark.parametrize("fn", [other_name, other_default], ids=lambda f: f.__name__)
def test_an_implementation_with_another_signature_is_refused(fn):
    made = Functional(twice)
    with pytest.raises(ValueError, match=r"implementation 'other' takes .*, wanted \(x: "):
        made.implementation("other")(fn)
    assert list(made.implementations) == ["default"]


def test_implementations_have_distinct_names_and_state_their_needs():
    made = Functional(twice)
    for name in ("default", "a b", "a.b", "", "ß"):
        with pytest.raises(ValueError, match=r"implementation"):
            made.implementation(name)
    with pytest.raises(ValueError, match="give `supports` and `needs` together"):
        made.implementation("some", supports=lambda x, by: True)


def test_a_functional_with_stars_is_refused():
    def star(*xs: Tensor) -> Tensor:
        return xs[0]

    with pytest.raises(ValueError, match="cannot be traced"):
        Functional(star)
