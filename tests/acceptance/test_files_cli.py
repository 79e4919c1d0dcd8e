"""What a shell sees of a session's files and of the files that a job left, on a live system with each driver."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.conftest import DOORS, Live

from leasebox.client import Client

pytestmark = [pytest.mark.slow, DOORS]
HOSTILE = r"""
open(b'\xff\n"', 'w').close()
open('\x1b[31mred', 'w').close()
"""


def leasebox(live: Live, *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Type a command."""
    command = [sys.executable, "-m", "leasebox.cli", *words]
    return subprocess.run(command, env=live.environment(), input=stdin, capture_output=True, check=False, timeout=90)


def test_files_go_in_and_out_by_the_shell(live: Live, client: Client, tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_bytes(b"\xff")
    session = client.session()

    assert leasebox(live, "files", "put", session.name, "a.txt", stdin=b"hello\n").returncode == 0
    assert leasebox(live, "files", "put", session.name, "up", str(tmp_path / "d")).returncode == 0
    assert leasebox(live, "files", "get", session.name, "a.txt").stdout == b"hello\n"
    assert leasebox(live, "files", "get", session.name, "up", "--out", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back" / "e" / "f").read_bytes() == b"\xff"
    listed = leasebox(live, "files", "list", session.name, "--depth", "3").stdout.decode().splitlines()
    assert [row.split("\t")[0] for row in listed] == ["a.txt", "up", "up/e", "up/e/f"]
    assert leasebox(live, "files", "remove", session.name, "up").returncode == 0
    missing = leasebox(live, "files", "get", session.name, "up")
    assert (missing.returncode, b"No such file" in missing.stderr) == (1, True)
    assert leasebox(live, "files", "list", "nobody-has-this").returncode == 1
    session.close()


def test_hostile_names_are_listed_as_json_and_steer_no_terminal(live: Live, client: Client) -> None:
    with client.session(stateful=False) as session:
        assert session.run(HOSTILE, wait_s=60).outcome == "ok"
        told = leasebox(live, "files", "list", session.name, "--json").stdout
        shown = leasebox(live, "files", "list", session.name).stdout

    assert {entry["path"] for entry in json.loads(told.decode("ascii"))} == {'\udcff\n"', "\x1b[31mred"}
    assert b"\x1b" not in shown
    assert len(shown.splitlines()) == 2


def test_run_and_result_save_what_the_job_left(live: Live, tmp_path: Path) -> None:
    code = "import os; os.mkdir('out'); open('out/t.csv', 'w').write('1,2'); open('no', 'w')"
    first, second = tmp_path / "first", tmp_path / "second"
    told = leasebox(live, "run", "--artifact", "out/*", "--out", str(first), "--json", "-c", code)

    result = json.loads(told.stdout)
    assert [artifact["path"] for artifact in result["artifacts"]] == ["out/t.csv"]
    assert result["new_files"] == ["no", "out/t.csv"]
    assert leasebox(live, "result", result["job"], "--out", str(second)).returncode == 0
    assert [(folder / "out" / "t.csv").read_text() for folder in (first, second)] == ["1,2", "1,2"]
