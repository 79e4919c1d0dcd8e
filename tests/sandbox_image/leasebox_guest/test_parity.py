"""Does a program see the same, whether it is `python3 main.py` or a fork of the agent? (GUEST.md section 2)"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

STDIN = b"l1\nl2\nl3 rest"
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/workspace", "LANG": "C.UTF-8"}
MASK = re.compile(rb"0x[0-9a-f]{6,}|\b[0-9]{14,}\b")


class Program(NamedTuple):
    name: str
    options: dict[str, Any]
    source: str


def _programs() -> list[Program]:
    found = []
    for section in (Path(__file__).parent / "programs.txt").read_text().split("\n==== ")[1:]:
        title, _, source = section.partition("\n")
        name, _, options = title.partition(" ")
        found.append(Program(name, json.loads(options or "{}"), source + "\n"))
    return found


def put(host: Any, files: dict[str, str]) -> None:
    body = b""
    for path, content in files.items():
        header = json.dumps({"path": path, "size": len(content.encode())}).encode()
        body += len(header).to_bytes(4, "big") + header + content.encode()
    assert host.run(kind="put", argv=[], stdin=body).code == 0


def seen(host: Any, source: str | bytes, *, execs: bool = False, **options: Any) -> tuple[Any, ...]:
    """What can be told from outside, without addresses and long numbers."""
    ended = host.run(source, stdin=STDIN, **options)
    assert ended.forked is (host.forks and not execs)
    return ended.code, ended.signal, MASK.sub(b"X", ended.stdout), MASK.sub(b"X", ended.stderr)


def observe(host: Any, program: Program) -> list[tuple[Any, ...]]:
    options = program.options
    put(host, options.get("files", {}))
    argv = ["main.py", *options.get("args", [])]
    found = [seen(host, program.source, argv=argv, env=ENV | options.get("env", {}), execs="execs" in options)]
    if "then" in options:
        found.append(seen(host, options["then"]))
    if "files" in options or "dirty" in options:
        host.run(kind="command", argv=["find", "/workspace", "-mindepth", "1", "-delete"])
    if "mask" in options:
        found = [(*seen[:2], *(re.sub(options["mask"].encode(), b"", text) for text in seen[2:])) for seen in found]
    return found


@pytest.mark.parametrize("program", _programs(), ids=lambda program: program.name)
def test_a_forked_program_is_the_same_as_python3_main_py(program: Program, executing: Any, forking: Any) -> None:
    assert observe(forking, program) == observe(executing, program)


@pytest.mark.parametrize(
    "source",
    [
        b"print('a\0b')\n",
        b"# \xe9\nprint(1)\n",
        b"# -*- coding: latin-1 -*-\nprint('\xe9')\n",
        b"",
        b"\xef\xbb\xbfprint(2)\r\n",
    ],
    ids=["nul", "not_utf8", "latin1", "empty", "mark_and_crlf"],
)
def test_odd_bytes_in_the_source_are_treated_the_same(source: bytes, executing: Any, forking: Any) -> None:
    assert seen(forking, source, code_path="main.py") == seen(executing, source, code_path="main.py")


def test_jobs_in_a_row_draw_different_numbers(forking: Any) -> None:
    source = "import random, uuid, tempfile as t\nprint(random.random(), uuid.uuid4(), next(t._get_candidate_names()))"

    drawn = [forking.run(source).stdout for _ in range(3)]

    assert len(set(drawn)) == 3


FORKS = [
    ({}, True),
    ({"env": ENV | {"PYTHONDONTWRITEBYTECODE": "1"}}, False),
    ({"env": ENV | {"LD_PRELOAD": ""}}, False),
    ({"env": ENV | {"LC_ALL": "C"}}, False),
    ({"env": ENV | {"TZ": "Asia/Tokyo"}}, False),
    ({"env": ENV | {"LANG": "C"}}, False),
    ({"env": {"PATH": "/usr/bin"}}, False),
    ({"argv": ["-X", "dev", "main.py"]}, False),
    ({"argv": ["prog.py"], "code_path": "prog.py"}, False),
]


@pytest.mark.parametrize(("options", "forks"), FORKS)
def test_what_a_fork_could_not_imitate_is_executed(options: dict[str, Any], forks: bool, forking: Any) -> None:
    ended = forking.run("import sys; print(sys.flags.dev_mode)", **options)

    assert (ended.code, ended.forked, ended.error) == (0, forks, None), ended.stderr


def test_a_module_beside_the_program_wins_over_a_preloaded_one(forking: Any) -> None:
    put(forking, {"json.py": "MINE = 1"})  # what the agent itself needs is loaded from the start

    ended = forking.run("import json; print(json.MINE)")
    forking.run(kind="command", argv=["rm", "-r", "json.py"])

    assert (ended.stdout, ended.forked) == (b"1\n", False)


def test_output_is_live_unless_told_otherwise(host: Any) -> None:
    for env in (ENV, ENV | {"PYTHONHASHSEED": "1"}):
        host.start("print('now'); input()", env=env, stdin=None, line_buffered=True)
        host.until_output(b"now")
        host.send_json(5, id=f"job-{host._count}", grace_s=0.0)
        assert host.end().cancelled
