"""The elementwise kernel as an engine: shapes, layouts, threads, registers. Knows no values."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ptir.backends.native.library import library
from ptir.ir import SpecError, TensorType, dtype
from ptir.ir.op import OPS
from tests.native.calling import Refused, call, levels
from tests.native.chains import meaning, run
from tests.native.layouts import FLOATS, LAYOUTS, SIZES, WHOLE, laid, same, some

BY_LEVEL = pytest.mark.parametrize("level", levels())
DTYPES = (*FLOATS, np.float64, np.int8, np.uint16, np.int32, np.int64)
NATIVE = ("i1", *(dtype(x).name for x in WHOLE), "bf16", "f16", "f32", "f64")


def name_of(kind: Any) -> str:
    return dtype(np.dtype(kind)).name


def add(kind: Any) -> tuple[Any, ...]:
    return ("add", name_of(kind), 2, 0, 1)


# --- layouts and shapes ---


@BY_LEVEL
@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_and_result_may_lie_in_any_layout(level, kind, layout):
    shapes = [(n,) for n in SIZES] + [(m, n) for n in SIZES for m in (1, 3, 20)]
    for shape in shapes:
        x, y = some(shape, kind, 1), some(shape, kind, 2)
        wanted = meaning([x, y], add(kind))
        for other in LAYOUTS:
            out = laid(np.zeros(shape, kind), other)
            run(out, [laid(x, layout), laid(y, other)], add(kind), level=level)
            assert same(out, wanted), (shape, other)


@BY_LEVEL
@pytest.mark.parametrize("kind", [np.float32, ml_dtypes.bfloat16, np.int64, np.int8])
@pytest.mark.parametrize(
    "shape, other",
    [
        ((4, 700), (700,)),
        ((700, 4), (700, 1)),
        ((5, 1, 600), (1, 3, 1)),
        ((3, 4, 5), (4, 1)),
        ((2, 3, 4, 5, 6), (3, 1, 5, 1)),
        ((40, 64), ()),
        ((3, 1030), (3, 1)),
        ((2, 2, 2, 2, 2, 2, 2, 9), (2, 1, 2, 1, 2, 1, 9)),
        ((3, 40, 64), (3, 1, 64)),
    ],
)
def test_broadcasting_is_by_strides_of_zero(level, kind, shape, other):
    x, y = some(shape, kind, 1), some(other, kind, 2)
    full = np.broadcast_shapes(shape, other)
    for operands in ([x, y], [y, x]):
        views = [np.broadcast_to(a, full) for a in operands]
        out = np.zeros(full, kind)
        run(out, views, add(kind), level=level)
        assert same(out, meaning(views, add(kind)))


@BY_LEVEL
def test_axes_in_any_order_meet(level):
    x = some((6, 70, 11), np.float32)
    out = np.zeros((11, 6, 70), np.float32)
    run(out, [x.transpose(2, 0, 1), np.ascontiguousarray(x.transpose(2, 0, 1))], add("f4"),
        level=level)  # fmt: skip
    assert same(out, 2 * x.transpose(2, 0, 1))
    turned = np.zeros((70, 11, 6), np.float32).transpose(2, 0, 1)
    run(turned, [x, x[::-1]], add("f4"), level=level)
    assert same(turned, x + x[::-1])


@BY_LEVEL
def test_an_element_without_axes_is_computed(level):
    out = np.zeros((), np.float32)
    run(out, [np.array(2, np.float32), np.array(3, np.float32)], add("f4"), level=level)
    assert out == 5


@BY_LEVEL
@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("size", [1, 63, 65, 1024, 1100])
def test_nothing_beside_the_result_is_written(level, kind, size):
    for step in (1, 2):
        room = np.full(step * size + 200, 7, kind)
        x = some(size, kind)
        run(room[100 : 100 + step * size : step], [x, x], add(kind), level=level)
        wanted = np.full(room.shape, 7, kind)
        wanted[100 : 100 + step * size : step] = meaning([x, x], add(kind))
        assert same(room, wanted)


# --- threads and places ---

CHAIN = (
    ("mul", "f32", 3, 0, 1),
    ("tanh", "f32", 4, 3),
    ("add", "f32", 3, 4, 2),
    ("logistic", "f32", 5, 3),
    ("mul", "f32", 3, 5, 0),
)


@BY_LEVEL
@pytest.mark.parametrize("shape", [(70_001,), (130, 777), (9000, 3), (3, 5, 1024)])
def test_two_threads_compute_the_bits_of_one(level, shape):
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    y = np.broadcast_to(x[..., :1], shape)
    found = [np.zeros(shape, np.float32) for _ in range(2)]
    for threads, out in enumerate(found, 1):
        run(out, [x, y, x], *CHAIN, threads=threads, level=level)
    assert found[0].tobytes() == found[1].tobytes()


@BY_LEVEL
def test_an_element_does_not_depend_on_where_it_stands(level):
    x = np.random.default_rng(3).normal(scale=1e4, size=1100).astype(np.float32)
    for name in ("sin", "exp", "erf", "tanh", "log1p"):
        whole = np.zeros_like(x)
        run(whole, [x], (name, "f32", 1, 0), level=level)
        for at in (1, 5, 1000):
            part = np.zeros_like(x[at:])
            run(part, [x[at:]], (name, "f32", 1, 0), level=level)
            assert part.tobytes() == whole[at:].tobytes()


@BY_LEVEL
@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("shape", [(70_000,), (30, 33), (3, 1030), (1,)])
def test_the_result_may_replace_an_operand(level, kind, shape):
    for layout in LAYOUTS:
        x, y = laid(some(shape, kind, 1), layout), some(shape, kind, 2)
        steps = (("mul", name_of(kind), 2, 0, 1), ("sub", name_of(kind), 3, 2, 0))
        wanted = meaning([x.copy(), y], *steps)
        run(x, [x, y], *steps, threads=2, level=level)
        assert same(x, wanted), layout


# --- chains ---


@BY_LEVEL
@pytest.mark.parametrize("kind", [*FLOATS, np.float64])
def test_a_chain_rounds_after_every_op(level, kind):
    x, y, z = (
        np.random.default_rng(i).normal(size=(3, 1100)).astype(kind) for i in range(3)
    )  # fmt: skip
    name = name_of(kind)
    steps = (
        ("mul", name, 3, 0, 1),
        ("add", name, 4, 3, 2),
        ("div", name, 3, 4, 0),
        ("sqrt", name, 5, 3),
        ("abs", name, 6, 3),
        ("sqrt", name, 5, 6),
        ("sub", name, 3, 5, 1),
    )
    out = np.zeros(x.shape, kind)
    run(out, [x, y, z], *steps, level=level)
    assert same(out, meaning([x, y, z], *steps))


@BY_LEVEL
def test_a_chain_goes_through_several_types(level):
    x = np.random.default_rng(1).normal(scale=100, size=2050).astype(ml_dtypes.bfloat16)
    y = some(2050, np.int16, 2)
    steps = (
        ("cast", "bf16", 2, 0, "f32"),
        ("cast", "si16", 3, 1, "f32"),
        ("compare_gt", "f32", 4, 2, 3),
        ("mul", "f32", 5, 2, 3),
        ("select", "f32", 6, 4, 5, 3),
        ("cast", "f32", 7, 6, "f16"),
        ("add", "f16", 8, 7, 7),
        ("cast", "f16", 9, 8, "si8"),
        ("not", "si8", 10, 9),
    )
    for upto, kind in [(3, np.bool_), (7, np.float16), (9, np.int8)]:
        out: Any = np.zeros(2050, kind)
        part = steps[:upto]
        run(out, [x, y], *part, level=level)
        assert same(out, meaning([x, y], *part)), upto


@BY_LEVEL
def test_a_register_may_be_read_and_written_by_one_instruction(level):
    x = some(1500, np.float32)
    steps = (("add", "f32", 1, 0, 0), ("mul", "f32", 1, 1, 1), ("sub", "f32", 1, 1, 0))
    out = np.zeros_like(x)
    run(out, [x], *steps, level=level)
    assert same(out, meaning([x], *steps))


@BY_LEVEL
def test_sixty_four_registers_fit(level):
    inputs = [some(700, ml_dtypes.bfloat16, i) for i in range(32)]
    steps = [("add", "bf16", 32, 0, 1)]
    steps += [("add", "bf16", 32 + i, 31 + i, i) for i in range(1, 32)]
    out = np.zeros_like(inputs[0])
    run(out, inputs, *steps, level=level)
    assert same(out, meaning(inputs, *steps))


# --- what is refused ---


@BY_LEVEL
def test_calls_that_are_not_chains_are_refused(level):
    x, out = np.ones(3, np.float32), np.zeros(3, np.float32)
    add = library().elementwise["add"]
    f32, complex_ = library().dtypes["f32"], library().dtypes["c64"]
    code = (add, f32, 1, 0, 0, 0)
    for head, words in [
        ((1, 0, 2), ()),
        ((1, 1, 1), code),
        ((1, 1, 65), code),
        ((1, 1, 2), (add, complex_, 1, 0, 0, 0)),
        ((1, 1, 2), (999, f32, 1, 0, 0, 0)),
        ((1, 1, 2), (add, f32, 0, 0, 0, 0)),
        ((1, 1, 2), (add, f32, 1, 0, 2, 0)),
    ]:
        with pytest.raises(Refused):
            call("elementwise", *head, out, x, *words, level=level)
    with pytest.raises(Refused):
        call("elementwise", 1, 1, 2, np.zeros(3, np.int32), x, *code, level=level)


@BY_LEVEL
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "name, wrong", [("div", 0), ("rem", 0), ("pow", -1), ("shift_left", -1), ("shift_right", -2)]
)
def test_a_value_that_the_reference_refuses_is_refused(level, threads, name, wrong):
    for kind in (np.int8, np.int16, np.int32, np.int64):
        for size in (1, 70, 30_000):
            x, y = np.ones(size, kind), np.ones(size, kind)
            y[-1] = wrong
            with pytest.raises(Refused):
                run(np.zeros(size, kind), [x, y], (name, name_of(kind), 2, 0, 1),
                    threads=threads, level=level)  # fmt: skip
            with pytest.raises(SpecError):
                meaning([x, y], (name, name_of(kind), 2, 0, 1))


def takes(instruction: str, name: str) -> bool:
    """Whether the type rule of the instruction's op takes operands of this dtype."""
    x, chosen = TensorType((3,), dtype(name)), TensorType((3,), dtype("i1"))
    operator = instruction.removeprefix("compare_")
    op = OPS["compare" if operator != instruction else instruction]
    operands = [chosen, x, x] if op.name == "select" else [x] * op.arity[0]
    attrs: dict[str, dict[str, Any]]
    attrs = {"cast": {"dtype": dtype(name)}, "compare": {"op": operator}}
    try:
        op.infer(*operands, **attrs.get(op.name, {}))
    except SpecError:
        return False
    return True


def test_every_instruction_takes_the_types_that_its_op_takes():
    for instruction in library().elementwise:
        for name in NATIVE:
            known = library().supports(instruction, name)
            assert known == takes(instruction, name), (instruction, name)


def test_complex_and_eight_bit_floats_are_left_to_the_reference():
    for name in ("c64", "c128", "f8e4m3", "f8e5m2", "si4", "ui4"):
        assert not any(library().supports(x, name) for x in library().elementwise)
