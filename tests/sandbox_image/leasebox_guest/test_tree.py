"""Listing, moving and removing: as the job's uid, through no link, whatever the tree looks like."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

DEEP = "import os\nfor _ in range(700):\n    os.mkdir('d'); os.chdir('d')\nopen('f', 'w').write('x')"
HOSTILE = r"""
import os, socket
for name in (b'\xff\xfe', b'new\nline', b'"quote\\', b'\x1b[31m', b'-rf', b'n' * 255, 'ü'.encode(), b' '):
    open(name, 'wb').close()
os.mkdir(b'closed'); open('closed/in', 'w').close(); os.chmod('closed', 0)
os.mkfifo('fifo'); socket.socket(1).bind('sock')
os.symlink('/etc', 'out'); os.symlink('loop', 'loop'); os.symlink('..', 'up')
"""


def op(host: Any, *argv: str, stdin: bytes = b"") -> Any:
    return host.run(kind="file", argv=list(argv), stdin=stdin)


def told(host: Any, *argv: str) -> Any:
    ended = op(host, *argv)
    assert (ended.code, ended.stderr) == (0, b"")
    return json.loads(ended.stdout)


def why(host: Any, *argv: str) -> tuple[int, str]:
    ended = op(host, *argv)
    return ended.code, ended.stderr.decode().split()[0]


@pytest.fixture(autouse=True)
def _clean(host: Any) -> Iterator[None]:
    yield
    host.run(
        "import os\nfor n in os.listdir('.'):\n    os.path.isdir(n) and not os.path.islink(n) and os.chmod(n, 0o700)"
    )
    host.run(kind="command", argv=["find", "/workspace", "-mindepth", "1", "-delete"])


def test_a_list_names_each_entry_below_with_its_type_and_goes_as_deep_as_asked(host: Any) -> None:
    host.run(
        "import os; os.makedirs('l/a/b'); open('l/a/b/c', 'w').write('xyz'); open('l/z', 'w'); os.chmod('l/z', 0o640)"
    )

    top, deep, below = told(host, "list", "l", "1"), told(host, "list", "l", "9"), told(host, "list", "l/a", "9")

    assert [(entry["path"], entry["type"]) for entry in top] == [("l/a", "directory"), ("l/z", "file")]
    assert top[1]["mode"] == 0o640
    assert {entry["path"]: entry["size_bytes"] for entry in deep} == {"l/a": 0, "l/z": 0, "l/a/b": 0, "l/a/b/c": 3}
    assert [entry["path"] for entry in below] == ["l/a/b", "l/a/b/c"]
    assert [entry["path"] for entry in told(host, "list", "l/z", "1")] == ["l/z"]
    assert "l" in [entry["path"] for entry in told(host, "list", ".", "1")]


def test_a_tree_of_hostile_names_is_listed_as_json_and_nothing_is_followed(host: Any) -> None:
    host.run(HOSTILE)

    found = {entry["path"]: entry["type"] for entry in told(host, "list", ".", "64")}

    assert {"\udcff\udcfe", "new\nline", '"quote\\', "\x1b[31m", "-rf", "n" * 255, "ü", " ", "closed"} <= set(found)
    assert (found["fifo"], found["sock"], found["out"], found["loop"]) == ("other", "other", "symlink", "symlink")
    assert not [path for path in found if path.startswith(("out/", "up/", "closed/"))]
    assert told(host, "stat", "\udcff\udcfe")["type"] == "file"


def test_a_deep_tree_is_listed_so_far_as_its_paths_can_be_asked_for_and_removed_whole(host: Any) -> None:
    host.run(DEEP)

    assert len(told(host, "list", ".", "64")) == 64
    assert op(host, "remove", "d").code == 0
    assert told(host, "list", ".", "1") == []


@pytest.mark.parametrize("host", ["r1"], indirect=True)  # the other has fewer inodes
def test_too_many_names_are_told_with_the_bound(host: Any) -> None:
    host.run("for i in range(10_001): open(f'{i}', 'w').close()")

    ended = op(host, "list", ".", "1")

    assert (ended.code, ended.stderr.split()[0]) == (1, b"too_large")
    assert b"10000" in ended.stderr


def test_move_replaces_a_file_and_makes_the_folders_that_it_needs(host: Any) -> None:
    host.run("open('a', 'w').write('a'); open('b', 'w').write('b')")

    assert op(host, "move", "a", "x/y/a").code == 0
    assert op(host, "move", "b", "x/y/a").code == 0
    assert host.run(kind="get", argv=["x/y/a"]).stdout == b"b"
    assert why(host, "move", "none", "new/folder/n") == (1, "not_found")
    assert why(host, "move", "x/y/a", "x/y") == (1, "not_a_file")
    assert why(host, "stat", "new") == (1, "not_found")


def test_mkdir_makes_parents_and_minds_neither_an_existing_folder_nor_a_file_in_its_way(host: Any) -> None:
    host.run("open('f', 'w')")

    assert op(host, "mkdir", "p/q").code == op(host, "mkdir", "p/q").code == 0
    assert told(host, "stat", "p/q")["type"] == "directory"
    assert why(host, "mkdir", "f") == why(host, "mkdir", "f/g") == (1, "not_a_file")


def test_remove_takes_a_link_away_and_not_what_it_leads_to(host: Any) -> None:
    host.run("import os; os.mkdir('real'); open('real/f', 'w'); os.symlink('real', 'link'); os.chmod('real', 0o500)")

    assert op(host, "remove", "link").code == 0
    assert told(host, "stat", "real/f")["type"] == "file"
    assert op(host, "remove", "real").code == 0
    assert why(host, "remove", "real") == (1, "not_found")


@pytest.mark.parametrize("verb", ["stat", "mkdir", "remove", "list"])
@pytest.mark.parametrize("path", ["../x", "/etc", "up/x", "a/../../x"])
def test_no_operation_leaves_the_workspace(host: Any, verb: str, path: str) -> None:
    host.run("import os; os.path.islink('up') or os.symlink('..', 'up')")

    assert why(host, verb, path, *(["1"] if verb == "list" else [])) == (1, "outside_workspace")
    assert why(host, "move", path, "here") == (1, "outside_workspace")


def test_pack_sends_what_put_takes(host: Any) -> None:
    host.run("import os; os.mkdir('d'); open('d/a', 'w').write('A'); open('b', 'w').write('BB'); os.chmod('b', 0o700)")

    packed = op(host, "pack", stdin=json.dumps(["d/a", "b"]).encode()).stdout
    op(host, "remove", "d")
    op(host, "remove", "b")

    assert host.run(kind="put", argv=[], stdin=packed).code == 0
    assert (host.run(kind="get", argv=["d/a"]).stdout, told(host, "stat", "b")["mode"]) == (b"A", 0o700)


def test_a_scan_tells_regular_files_and_a_mark_that_changes_with_them(host: Any) -> None:
    host.run("import os; os.mkdir('d'); open('d/a', 'w').write('1'); os.symlink('a', 'd/l')")
    before = told(host, "scan")
    host.run("open('d/a', 'w').write('2')")
    after = told(host, "scan")

    assert [(path, size) for path, size, _ in before] == [("d/a", 1)] == [(path, size) for path, size, _ in after]
    assert before[0][2] != after[0][2]
    assert told(host, "scan") == after


def test_put_makes_empty_folders(host: Any) -> None:
    header = json.dumps({"path": "empty/er", "folder": True}).encode()

    assert host.run(kind="put", argv=[], stdin=len(header).to_bytes(4, "big") + header).code == 0
    assert told(host, "stat", "empty/er")["type"] == "directory"
