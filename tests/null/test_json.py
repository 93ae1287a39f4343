"""Programs as JSON and back: the machine form says the same as the text, and trusts as little."""

import json
import random
import re
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ptir import ops
from ptir.ir import (
    Dim,
    Program,
    SpecError,
    constant,
    from_json,
    leaf,
    tensor_type,
    to_json,
)
from ptir.ir.node import Source
from tests.programs import programs, sample_programs

ROW = tensor_type((Dim.symbol("B"), 4), "f32")
SAMPLES = dict(sample_programs())


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(programs())
def test_json_gives_back_the_identical_program(program):
    text = to_json(program)
    again = from_json(text)
    assert again == program
    assert to_json(again) == text


@pytest.mark.parametrize("name", SAMPLES)
def test_every_op_sample_goes_through_json(name):
    assert from_json(to_json(SAMPLES[name])) == SAMPLES[name]


def test_the_form_is_as_documented():
    body = Program.of([ROW], lambda x: ops.exp(x))
    attributes = {"n": float("nan"), "k": (1, -0.0), "d": ROW.dtype, "s": Dim.symbol("B") * 2 + 1}
    program = Program.of(
        [ROW], lambda x: ops.composite(x, name="f", body=body, attributes=attributes)
    )
    assert json.loads(to_json(program)) == {
        "version": "ptir.v1",
        "programs": [
            {
                "name": "f.0",
                "inputs": [{"type": "f32[?B, 4]", "role": "argument", "name": None}],
                "nodes": [{"op": "exp", "operands": [0], "attrs": {}, "type": "f32[?B, 4]"}],
                "results": [1],
            },
            {
                "name": "main",
                "inputs": [{"type": "f32[?B, 4]", "role": "argument", "name": None}],
                "nodes": [
                    {
                        "op": "composite",
                        "operands": [0],
                        "attrs": {
                            "attributes": {
                                "attrs": {
                                    "d": {"dtype": "f32"},
                                    "k": [1, -0.0],
                                    "n": {"float": "nan"},
                                    "s": {"dim": "2*?B+1"},
                                }
                            },
                            "body": {"program": "f.0"},
                            "name": "f",
                        },
                        "type": "f32[?B, 4]",
                    }
                ],
                "results": [1],
            },
        ],
    }


def test_a_literal_is_its_packed_bytes():
    document = json.loads(to_json(Program((), (constant([1, -1, 7], "si4"),))))
    value = document["programs"][0]["nodes"][0]["attrs"]["value"]
    assert value == {"literal": {"type": "si4[3]", "data": "8Qc="}}  # bytes f1 07


def test_a_graph_that_holds_data_is_refused():
    class Data(Source):
        type = tensor_type((2,), "f32")

        def load(self):
            raise AssertionError("writing loads nothing")

    with pytest.raises(SpecError, match="capture the graph first"):
        to_json(Program((), (leaf(Data()),)))


def test_twenty_thousand_nodes_go_through_json_in_seconds():
    def build(x):
        for _ in range(20_000):
            x = ops.exp(x)
        return x

    program = Program.of([ROW], build)
    start = time.process_time()
    assert from_json(to_json(program)) == program
    assert time.process_time() - start < 5  # a quadratic walk would take minutes


# --- what is refused ---


def document(**change: Any) -> dict[str, Any]:
    """A program of one constant, with parts of the constant's node replaced."""
    literal = {"literal": {"type": "f32[]", "data": "AAAAAA=="}}
    node = {"op": "constant", "operands": [], "attrs": {"value": literal}, "type": "f32[]"}
    main = {"name": "main", "inputs": [], "nodes": [node | change], "results": [0]}
    return {"version": "ptir.v1", "programs": [main]}


def value(value: Any) -> dict[str, Any]:
    return document(attrs={"value": value})


def literal(type: str, data: str) -> dict[str, Any]:
    return value({"literal": {"type": type, "data": data}})


def deep(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


REFUSED = [
    ([], "parse", "the document is no object"),
    ({"version": "ptir.v1"}, "parse", "lacks the field 'programs'"),
    (document() | {"more": 1}, "parse", "has a field 'more'"),
    (document() | {"version": "ptir.v2"}, "version", "'ptir.v2', this reader knows 'ptir.v1'"),
    (document() | {"version": 1}, "version", "this reader knows 'ptir.v1'"),
    (document() | {"programs": []}, "parse", "no program @main"),
    (document() | {"programs": [1]}, "parse", "programs[0]: a program is no object"),
    (document(op="costant"), "parse", "programs[0].nodes[0]: unknown op 'costant'; did you mean"),
    (document(operands=[0]), "parse", "%0 is used before"),
    (document(operands=[True]), "parse", "named by its number"),
    (document(operands="0"), "parse", "operands is no list"),
    (document(type="f32[2]"), "type", "nodes[0]: declared f32[2], inferred f32[]"),
    (document(type="f32[2"), "parse", "nodes[0]: 'f32[2', line 1, column 6: the end came"),
    (document(type=1), "parse", "a type is no string"),
    (document(attrs=[]), "parse", "attrs is no object"),
    (document(attrs={}), "attribute", "'value' (literal) is missing"),
    (value({}), "parse", "has one of the tags"),
    (value({"dtype": "f32", "dim": "?S"}), "parse", "has one of the tags"),
    (value({"dtype": "g32"}), "parse", "has one of the tags"),
    (value({"float": "1.0"}), "parse", "has one of the tags"),
    (value({"dim": "?"}), "parse", "wanted a symbol"),
    (value({"program": "f"}), "parse", "'f' is used before"),
    (value({"program": "main"}), "parse", "'main' is used before"),
    (value(1 << 128), "parse", "wider than 128 bits"),
    (value("\ud800"), "parse", "half a surrogate pair"),
    (value(deep(70)), "parse", "nest deeper than 64"),
    (literal("f32[]", "AAAA"), "parse", "f32[] is 4 bytes, 3 came"),
    (literal("f32[]", "!AAA"), "parse", "not base64"),
    (literal("f32[]", "é"), "parse", "not base64"),
    (literal("()", ""), "parse", "is no tensor"),
    (literal("f32[?S]", ""), "dim", "symbolic"),
    (literal(f"f32[{1 << 40}, {1 << 40}]", ""), "parse", "too large"),
    (literal("i1[]", "Ag=="), "parse", "0 or 1"),
]


@pytest.mark.parametrize("data, code, message", REFUSED, ids=range(len(REFUSED)))
def test_what_is_wrong_is_named_with_code_and_place(data, code, message):
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        from_json(json.dumps(data))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        '{"a":' * 100_000,
        b"\xff\xfe\xfd",
        '{"version": "ptir.v1", "version": "ptir.v1", "programs": []}',
        '{"version": NaN, "programs": []}',
        '{"version": ' + "9" * 5000 + ', "programs": []}',
        " " * 101,
    ],
    ids=range(9),
)
def test_what_is_no_json_is_a_typed_error_at_once(text):
    start = time.process_time()
    with pytest.raises(SpecError) as caught:
        from_json(text, limit=100 if text == " " * 101 else 1 << 20)
    assert caught.value.code == "parse"
    assert time.process_time() - start < 1


def parts(data: Any) -> list[tuple[Any, Any]]:
    """Every place in a document, as its container and key."""
    found = []
    todo = [data]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                todo.append(holder[key])
    return found


def test_mutants_of_valid_documents_are_typed_errors_or_programs():
    texts = [t for t in map(to_json, SAMPLES.values()) if len(t) < 3000]
    rng = random.Random(3)
    odd: list[Any] = [
        None,
        True,
        -1,
        0,
        3,
        1 << 70,
        0.5,
        "",
        "f32",
        "f32[?B]",
        [],
        {},
        [0],
        {"float": "nan"},
    ]
    odd += [{"dtype": "f32"}, {"attrs": {}}, {"type": "()"}, {"dim": "?B"}, deep(100)]
    accepted = 0
    for _ in range(6000):
        data = json.loads(rng.choice(texts))
        holder, key = rng.choice(parts(data))
        source, where = rng.choice(parts(data))
        holder[key] = rng.choice([rng.choice(odd), json.loads(json.dumps(source[where]))])
        text = json.dumps(data)
        if rng.random() < 0.2:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice('{}[]",:0e-\\') + text[at + 1 :]
        try:
            program = from_json(text)
        except SpecError:
            continue
        accepted += 1
        assert from_json(to_json(program)) == program
    assert accepted > 100
