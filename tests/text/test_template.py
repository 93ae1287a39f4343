"""Chat templates in their process: what they may take, and what remains when they take more."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ptir.text import ChatError, Limits, template
from ptir.text.template import MAX_TEMPLATE, Renderer


@pytest.fixture(scope="module")
def renderer():
    with Renderer() as made:
        yield made


def process(renderer: Renderer) -> "subprocess.Popen[bytes]":
    assert renderer._child is not None
    return renderer._child._process


@pytest.mark.parametrize(
    "source, text",
    [
        ("{{ x }}{{ y | default('-') }}", "1-"),
        ("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}"
         "{% break %}{% endif %}{{ i }}{% endfor %}", "013"),
        ("a\n{% if true %}\n  b\n  {% endif %}\nc", "a\n  b\nc"),
        ("{% generation %}said{% endgeneration %}", "said"),
        ("{{ {'a': '<é>', 'b': [1, None, true]} | tojson }}", '{"a": "<é>", "b": [1, null, true]}'),
        ("{{ '<é🙂>' | tojson(ensure_ascii=True) }}", '"<\\u00e9\\ud83d\\ude42>"'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=True) }}", '{\n  "a": 2,\n  "b": 1\n}'),
        ("{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}"
         "{{ ns.n }}", "3"),
        ("{{ 'a b' | wordwrap(1) }}{{ [1] | pprint }}{{ '<b>&lt;' | striptags }}", "a\nb[1]<"),
        ("{{ [3] | random }}{{ 'http://a.b' | urlize | length > 9 }}", "3True"),
    ],
)  # fmt: skip
def test_a_template_has_what_it_is_written_for(renderer, source, text):
    assert renderer.render(source, {"x": 1}) == text


def test_the_time_is_that_of_the_caller(renderer):
    before = time.strftime("%Y-%m-%d %H")
    assert renderer.render("{{ strftime_now('%Y-%m-%d %H') }}", {}) in (
        before,
        time.strftime("%Y-%m-%d %H"),
    )


HOSTILE = [
    ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "time"),
    ("{{ 9 ** (9 ** 9) }}", "time"),
    ("{{ 'a' * 10 ** 10 }}", "memory"),
    ("{% set x = 'a' * 10 ** 10 %}", "memory"),
    ("{{ [0] * 10 ** 9 }}", "memory"),
    ("{{ 'x'.center(10 ** 10) }}", "memory"),
    ("{{ ('%0' ~ 10 ** 9 ~ 'd') % 1 }}", "memory"),
    ("{{ '{:>999999999}'.format(1) }}", "memory"),
    ("{% for i in range(99999) %}{{ 'a' * 999 }}{% endfor %}", "output"),
    ("{% for i in range(10 ** 9) %}{% endfor %}", "failed"),
    ("{{ 1 / 0 }}", "failed"),
    ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "failed"),
    ("{{" + "(" * 9999 + "1" + ")" * 9999 + "}}", "failed"),
    ("{% include '/etc/passwd' %}", "failed"),
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "security"),
    ("{{ cycler.__init__.__globals__.os.system('id') }}", "security"),
    ("{{ raise_exception.__globals__.sys }}", "security"),
    ("{{ x.append(1) }}", "security"),
    ("{{ '{0.__class__.__mro__}'.format(x) }}", "security"),
    ("{{ (x | attr('__class__')).__mro__ }}", "security"),
    ("{{ nothing.there }}", "undefined"),
    ("{% if %}", "syntax"),
    ("{{ raise_exception('roles\x1b[31m\nmust alternate') }}", "raised"),
]


@pytest.mark.parametrize("source, reason", HOSTILE, ids=lambda v: v[:40])
def test_a_hostile_template_is_refused_in_time_and_harms_nothing(renderer, source, reason):
    renderer.render("", {})  # the start is not what is measured
    begun = time.perf_counter()
    with pytest.raises(ChatError) as caught:
        renderer.render(source, {"x": []})
    assert time.perf_counter() - begun < 3
    assert caught.value.reason == reason
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert renderer.render("{{ x }}", {"x": 1}) == "1"


def test_a_message_of_the_template_is_passed_on(renderer):
    with pytest.raises(ChatError, match=r"^chat template: roles must alternate$"):
        renderer.render("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(ChatError, match="line 2: "):
        renderer.render("\n{% endif %}", {})


@pytest.mark.parametrize(
    "value, fact", [({1, 2}, "JSON's types"), ("a" * (1 << 25), "at most 33554432 go in")]
)
def test_what_is_no_message_is_refused_before_it_is_sent(renderer, value, fact):
    with pytest.raises(ChatError, match=fact) as caught:
        renderer.render("{{ x }}", {"x": value})
    assert caught.value.reason == "request"


def test_values_that_hold_themselves_and_templates_without_end_are_refused(renderer):
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ChatError, match="JSON's types"):
        renderer.render("", {"x": loop})
    with pytest.raises(ChatError, match=f"at most {MAX_TEMPLATE} are read"):
        renderer.render("a" * (MAX_TEMPLATE + 1), {})


def test_large_texts_pass_both_ways(renderer):
    text = "🙂é\0\ud800" * 500_000
    assert renderer.render("{{ x }}", {"x": text}) == text


def test_the_process_starts_with_the_first_render_is_kept_and_ends_with_close():
    with Renderer() as renderer:
        assert renderer._child is None
        renderer.render("", {})
        first = process(renderer)
        renderer.render("", {})
        assert process(renderer) is first
        assert first.poll() is None
    assert first.returncode is not None
    assert renderer._child is None
    renderer.close()
    assert renderer.render("again", {}) == "again"
    renderer.close()


def test_a_renderer_that_is_forgotten_leaves_no_process():
    renderer = Renderer()
    renderer.render("", {})
    child = process(renderer)
    del renderer
    assert child.returncode is not None


def test_a_process_that_died_is_replaced(renderer):
    renderer.render("", {})
    process(renderer).kill()
    process(renderer).wait()
    assert renderer.render("a", {}) == "a"


def test_a_process_that_dies_at_work_is_a_typed_error():
    with Renderer(Limits(seconds=20)) as renderer:
        renderer.render("", {})
        killer = threading.Timer(0.3, process(renderer).kill)
        killer.start()
        with pytest.raises(ChatError, match="ended by itself, with code -9") as caught:
            renderer.render(HOSTILE[0][0], {})
        assert caught.value.reason == "lost"
        killer.join()
        assert renderer.render("a", {}) == "a"


def test_python_that_cannot_start_is_a_typed_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ChatError, match="No such file"), Renderer() as renderer:
        renderer.render("", {})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ChatError, match="with code 1"), Renderer() as renderer:
        renderer.render("", {})


def test_an_interrupted_render_leaves_no_answer_for_the_next():
    with Renderer(Limits(seconds=20)) as renderer:
        renderer.render("", {})
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            renderer.render(HOSTILE[0][0], {})
        timer.join()
        assert renderer.render("next", {}) == "next"


def test_threads_get_their_own_answers(renderer):
    wrong: list[str] = []

    def work(name: str) -> None:
        for i in range(30):
            text = renderer.render("{{ x }}", {"x": f"{name}{i}"})
            wrong.extend([text] if text != f"{name}{i}" else [])

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_fork_starts_a_process_of_its_own_and_leaves_the_first_alone(renderer):
    renderer.render("", {})
    code = os.fork()
    if code == 0:
        right = renderer.render("{{ x }}", {"x": 2}) == "2"
        renderer.close()
        os._exit(0 if right else 1)
    assert os.waitpid(code, 0)[1] == 0
    assert renderer.render("{{ x }}", {"x": 3}) == "3"


def test_without_process_limits_the_time_limit_is_enough(tmp_path, monkeypatch):
    hidden = "import sys\nsys.modules['resource'] = None\n"
    script = tmp_path / "sandbox.py"
    script.write_text(hidden + template._SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(template, "_SCRIPT", script)
    with Renderer(Limits(seconds=0.5)) as renderer:
        assert renderer.render("{{ x }}", {"x": 1}) == "1"
        with pytest.raises(ChatError) as caught:
            renderer.render(HOSTILE[0][0], {})
        assert caught.value.reason == "time"


def test_an_answer_beyond_all_bounds_is_not_read(tmp_path, monkeypatch):
    script = tmp_path / "sandbox.py"
    script.write_text(
        "import sys\n"
        "sys.stdout.buffer.write(bytes(8) + (1 << 60).to_bytes(8, 'big') + bytes(1 << 20))\n"
        "sys.stdout.flush()\n"
        "sys.stdin.read()\n"
    )
    monkeypatch.setattr(template, "_SCRIPT", script)
    with Renderer() as renderer, pytest.raises(ChatError, match="at most 100667392 are read") as c:
        renderer.render("", {})
    assert c.value.reason == "output"


def test_a_render_whose_parent_keeps_no_time_ends_by_itself():
    command = [sys.executable, "-I", str(template._SCRIPT), str(1 << 29), "1"]
    asked = {"template": HOSTILE[0][0], "variables": {}, "mark": "", "output": 9}
    request = json.dumps({**asked, "now": "2000-01-01"}).encode()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(len(request).to_bytes(8, "big") + request)
        child.stdin.flush()
        try:
            assert child.wait(timeout=30) == -signal.SIGXCPU
        finally:
            child.kill()


ESCAPED = """
import runpy, sys
sandbox = runpy.run_path(sys.argv[1])
import os, socket, subprocess
sandbox["limit"](1 << 29)
sys.addaudithook(sandbox["refuse"])
for name, reach in {
    "read": lambda: open("/etc/passwd"),
    "write": lambda: open(sys.argv[2], "w"),
    "system": lambda: os.system("true"),
    "fork": os.fork,
    "run": lambda: subprocess.run(["true"]),
    "connect": lambda: socket.socket(),
    "import": lambda: __import__("ctypes"),
    "list": lambda: os.listdir("/"),
}.items():
    try:
        reach()
        print("reached", name)
    except PermissionError:
        print("refused", name)
"""


def test_code_that_got_out_of_jinja_meets_a_second_wall(tmp_path):
    command = [sys.executable, "-c", ESCAPED, str(template._SCRIPT), str(tmp_path / "written")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "reached" not in done.stdout
    assert done.stdout.count("refused") == 8
