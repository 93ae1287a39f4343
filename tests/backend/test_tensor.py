"""The lazy tensor against NumPy: operators, indexing, reductions, shapes, reading."""

import operator

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ptir
from ptir import engine, ops
from ptir.ir import Program, SpecError, leaf, tensor_type

INTS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")
FLOATS = ("float32", "float64")


def values(element, shape):
    """Small numbers that every dtype holds, so that no result depends on its range."""
    whole = st.integers(0 if element.startswith("u") else -9, 9)
    if element.startswith("float"):
        return hnp.arrays(element, shape, elements=whole.map(lambda v: v / 4))
    return hnp.arrays(element, shape, elements=whole)


shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)


@st.composite
def pairs(draw, elements):
    """Two arrays whose shapes broadcast."""
    a, b = draw(shapes).input_shapes
    first, second = draw(st.sampled_from(elements)), draw(st.sampled_from(elements))
    return draw(values(first, a)), draw(values(second, b))


def agree(tensor, array, exact=True):
    got = tensor.numpy()
    assert got.shape == array.shape == tensor.shape
    assert got.dtype == array.dtype == tensor.dtype.numpy
    if exact:
        np.testing.assert_array_equal(got, array)
    else:
        np.testing.assert_allclose(got, array, rtol=1e-5, atol=1e-6)


ARITHMETIC = (operator.add, operator.sub, operator.mul)
COMPARISONS = (
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
)  # fmt: skip


@pytest.mark.parametrize("op", ARITHMETIC, ids=lambda op: op.__name__)
@given(pairs(INTS + FLOATS))
def test_arithmetic_meets_in_numpys_shape_and_the_documented_dtype(op, data):
    a, b = data
    wanted = op(a, b)
    mixed = {a.dtype.kind == "f", b.dtype.kind == "f"} == {True, False}
    if mixed:  # an integer meets a float in that float, as in PyTorch; NumPy may take a wider one
        to = a.dtype if a.dtype.kind == "f" else b.dtype
        wanted = op(a.astype(to), b.astype(to))
    agree(op(ptir.as_tensor(a), ptir.as_tensor(b)), wanted)


@pytest.mark.parametrize("op", COMPARISONS, ids=lambda op: op.__name__)
@given(pairs(INTS + FLOATS))
def test_comparison_is_numpys(op, data):
    a, b = data
    agree(op(ptir.as_tensor(a), ptir.as_tensor(b)), op(a, b))


@given(pairs(("float32",)))
def test_division_of_floats_is_numpys(data):
    a, b = data
    with np.errstate(all="ignore"):
        agree(ptir.as_tensor(a) / ptir.as_tensor(b), a / b, exact=False)


@pytest.mark.parametrize("op", [operator.floordiv, operator.mod], ids=["//", "%"])
@given(pairs(FLOATS))
def test_floor_division_of_floats_is_numpys(op, data):
    a, b = data
    with np.errstate(all="ignore"):
        agree(op(ptir.as_tensor(a), ptir.as_tensor(b)), op(a, b))


@pytest.mark.parametrize("op", [operator.floordiv, operator.mod], ids=["//", "%"])
@given(pairs(INTS))
def test_floor_division_of_integers_is_numpys(op, data):
    a, b = data
    b = np.where(b == 0, 1, b).astype(b.dtype)
    agree(op(ptir.as_tensor(a), ptir.as_tensor(b)), op(a, b))


@pytest.mark.parametrize("divisor", [-127, -7, -3, -2, 1, 2, 3, 100, 127])
def test_floor_division_is_exact_over_a_whole_dtype(divisor):
    every = np.arange(-128, 128).astype(np.int8)
    agree(ptir.as_tensor(every) // divisor, every // np.int8(divisor))
    agree(ptir.as_tensor(every) % divisor, every % np.int8(divisor))


@pytest.mark.parametrize("a", [1.0, -1.0, 0.3, 7.5, np.inf, -np.inf, 0.0, np.nan, 1e17])
@pytest.mark.parametrize("b", [0.1, -0.1, 0.3, np.inf, -np.inf, 0.0, np.nan, 3.0])
def test_floor_division_at_the_edges_is_numpys(a, b):
    x, y = np.array([a]), np.array([b])
    with np.errstate(all="ignore"):
        agree(ptir.as_tensor(x) // ptir.as_tensor(y), x // y)
        agree(ptir.as_tensor(x) % ptir.as_tensor(y), x % y)


@pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor])
@given(pairs(("int8", "int32", "int64")))
def test_bitwise_operators_are_numpys(op, data):
    a, b = data
    agree(op(ptir.as_tensor(a), ptir.as_tensor(b)), op(a, b))


@given(values("float32", (2, 3)), values("int16", (3,)))
def test_a_python_number_takes_the_dtype_of_the_tensor(a, b):
    for op in ARITHMETIC:
        agree(op(ptir.as_tensor(a), 3), op(a, 3))
        agree(op(2.5, ptir.as_tensor(a)), op(2.5, a))
        agree(op(ptir.as_tensor(b), 3), op(b, 3))
        agree(op(3, ptir.as_tensor(b)), op(3, b))
        agree(op(ptir.as_tensor(b), True), op(b, True))


def test_a_python_float_makes_an_integer_tensor_f32():
    assert (ptir.as_tensor([1, 2]) + 0.5).numpy().tolist() == [1.5, 2.5]
    assert (ptir.as_tensor([1, 2]) + 0.5).dtype.name == "f32"
    assert (ptir.as_tensor([1.0]) + 1j).dtype.name == "c64"


def test_a_numpy_scalar_keeps_its_dtype():
    assert (ptir.as_tensor([1.0]) + np.float64(2)).dtype.name == "f64"
    assert (np.float64(2) * ptir.as_tensor([1.0])).dtype.name == "f64"
    agree(np.ones(2, "f4") + ptir.as_tensor([1.0, 2.0]), np.array([2, 3], "f4"))


def test_a_number_that_does_not_fit_is_refused():
    for number in (300, -1):
        with pytest.raises(SpecError, match=f"{number} does not fit ui8"):
            ptir.as_tensor([1], "ui8") + number
    with pytest.raises(SpecError, match="wider dtype"):
        ptir.as_tensor([300], "ui8")


def test_a_number_beyond_the_largest_float_is_infinity():
    assert (ptir.as_tensor([1.0]) + 1e39).item() == np.inf


def test_unary_operators_are_numpys():
    a = np.array([-2, 0, 3], "i4")
    agree(-ptir.as_tensor(a), -a)
    agree(abs(ptir.as_tensor(a)), abs(a))
    agree(~ptir.as_tensor(a), ~a)
    agree(ptir.as_tensor(a) ** 2, a**2)
    agree(ptir.as_tensor(a).clip(-1, 2), a.clip(-1, 2))


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(SpecError, match=r"\(2\) and \(3\) do not broadcast"):
        ptir.zeros((2,)) + ptir.zeros((3,))


@pytest.mark.parametrize(
    "a, b",
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
     ((3,), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4)), ((2, 0), (0, 3)),
     ((0, 3), (3, 2))],
)  # fmt: skip
def test_matmul_is_numpys(a, b):
    x = np.arange(np.prod(a), dtype="f4").reshape(a)
    y = np.arange(np.prod(b), dtype="f4").reshape(b) - 3
    agree(ptir.as_tensor(x) @ ptir.as_tensor(y), np.asarray(x @ y))
    agree(x @ ptir.as_tensor(y), np.asarray(x @ y))


def test_matmul_of_a_scalar_or_of_other_lengths_is_refused():
    with pytest.raises(SpecError, match="the last axis of a must equal"):
        ptir.zeros((2, 3)) @ ptir.zeros((2, 3))
    with pytest.raises(SpecError, match="matmul"):
        ptir.zeros(()) @ ptir.zeros((2, 3))


# --- indexing ---


@st.composite
def indexed(draw, tensors):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    array = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    key = draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    keys = list(key) if isinstance(key, tuple) else [key]
    spots = [i for i, k in enumerate(keys) if isinstance(k, int)]
    if tensors:
        assume(spots)
        spot = draw(st.sampled_from(spots))
        before = keys[:spot]
        used = sum(k is not None and k is not Ellipsis for k in keys)
        axis = sum(k is not None and k is not Ellipsis for k in before)
        axis += (len(shape) - used) * any(k is Ellipsis for k in before)
        size = shape[axis]
        index = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
        keys[spot] = draw(hnp.arrays("int64", index, elements=st.integers(-size, size - 1)))
    return array, tuple(keys)


@given(indexed(tensors=False))
def test_indexing_is_numpys(case):
    array, key = case
    agree(ptir.as_tensor(array)[key], np.asarray(array[key]))


@given(indexed(tensors=True))
@example((np.zeros((0, 1, 1), "i4"), (slice(None), np.zeros((0, 1), "i8"), Ellipsis, 0)))
def test_indexing_with_an_integer_tensor_is_numpys(case):
    array, key = case
    lifted = tuple(ptir.as_tensor(k) if isinstance(k, np.ndarray) else k for k in key)
    agree(ptir.as_tensor(array)[lifted], np.asarray(array[key]))


def test_lists_arrays_and_numpy_integers_are_indices():
    a = np.arange(6).reshape(2, 3)
    agree(ptir.as_tensor(a)[:, [2, 0]], a[:, [2, 0]])
    agree(ptir.as_tensor(a)[np.array([1, -1], np.int8)], a[[1, 1]])
    agree(ptir.as_tensor(a)[np.int64(1), np.uint8(2)], np.asarray(a[1, 2]))


@pytest.mark.parametrize(
    "key, words",
    [(2, "index 2 is out of range for size 2"), (-3, "out of range"), ((0, 0, 0), "3 indices for"),
     ((..., ...), "may stand once"), (True, "a bool is no index"), ([0.5], "wanted integers"),
     (([0], [0]), "one integer tensor at most")],
)  # fmt: skip
def test_an_index_that_means_nothing_is_refused(key, words):
    with pytest.raises(SpecError, match=words):
        ptir.zeros((2, 3))[key]


def test_iteration_goes_over_the_first_axis():
    assert [row.tolist() for row in ptir.as_tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    with pytest.raises(TypeError, match="rank 0"):
        iter(ptir.as_tensor(1)).__next__()


# --- reductions and shapes ---

AXES = (None, 0, -1, (0, 2), (1,), ())


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 0, 4), (1, 1, 1)], ids=str)
def test_reductions_are_numpys(shape, axis, keepdims):
    array = (np.arange(np.prod(shape)) % 5).reshape(shape).astype("f8")
    kinds = ["sum", "prod"] + ["mean", "max", "min"] * (array.size > 0)
    for kind in kinds:
        wanted = np.asarray(getattr(np, kind)(array, axis=axis, keepdims=keepdims))
        agree(getattr(ptir.as_tensor(array), kind)(axis, keepdims), wanted, exact=False)
    for kind in ("any", "all"):
        wanted = np.asarray(getattr(np, kind)(array, axis=axis, keepdims=keepdims))
        agree(getattr(ptir.as_tensor(array), kind)(axis, keepdims), wanted)


@pytest.mark.parametrize("element", ["bool", "int8", "uint8", "int32", "uint16"])
def test_integers_add_and_multiply_in_64_bits(element):
    array = np.array([1, 1, 1] if element == "bool" else [100, 101, 102], element)
    agree(ptir.as_tensor(array).sum(), np.asarray(array.sum()))
    agree(ptir.as_tensor(array).prod(), np.asarray(array.prod()))


def test_the_mean_of_narrow_floats_does_not_overflow_on_the_way():
    assert ptir.as_tensor([60000.0] * 4, "f16").mean().item() == 60000
    assert ptir.as_tensor([60000.0] * 4, "f16").mean().dtype.name == "f16"
    assert ptir.as_tensor([1, 2]).mean().item() == 1.5


def test_arg_reductions_take_the_first_of_equals():
    array = np.array([[1, 3, 3], [2, 0, 0]], "f4")
    agree(ptir.as_tensor(array).argmax(1), array.argmax(1))
    agree(ptir.as_tensor(array).argmin(1), array.argmin(1))
    agree(ptir.as_tensor(array).cumsum(1), array.cumsum(1))


def test_shape_methods_are_numpys():
    array = np.arange(24, dtype="i4").reshape(2, 3, 4)
    t = ptir.as_tensor(array)
    agree(t.reshape(4, -1), array.reshape(4, -1))
    agree(t.reshape((6, 4)), array.reshape(6, 4))
    agree(t.transpose(2, 0, 1), array.transpose(2, 0, 1))
    agree(t.T, array.T)
    agree(t.swapaxes(0, -1), array.swapaxes(0, -1))
    agree(t.expand_dims(-1), array[..., None])
    agree(t.expand_dims(0), array[None])
    agree(t[:1].squeeze(0), array[0])
    agree(t[:1].broadcast_to(5, 3, 4), np.broadcast_to(array[:1], (5, 3, 4)))
    agree(ptir.concat([t, t], 1), np.concatenate([array, array], 1))
    agree(ptir.stack([t, t], -1), np.stack([array, array], -1))
    agree(ptir.where(array > 5, t, 0), np.where(array > 5, array, np.int32(0)))


def test_an_axis_out_of_range_is_refused():
    for call in (
        lambda t: t.sum(2), lambda t: t.expand_dims(3), lambda t: t.expand_dims(-4),
        lambda t: t.squeeze(2), lambda t: t.mean((0, 5)),
    ):  # fmt: skip
        with pytest.raises(SpecError, match="out of range"):
            call(ptir.zeros((2, 3)))


def test_joining_nothing_is_refused():
    with pytest.raises(SpecError, match="no tensors came"):
        ptir.concat([])


# --- making and reading ---


def test_python_numbers_become_f32_and_si64():
    for data, name in (
        (1, "si64"),
        (1.5, "f32"),
        (True, "i1"),
        ([1, 2.5], "f32"),
        ([[True]], "i1"),
    ):
        assert ptir.as_tensor(data).dtype.name == name
        assert ptir.as_tensor(data).tolist() == data


def test_the_data_of_a_tensor_is_copied():
    array = np.ones(3, "f4")
    kept, mixed = ptir.as_tensor(array), ptir.zeros((3,)) + array
    view = array[:]
    view.flags.writeable = False
    seen = ptir.zeros((3,)) + view
    array[:] = 7
    for tensor in (kept, mixed, seen):
        assert tensor.tolist() == [1, 1, 1]


def test_foreign_byte_order_is_made_native():
    t = ptir.as_tensor(np.array([1.0, 2.5], ">f4"))
    assert t.numpy().dtype.isnative
    assert (t + np.array([1, 1], ">i2")).tolist() == [2, 3.5]


def test_an_array_is_cast_as_astype_does():
    assert ptir.as_tensor(np.array([300.7, -5.0, np.nan]), "ui8").tolist() == [255, 0, 0]


def test_what_is_read_cannot_be_written():
    array = (ptir.as_tensor([1.0]) + 1).numpy()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 3


def test_numpy_takes_a_tensor_as_an_array():
    t = ptir.as_tensor([1.5, 2.5]) + 1
    assert np.asarray(t).tolist() == [2.5, 3.5]
    assert np.asarray(t, np.float64).dtype == np.float64
    assert np.array(t).flags.writeable
    with pytest.raises(ValueError, match="copy"):
        np.array(t, np.int32, copy=False)


@pytest.mark.parametrize("name", ["f32", "f64", "f16", "si8", "ui8", "si32", "si64", "i1", "c64"])
def test_dlpack_carries_the_value(name):
    t = ptir.as_tensor([0, 1, 1]).astype(name)
    assert np.from_dlpack(t).tolist() == t.tolist()
    taken = torch.from_dlpack(t)
    assert taken.tolist() == t.tolist()
    taken[0] = 1  # a copy: whoever takes it may write
    assert t.tolist()[0] == 0


@pytest.mark.parametrize("name", ["bf16", "f8e4m3", "f8e5m2", "si4", "ui4"])
def test_dlpack_refuses_what_consumers_cannot_take(name):
    with pytest.raises(BufferError, match=f"no NumPy form of {name}"):
        ptir.as_tensor([1]).astype(name).__dlpack__()


def test_bf16_reads_as_ml_dtypes():
    assert ptir.as_tensor([1.5], "bf16").numpy().dtype == ml_dtypes.bfloat16


def test_one_element_reads_as_a_python_number():
    t = ptir.as_tensor([[2]]) * 3
    assert (int(t), float(t), bool(t), t.item()) == (6, 6.0, True, 6)
    with pytest.raises(ValueError, match=r"size 1|one element"):
        ptir.as_tensor([1, 2]).item()


def test_repr_and_shape_run_nothing(plans):
    t = ptir.as_tensor([1.0, 2.0]) * 3 + 1
    assert repr(t) == "<Tensor f32[2]: add>"
    assert (t.shape, t.dtype.name, t.ndim, t.size) == ((2,), "f32", 1, 2)
    assert (plans.stats.misses, plans.stats.hits) == (0, 0)
    t.numpy()
    assert plans.stats.misses == 1
    assert repr(t) == "<Tensor f32[2]: data>"
    t.numpy()
    assert (plans.stats.misses, plans.stats.hits) == (1, 0)


def test_tensors_are_realized_together_in_one_program(plans):
    a = ptir.as_tensor([1.0])
    b, c = a + 1, (a + 1) * 2
    ptir.realize(b, c)
    assert plans.stats.misses == 1
    assert (b.tolist(), c.tolist()) == ([2], [4])


def test_tensors_of_two_backends_do_not_mix(backend):
    here = ptir.as_tensor([1.0], backend=backend.name)
    there = ptir.as_tensor([1.0], backend="elsewhere")
    with pytest.raises(SpecError, match=f"add: operands are on {backend.name} and elsewhere"):
        here + there
    assert (here + 1).backend == backend.name
    assert (here + ptir.as_tensor([1.0])).backend == backend.name


def test_an_argument_has_no_value_while_it_is_traced():
    for read in (lambda t: t.numpy(), lambda t: float(t + 1), lambda t: bool(t > 0)):
        with pytest.raises(SpecError, match="traced") as caught:
            ptir.trace(lambda t, read=read: read(t) or t, [tensor_type((), "f32")])
        assert caught.value.code == "traced"


def test_several_values_are_unpacked_first():
    pair = ops.top_k(ptir.as_tensor([3.0, 1.0, 2.0]), k=2)
    with pytest.raises(SpecError, match="unpack"):
        pair.numpy()
    best, at = pair.unpack()
    assert (best.tolist(), at.tolist()) == ([3, 2], [0, 2])


def test_eager_mode_runs_each_op_at_once(monkeypatch):
    lazy = ptir.as_tensor([3.0, 1.0]) + 1
    monkeypatch.setenv("PTIR_EAGER", "1")
    eager = ptir.as_tensor([3.0, 1.0]) + 1
    best, _ = ops.top_k(eager, k=1).unpack()
    assert repr(eager) == "<Tensor f32[2]: data>"
    assert repr(best) == "<Tensor f32[1]: data>"
    assert (eager.tolist(), best.tolist()) == (lazy.tolist(), [4])


def test_eager_mode_runs_what_stands_on_a_counter_or_on_a_lazy_tensor(monkeypatch):
    lazy = ptir.as_tensor([3, 1]) * 2
    monkeypatch.setenv("PTIR_EAGER", "1")
    counted, later = ptir.arange(2) + 1, lazy + 1
    assert repr(counted) == repr(later) == "<Tensor si64[2]: data>"
    assert (counted.tolist(), later.tolist()) == ([1, 2], [7, 3])


def test_swapaxes_refuses_an_axis_that_is_not_there():
    with pytest.raises(ptir.SpecError, match="axis 5 is out of range for rank 2"):
        ptir.zeros((2, 3)).swapaxes(0, 5)
    assert ptir.zeros((2, 3, 4)).swapaxes(0, -1).shape == (4, 3, 2)


def test_a_tensor_of_20000_steps_runs():
    t = ptir.as_tensor(0)
    for _ in range(20_000):
        t = t + 1
    assert t.item() == 20_000


def test_a_program_sees_data_by_identity_not_by_value():
    a, b = ptir.as_tensor([1.0]), ptir.as_tensor([1.0])
    assert a.node is not b.node
    _, sources = Program.capture([(a - b).node])
    assert sources == (a.node.attrs["source"], b.node.attrs["source"])
    assert leaf(sources[0]) is a.node
    assert isinstance(sources[0], engine.Held)
