"""put and get: as the job's uid, and through no link."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

FILL = """
for size in (1 << 20, 4096):
    with open('fill', 'ab', 0) as file:
        try:
            while 1: file.write(bytes(size))
        except OSError: pass
"""


def entry(path: str, content: bytes, **more: Any) -> bytes:
    header = json.dumps({"path": path, "size": len(content), **more}).encode()
    return len(header).to_bytes(4, "big") + header + content


def put(host: Any, *entries: bytes) -> Any:
    return host.run(kind="put", argv=[], stdin=b"".join(entries))


def get(host: Any, path: str) -> Any:
    return host.run(kind="get", argv=[path])


@pytest.fixture(autouse=True)
def _clean(host: Any) -> Iterator[None]:
    yield
    host.run(kind="command", argv=["find", "/workspace", "-mindepth", "1", "-delete"])


def test_files_come_back_as_they_went_in(host: Any) -> None:
    ended = put(
        host, entry("a.bin", bytes(range(256))), entry("deep/er/b", b""), entry("/workspace/c", b"c", mode=0o700)
    )

    assert (ended.code, ended.stderr) == (0, b"")
    assert get(host, "a.bin").stdout == bytes(range(256))
    assert get(host, "/workspace/deep/er/b").code == 0
    listed = host.run(kind="command", argv=["stat", "-c", "%n %a %u", "a.bin", "deep", "c"]).stdout.decode()
    uid = host.run("import os; print(os.getuid())").stdout.decode().strip()
    assert listed.splitlines() == [f"a.bin 644 {uid}", f"deep 755 {uid}", f"c 700 {uid}"]


def test_a_large_file_passes_by_credits(host: Any) -> None:
    content = bytes(range(256)) * 4096
    body = entry("big", content)
    ident = host.start(kind="put", argv=[], stdin=None)
    window = 128 << 10
    while body:
        part, body = body[: min(window, 50_000)], body[min(window, 50_000) :]
        host.send(4, part)
        window -= len(part)
        while body and window < 50_000:
            window += host.expect(71)["n"]
    host.send(4)

    ended = host.end()

    assert (ended.id, ended.code) == (ident, 0)
    assert get(host, "big").stdout == content


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", ".", "/workspace", "/workspace/../x"])
def test_paths_out_of_the_workspace_are_refused(host: Any, path: str) -> None:
    for ended in (put(host, entry(path, b"x")), get(host, path or "..")):
        assert (ended.code, ended.stderr.split()[0]) == (1, b"outside_workspace")


def test_links_are_not_followed(host: Any) -> None:
    script = "ln -s /tmp dir; ln -s /etc/passwd file; mkdir real; ln -s real inner; touch real/x"
    host.run(kind="command", argv=["sh", "-c", script])

    refused = [put(host, entry("dir/x", b"x")), get(host, "dir/x"), get(host, "file"), put(host, entry("inner/y", b""))]
    replaced = put(host, entry("file", b"mine"))

    assert [(ended.code, ended.stderr.split()[0]) for ended in refused] == [(1, b"outside_workspace")] * 4
    assert replaced.code == 0
    assert get(host, "file").stdout == b"mine"


def test_what_is_no_regular_file_is_refused(host: Any) -> None:
    host.run("import os, socket; os.mkfifo('fifo'); os.mkdir('dir'); socket.socket(1).bind('sock')")

    codes = [get(host, name).stderr.split()[0] for name in ("fifo", "dir", "sock", "none")]

    assert codes == [b"not_a_file", b"not_a_file", b"not_a_file", b"not_found"]
    assert put(host, entry("dir", b"x")).stderr.split()[0] == b"not_a_file"


@pytest.mark.parametrize(
    "body",
    [b"\0\0", b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\2[]", b"\0\0\0\1x", entry("a", b"xy")[:-1]],
    ids=["short", "huge", "no_path", "list", "no_json", "cut"],
)
def test_a_malformed_stream_of_files_is_refused_and_leaves_nothing(host: Any, body: bytes) -> None:
    ended = put(host, body)

    assert (ended.code, ended.stderr.split()[0]) == (1, b"failed")
    assert host.run(kind="command", argv=["ls", "-A"]).stdout == b""


@pytest.mark.parametrize("host", ["r2"], indirect=True)
def test_no_room_is_too_large_and_leaves_nothing(host: Any) -> None:
    host.run(FILL)

    ended = put(host, entry("a", b"x" * 100_000))

    assert (ended.code, ended.stderr.split()[0]) == (1, b"too_large")
    assert host.run("import os; print(os.getcwd())" + "#" * 9000).stdout == b"/workspace\n"  # its source is in /tmp
    assert host.run(kind="command", argv=["ls", "-A"]).stdout == b"fill\n"
