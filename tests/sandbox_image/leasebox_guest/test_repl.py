"""The interpreter by itself, in this Python with its libraries: what cells show, and how their code is read."""

import array
import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leasebox_guest.cell import Cell
from leasebox_guest.frames import Kind

START = "import os, sys; os.dup2(int(sys.argv[1]), 3); from leasebox_guest.repl import live; live()"
PNG = b"\x89PNG\r\n\x1a\n"


class Interpreter:
    """A process that runs `live`, with this test as its agent."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = socket.socketpair()
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[3] / "sandbox_image"),
        }
        argv = [sys.executable, "-c", START, str(theirs.fileno())]
        self._process = subprocess.Popen(argv, cwd=folder, env=env, pass_fds=[theirs.fileno()])
        theirs.close()

    def __call__(self, source: str) -> Any:
        """Run a cell that prints less than a pipe holds: its end, its bundles, its stdout."""
        cell = Cell()
        out, job_out = os.pipe()
        results, job_results = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        request = json.dumps({"cell": cell.id, "env": {}, "cwd": None, "reap": False}).encode()
        code = source.encode()
        data = len(request).to_bytes(4, "big") + len(code).to_bytes(4, "big") + request + code
        rights = array.array("i", [null, job_out, job_out, job_results])
        self._ours.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        for fd in (null, job_out, job_results):
            os.close(fd)
        parts = b""
        self.shown: list[dict[str, Any]] = []
        while cell.status is None:
            data = os.read(results, 1 << 16)
            assert data, "the interpreter has ended"
            for kind, payload in cell.hear(data):
                assert kind is Kind.DISPLAY
                if payload[0] & 2:  # a content that travels apart
                    continue
                parts += payload[1:]
                if payload[0] == 0:
                    self.shown.append(json.loads(parts))
                    parts = b""
        os.set_blocking(out, False)
        try:
            self.printed = os.read(out, 1 << 16).decode()
        except BlockingIOError:
            self.printed = ""
        os.close(out)
        os.close(results)
        self.error = cell.error
        return self.shown

    def close(self) -> None:
        self._ours.close()
        assert self._process.wait(20) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    """One interpreter for all tests of this file."""
    interpreter = Interpreter(tmp_path_factory.mktemp("repl"))
    yield interpreter
    interpreter.close()


def plain(text: str) -> list[dict[str, str]]:
    return [{"text/plain": text}]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("1 + 1", "2"),
        ("'a'", "'a'"),
        ("None", None),
        ("x = 5", None),
        ("6;", None),
        ("6;  # hidden", None),
        ("6  # a ;", "6"),
        ("'é' * 2;", None),
        ("'é' * 2", "'éé'"),
        ("(1,\n 2)", "(1, 2)"),
        ("if True:\n    7", None),
        ("8\n\n# end", "8"),
        ("", None),
        ("# only", None),
        ("x\\\n+ 1", "6"),
        ("'''a\r\nb''';", None),
        ("dict(b=1, a=2)", "{'b': 1, 'a': 2}"),
        ("await __import__('asyncio').sleep(0, 9)", "9"),
        ("[n async for n in (k async for k in aiter_of(2))]", "[0, 1]"),
        ("__name__", "'__main__'"),
        ("!echo hi", None),
        ("%matplotlib inline\n10", "10"),
        ("5 %2", "1"),
        ("import sys; 'asyncio' in sys.modules", "True"),
    ],
)
def test_the_last_value_is_shown(run: Interpreter, source: str, text: str | None) -> None:
    run("async def aiter_of(n):\n    for k in range(n): yield k")

    assert run(source) == ([] if text is None else plain(text))
    assert run.error is None


def test_long_containers_are_broken_into_lines_and_long_text_is_cut(run: Interpreter) -> None:
    (nested,) = run("{'k' * 30: ['v' * 30] * 3}")
    (long,) = run("'x' * 100_000")

    assert "\n" in nested["text/plain"]
    assert len(long["text/plain"]) < 66_000
    assert "characters left out" in long["text/plain"]


@pytest.mark.parametrize(
    ("method", "mime", "value", "content"),
    [
        ("_repr_html_", "text/html", "'<b>'", "<b>"),
        ("_repr_markdown_", "text/markdown", "'*m*'", "*m*"),
        ("_repr_latex_", "text/latex", "'$x$'", "$x$"),
        ("_repr_svg_", "image/svg+xml", "'<svg/>'", "<svg/>"),
        ("_repr_png_", "image/png", "b'png'", base64.b64encode(b"png").decode()),
        ("_repr_jpeg_", "image/jpeg", "b'jpg'", base64.b64encode(b"jpg").decode()),
        ("_repr_json_", "application/json", "{'a': [1]}", {"a": [1]}),
        ("_repr_png_", "image/png", "(b'png', {'width': 1})", base64.b64encode(b"png").decode()),
    ],
)
def test_every_mime_type_has_its_method(run: Interpreter, method: str, mime: str, value: str, content: object) -> None:
    source = f"class T:\n def {method}(self): return {value}\n def __repr__(self): return 'T'\nT()"

    assert run(source) == [{mime: content, "text/plain": "T"}]


@pytest.mark.parametrize(
    ("body", "bundle"),
    [
        (
            "def _repr_mimebundle_(s, **k): return {'a/b': 'x', 'text/plain': 'mine'}",
            {"a/b": "x", "text/plain": "mine"},
        ),
        ("def _repr_mimebundle_(s, **k): return ({'a/b': 'x'}, {})", {"a/b": "x", "text/plain": "T"}),
        ("def _repr_html_(s): 1 / 0", {"text/plain": "T"}),
        ("def _repr_html_(s): return None", {"text/plain": "T"}),
        ("def __getattr__(s, name): return lambda *a, **k: {'wild': 1}", {"text/plain": "T"}),
        ("def _repr_json_(s): return {1: object()}", {"text/plain": "T"}),
        ("def _repr_json_(s): return [float('nan')]", {"text/plain": "T"}),
    ],
)
def test_odd_objects_are_no_surprise(run: Interpreter, body: str, bundle: dict[str, str]) -> None:
    assert run(f"class T:\n {body}\n def __repr__(self): return 'T'\nT()") == [bundle]
    assert run("T") == plain("<class '__main__.T'>")


def test_the_display_module_is_there_without_ipython(run: Interpreter) -> None:
    shown = run(
        "from IPython.display import HTML, Markdown, Latex, SVG, JSON, Image, display, clear_output\n"
        "clear_output(wait=True)\n"
        "display(HTML('<b>'), Markdown('*'), Latex('$'), SVG('<svg/>'), JSON([1]))\n"
        "display(Image(b'\\x89PNG'), Image(b'\\xff\\xd8'))"
    )

    assert run.error is None
    assert [next(iter(bundle)) for bundle in shown] == [
        "text/html", "text/markdown", "text/latex", "image/svg+xml", "application/json", "image/png", "image/jpeg",
    ]  # fmt: skip
    assert run("'get_ipython' in globals() or 'get_ipython' in vars(__builtins__)") == plain("False")


def test_figures_come_as_pictures_at_show_and_at_the_end_and_are_closed(run: Interpreter) -> None:
    shown = run(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);\nplt.show()\n"
        "plt.figure(); plt.bar([1], [2]);\nplt.figure();"
    )
    again = run("1;")

    assert run.error is None
    assert [sorted(bundle) for bundle in shown] == [["image/png", "text/plain"]] * 2
    assert all(base64.b64decode(bundle["image/png"]).startswith(PNG) for bundle in shown)
    assert again == []


def test_a_figure_as_the_last_value_is_one_picture(run: Interpreter) -> None:
    shown = run("fig, ax = plt.subplots(); ax.plot([1]); fig")

    assert [sorted(bundle) for bundle in shown] == [["image/png", "text/plain"]]


def test_a_large_picture_comes_whole(run: Interpreter) -> None:
    (shown,) = run("import random\nplt.imshow([[random.random() for _ in range(300)] for _ in range(300)]); plt.show()")

    assert base64.b64decode(shown["image/png"])[-8:-4] == b"IEND"


def test_a_table_comes_as_html_and_text(run: Interpreter) -> None:
    (shown,) = run("import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})")

    assert sorted(shown) == ["text/html", "text/plain"]
    assert "<table" in shown["text/html"]
    assert shown["text/plain"].split() == ["a", "b", "0", "1", "x", "1", "2", "y"]


def test_tasks_of_one_cell_go_on_in_an_await_of_the_next(run: Interpreter) -> None:
    run(
        "import asyncio\nseen = []\nasync def later():\n    seen.append('began')\n"
        "    await asyncio.sleep(0)\n    seen.append('ended')"
    )
    run("task = asyncio.ensure_future(later())")

    assert run("await task; seen") == plain("['began', 'ended']")
    assert run("asyncio.run(later()); len(seen)") == plain("4")


def test_a_future_statement_holds_for_the_cells_after_it(run: Interpreter) -> None:
    run("from __future__ import annotations")

    assert run("def f(a: not_there): ...\nf.__annotations__") == plain("{'a': 'not_there'}")


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("!echo hi", "hi\n"),
        ("for n in range(2):\n    !echo $((n + 1))", "1\n1\n"),
        ("%%bash\necho one\necho two", "one\ntwo\n"),
        ("\n%%sh\necho one", "one\n"),
        ("%pip --version", None),
    ],
)
def test_magics_that_are_known_work(run: Interpreter, source: str, printed: str | None) -> None:
    run(source)

    assert run.error is None
    assert run.printed == printed if printed is not None else run.printed.startswith("pip ")


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [
        ("%timeit 1", "NameError", "%timeit"),
        ("%%time\n1", "NameError", "%%time"),
        ("%%bash\nexit 3", "CalledProcessError", "status 3"),
        ("%", "NameError", "%"),
        ("%%", "NameError", "%"),
        ("x = (", "SyntaxError", "never closed"),
        ("text = '''\n%not a magic\n''' +", "SyntaxError", ""),
    ],
)
def test_what_is_neither_python_nor_a_known_magic_is_an_error(
    run: Interpreter, source: str, name: str, text: str
) -> None:
    run(source)

    assert run.error is not None
    assert run.error["name"] == name
    assert text in run.error["message"]


def test_plain_python_is_never_altered(run: Interpreter) -> None:
    assert run("text = '''\n%pip install x\n!ls\n'''\ntext") == plain(repr("\n%pip install x\n!ls\n"))


def test_variables_are_listed_without_running_their_code(run: Interpreter) -> None:
    run(
        "for name in [n for n in globals() if not n.startswith('_')]: del globals()[name]\n"
        "class Loud:\n def __repr__(self): raise SystemExit\n def __len__(self): raise OSError\n"
        "n, text, rows, loud, hidden = 1, 't' * 999, [1, 2], Loud(), 10 ** 9999\n_private = 1\nimport os"
    )
    (shown,) = run("%variables")

    listed = {entry.pop("name"): entry for entry in shown["application/json"]}
    assert listed["n"] == {"type": "int", "value": "1"}
    assert listed["rows"] == {"type": "list", "length": 2}
    assert (listed["loud"], listed["Loud"]) == ({"type": "Loud"}, {"type": "type"})
    assert (listed["text"]["length"], len(listed["text"]["value"])) == (999, 200)
    assert listed["hidden"]["value"].endswith(" bits")
    assert "_private" not in listed
    assert "os" not in listed


def test_exceptions_in_groups_and_chains_and_threads_show_their_cells_lines(run: Interpreter) -> None:
    run(
        "def f():\n    raise ValueError('inner')\n"
        "try:\n    f()\nexcept ValueError as e:\n    raise ExceptionGroup('g', [e]) from e"
    )
    assert run.error is not None
    group = run.error["traceback"]
    run("import threading\nt = threading.Thread(target=f); t.start(); t.join()")

    assert group.count("raise ValueError('inner')") == 2
    assert "leasebox_guest" not in group
    assert 'File "<cell ' in run.printed
    assert run("import inspect; inspect.getsource(f)") == plain(repr("def f():\n    raise ValueError('inner')\n"))
