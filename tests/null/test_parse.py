"""Programs from text: the identical program comes back; of anything else a located `SpecError`."""

import random
import re
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings

from ptir import ops
from ptir.ir import (
    OPS,
    Dim,
    Input,
    Program,
    Role,
    SpecError,
    constant,
    from_json,
    parse_dim,
    parse_program,
    parse_type,
    print_program,
    tensor_type,
    to_json,
)
from tests.programs import dims, programs, sample_programs, types

ROW = tensor_type((Dim.symbol("B"), 4), "f32")
SAMPLES = dict(sample_programs())


def main(*lines: str, version: str = "ptir.v1") -> str:
    return "\n".join([f"program @main ({version}) {{", *lines, "}"])


X = "  %0: f32[4] = argument(0)"


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(programs())
def test_print_then_parse_is_the_identical_program(program):
    text = print_program(program, literals=True)
    again = parse_program(text)
    assert again == program
    assert again.nodes == program.nodes
    assert print_program(again, literals=True) == text


@pytest.mark.parametrize("name", SAMPLES)
def test_every_op_sample_prints_and_parses_to_itself(name):
    text = print_program(SAMPLES[name], literals=True)
    assert parse_program(text) == SAMPLES[name]


@given(types)
def test_a_type_is_read_back(type):
    assert parse_type(str(type)) == type


@given(dims())
def test_a_size_is_read_back(size):
    assert parse_dim(str(size)) == size


def test_sizes_are_normalised_whatever_their_order():
    s, t = Dim.symbol("S"), Dim.symbol("T")
    assert parse_dim(" 1 + 2*?T - ?S + 3 * ?S - 5") == s * 2 + t * 2 - 4
    assert parse_dim("?S-?S") == 0
    assert parse_type("(f32[2], (), (si4[?S+1]))") == parse_type("( f32[2],(),( si4[1+?S] ) )")


def test_comments_spaces_and_any_numbering_are_read():
    text = """
    # a dump
    program @main (ptir.v1) { // the entry
      %7: f32[4]=argument(0)   # the row
      %3 : f32[4] = exp( %7 )//last
      return %3 } #"""
    assert parse_program(text) == Program.of([tensor_type((4,), "f32")], lambda x: ops.exp(x))


def test_a_plain_number_is_a_scalar_of_the_operand():
    text = main(
        X, "  %1: f32[6] = pad(%0) {high=[1], interior=[0], low=[1], value=0.5}", "return %1"
    )
    assert "value=f32 0.5" in str(parse_program(text))


def test_twenty_thousand_nodes_in_a_chain_print_and_parse_in_seconds():
    def build(x):
        for _ in range(20_000):
            x = ops.exp(x)
        return x

    program = Program.of([ROW], build)
    start = time.process_time()
    text = str(program)
    again = parse_program(text)
    took = time.process_time() - start
    assert again == program
    assert str(again) == text
    assert took < 4  # a quadratic walk would take minutes; what is usual is 0.6


VALUES = (
    0.0, -0.0, -1.5, 1e22, 5e-324, 1.7976931348623157e308, float("inf"), -float("inf"),
    float("nan"), 0, -1, 1 << 127, -(1 << 127), True, False, None, "", 'a"\\\n\x7fé😀', (),
    (1, (2.0, "x")), ROW.dtype, Dim.symbol("B"), -Dim.symbol("B"), Dim.symbol("B") * -3 + 7,
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("way", [lambda p: parse_program(str(p)), lambda p: from_json(to_json(p))])
def test_every_kind_of_attribute_value_is_read_back(value, way):
    given = {"a b": value, "": (value,)}
    kernel = {"target": "test.any.v1", "type": ROW, "attributes": given}
    program = Program.of([ROW], lambda x: ops.custom_call(x, **kernel))
    (again,) = way(program).results
    assert again.attrs["attributes"] == program.results[0].attrs["attributes"]
    assert repr(again.attrs["attributes"]["a b"]) == repr(value)


def test_states_and_unused_inputs_keep_slot_role_and_name():
    inputs = [Input(ROW, name="x"), Input(ROW, Role.PARAMETER), Input(ROW, Role.STATE, "kv\n")]
    program = Program.of(inputs, lambda x, w, s: s)
    assert parse_program(str(program)).inputs == tuple(inputs)


# --- what is refused ---

DEEP = 70
REFUSED = [
    ("", "parse", "there is no program @main"),
    ("program", "parse", "line 1, column 8: the end came"),
    ("program main (ptir.v1) {}", "parse", "column 9: 'main' came, wanted a name such as @main"),
    (main("return", version="ptir.v2"), "version", "'ptir.v2', this reader knows 'ptir.v1'"),
    (main("return").replace("@main", "@body.0"), "parse", "there is no program @main"),
    (main("return") + main("return"), "parse", "@main is defined twice"),
    (main("return") + main("return").replace("main", "f"), "parse", "is the last"),
    (main("return %0"), "parse", "line 2, column 8: %0 is used before it is defined"),
    (main(X, X), "parse", "'0' came, wanted 1, the slot"),
    (main(X, "%0: f32[4] = exp(%0)", "return"), "parse", "line 3, column 1: %0 is defined twice"),
    (main(X, "%1: f32[4] = epx(%0)"), "parse", "unknown op 'epx'; did you mean 'exp'?"),
    (main(X, "%1: f32[4] = param(%0)"), "parse", "cannot be written"),
    (main(X, "%1: f32[5] = exp(%0)"), "type", "line 3, column 1: declared f32[5], inferred f32[4]"),
    (main(X, "%1: f32[4] = exp(%0, %0)"), "arity", "line 3, column 1: 2 operands came"),
    (main(X, "%1: f32[4] = exp(%0) {axis=1}"), "attribute", "unknown attribute 'axis'"),
    (main(X, '%1: f32[] = reduce(%0) {kind="sum", axes=[4]}'), "attribute", "out of range"),
    (main(X, "%1: f32[4] = exp(%0) {a=1, a=2}"), "parse", "given twice"),
    (main("%0: g32[4] = argument(0)"), "parse", "unknown dtype 'g32'"),
    (main("%0: f32[-1] = argument(0)"), "shape", "negative size"),
    (main(f"%0: f32[{1 << 63}] = argument(0)"), "parse", "64 bits"),
    (main(f"%0: f32[{'1, ' * 33}1] = argument(0)"), "parse", "more than 32 axes"),
    (main("%0: f32[?] = argument(0)"), "parse", "wanted a symbol"),
    (main("%0: " + "(" * DEEP + ")" * DEEP + " = argument(0)"), "parse", "nest deeper"),
    (main('%0: f32[] = parameter("\\ud800")'), "parse", "half a surrogate pair"),
    (main('%0: f32[] = parameter("abc)'), "parse", "wanted a string"),
    (main("%0: f32[] = parameter('abc')"), "parse", "wanted a string"),
    (main("%0: f32[] = parameter(" + "9" * 300 + ")"), "parse", "longer than 256"),
    (main("%0: f32[] = state(0)", "return"), "state", "needs a result"),
    (main("%0: f32[?S] = iota() {shape=[?S], dtype=f32, axis=0}", "return %0"), "dim", "?S"),
    (main("%0: f32[] = constant() {value=@f.0}"), "parse", "'f.0' is used before"),
    (main("%0: f32[] = constant() {value=" + "[" * DEEP), "parse", "nest deeper"),
    (main("%0: f32[] = constant() {value=" + "{a=" * DEEP), "parse", "nest deeper"),
    (main("%0: si32[] = constant() {value=si32 " + "9" * 250 + "}"), "parse", "not an integer of"),
    (main("%0: si32[] = constant() {value=si32 0.5}"), "parse", "not an integer of"),
    (main("%0: i1[] = constant() {value=i1 1}"), "parse", "not true or false"),
    (main("%0: f32[] = constant() {value=f32 1e39}"), "parse", "out of range for f32"),
    (main("%0: f64[] = constant() {value=f64 1e999}"), "parse", "out of range"),
    (main("%0: f8e4m3[] = constant() {value=f8e4m3 inf}"), "parse", "out of range for f8e4m3"),
    (main("%0: f16[] = constant() {value=f16 0x12345}"), "parse", "wider than f16"),
    (main("%0: c64[] = constant() {value=c64 1.0}"), "parse", "wanted '('"),
    (main("%0: f32[2] = constant() {value=f32[2] [1]}"), "parse", "has 2 elements, 1 came"),
    (main("%0: f32[2] = constant() {value=f32[2] [1,2,3]}"), "parse", "more elements than the 2"),
    (main('%0: f32[2] = constant() {value=f32[2] hex"00"}'), "parse", "is 8 bytes, 1 came"),
    (main('%0: i1[1] = constant() {value=i1[1] hex"02"}'), "parse", "0 or 1"),
    (main('%0: si4[1] = constant() {value=si4[1] hex"f1"}'), "parse", "last nibble"),
    (main('%0: f32[2] = constant() {value=f32[2] hex"0"}'), "parse", "even number"),
    (main("%0: f32[9] = constant() {value=f32[9] #0123456789abcdef}"), "parse", "literals=True"),
    (main("%0: f32[?S] = constant() {value=f32[?S] []}"), "dim", "symbolic"),
    (
        main(f"%0: f32[0,{1 << 62}] = constant() {{value=f32[0,{1 << 62}] []}}"),
        "parse",
        "too large",
    ),
    (
        main(X, '%1: f32[4] = composite(%0) {name="f", attributes=3, body=3}'),
        "attribute",
        "Mapping",
    ),
]


@pytest.mark.parametrize("text, code, message", REFUSED)
def test_what_is_wrong_is_named_with_code_line_and_column(text, code, message):
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        parse_program(text)
    assert caught.value.code == code
    assert re.match(r"line \d+, column \d+: ", caught.value.message)


def test_text_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(SpecError, match="101 characters are over the limit of 100"):
        parse_program(" " * 101, limit=100)


def test_regions_nested_too_deep_are_refused():
    body = Program.of([ROW], lambda x: ops.exp(x))
    for depth in range(2, 66):
        inner = body
        body = Program.of([ROW], lambda x, inner=inner: ops.call(x, body=inner))
        if depth == 64:
            assert parse_program(str(body)) == body
    with pytest.raises(SpecError, match="regions nest deeper than 64"):
        parse_program(str(body))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 250_000,
        '"\\' * 125_000,
        "# " * 125_000,
        "\n" * 250_000,
        "%0" * 125_000,
        '"' + "a" * 250_000,
        "a" * 250_000,
        main("%0: f32[" + "?A+" * 80_000),
        main("%0: f32[4] = constant() {value=[" + "[], " * 60_000),
        main('%0: f32[9] = constant() {value=f32[9] hex"' + "0" * 250_000 + '"}'),
    ],
    ids=range(10),
)
def test_much_of_anything_is_refused_quickly_and_in_little_memory(text):
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(SpecError):
        parse_program(text)
    assert time.process_time() - start < 3
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def mutants(texts: list[str], count: int) -> list[str]:
    """Texts with one or two characters or words changed, always the same ones."""
    rng = random.Random(2)
    letters = "()[]{}<>%@?#\"\\'=:,.+-*/ \n0189azAZ_é\x00"
    words = re.compile(r"\w+|[^\w\s]")
    pool = [*words.findall(" ".join(texts)), "none", "-1", "999999999999", "f32[]", "()", "nan"]
    found = []
    for _ in range(count):
        text = rng.choice(texts)
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(text))
            word = rng.choice(list(words.finditer(text)))
            text = rng.choice(
                (
                    text[:at] + rng.choice(letters) + text[at + 1 :],
                    text[:at] + rng.choice(letters) + text[at:],
                    text[:at] + text[at + 1 :],
                    text[: word.start()] + rng.choice(pool) + text[word.end() :],
                    text[: word.start()] + rng.choice(pool) + text[word.end() :],
                )
            )
        found.append(text)
    return found


def test_mutants_of_valid_text_are_typed_errors_or_programs():
    def build(x, pair):
        y = ops.dot_general(x, constant([[1.5]] * 4, "f32"), contract_lhs=[1], contract_rhs=[0])
        z = ops.composite(
            x, name="f", attributes={"axis": -1, "d": ROW.dtype}, body=Program.of([ROW], ops.exp)
        )
        return ops.reduce(y, kind="sum", axes=[0]), ops.item(pair, index=1), ops.tuple_(z, y)

    rich = Program.of([ROW, parse_type("(f32[2], si32[?B+1])")], build)
    texts = [str(rich), *(print_program(p, literals=True) for p in SAMPLES.values())]
    texts = [t for t in texts if len(t) < 4000]
    accepted = 0
    for mutant in mutants(texts, 6000):
        try:
            program = parse_program(mutant)
        except SpecError:
            continue
        accepted += 1
        assert parse_program(print_program(program, literals=True)) == program
    assert accepted > 100


@pytest.mark.parametrize("op", [name for name in OPS if name not in ("param", "leaf")])
def test_no_op_breaks_on_operands_and_attributes_that_it_did_not_expect(op):
    rng = random.Random(op)
    given = ["1", "-1", "none", "true", "0.5", "nan", '"sum"', "f32", "f32[2]", "()", "?S", "[]"]
    given += [
        "[1]",
        "[[1, 2]]",
        "[?B]",
        "{}",
        "{a=1}",
        "f32 1.0",
        "@f.0",
        f"{1 << 100}",
        "[-1, -1]",
    ]
    types = [
        "f32[?B, 2]",
        "()",
        "(f32[2], si32[])",
        "i1[]",
        "si32[2]",
        "f32[]",
        "ui32[2]",
        "si4[3, 3]",
    ]
    for _ in range(60):
        count = rng.randrange(4)
        lines = [f"%{n}: {rng.choice(types)} = argument({n})" for n in range(count)]
        operands = ", ".join(f"%{n}" for n in range(count))
        attrs = ", ".join(f"{name}={rng.choice(given)}" for name in OPS[op].attrs)
        text = main("return").replace("main", "f.0")
        text += main(*lines, f"%9: f32[] = {op}({operands}) {{{attrs}}}", "return %9")
        with suppress(SpecError):  # anything else is the op's mistake
            parse_program(text)
