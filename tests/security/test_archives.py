"""Files that come in stay below the workspace, whatever their names are and whatever a job has put in the way."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.security.conftest import standing

from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.guestlink.link import GuestLink
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.guestlink.stdin import chunked

pytestmark = pytest.mark.slow

TRAPS = """
import os, socket
os.symlink('/tmp', 'out')
os.symlink('/', 'root')
os.symlink('../../tmp', 'up')
os.symlink('loop', 'loop')
os.symlink('/tmp/through', 'file')
os.mkfifo('fifo')
os.mkdir('folder')
socket.socket(socket.AF_UNIX).bind('socket')
"""
LOOK = """
import os
found = []
for folder in ('/tmp', '/dev/shm', '/agent'):
    found += [name for name in os.listdir(folder) if name not in ('boot.py', 'sitecustomize.py', 'leasebox_guest')]
print(found)
"""


class Host:
    """The worker's end of one sandbox."""

    def __init__(self, link: GuestLink) -> None:
        self._link = link
        self._number = 0

    def run(self, kind: str, code: bytes = b"", stdin: bytes = b"", argv: tuple[str, ...] = ()) -> tuple[int, bytes]:
        """Exit code and stdout."""
        self._number += 1
        request = Exec(
            id=f"n:{self._number}/{kind}", kind=kind, argv=argv, code_bytes=len(code),
            code_path="main.py" if code else None, cwd="/workspace", env={"PATH": "/usr/bin:/bin"}, wall_s=20.0,
            cpu_s=None, silence_s=None, stream_bytes=1 << 20, line_buffered=True, cancel_grace_s=1.0,
        )  # fmt: skip
        exited, out, _ = self._link.run(request, code, chunked(stdin), within_s=30.0)
        assert exited.is_clean
        assert exited.code is not None
        return exited.code, out


@pytest.fixture(scope="module")
def host(bubblewrap_r2: BubblewrapDriver, agent_dir: Path) -> Iterator[Host]:
    """A sandbox whose workspace is full of traps."""
    with standing("bubblewrap_r2", bubblewrap_r2, agent_dir, "") as ground:
        host = Host(GuestLink(ground.guest._channel))
        host.run("python", TRAPS.encode(), argv=("main.py",))
        yield host


parts = st.one_of(
    st.sampled_from(
        ["..", ".", "", "out", "root", "up", "loop", "file", "fifo", "folder", "socket", "/", "/workspace", "/tmp",
         "\0", "a" * 255, "a" * 256, "\n", "-rf", "~", "\udcff", "\ud800", "*", "proc", "self", "main.py", ".leasebox"]
    ),
    st.text(max_size=20),
)  # fmt: skip
paths = st.builds("/".join, st.lists(parts, min_size=1, max_size=5))
entries = st.builds(
    lambda path, data, size, mode: (json.dumps({"path": path, "size": size(data), "mode": mode}).encode(), data),
    paths,
    st.binary(max_size=20),
    st.sampled_from([len, len, len, lambda _: -1, lambda _: 1 << 40, lambda _: "1", lambda _: None]),
    st.one_of(st.just(0o644), st.sampled_from([0o6755, -1, 1 << 40, "x"])),
)  # fmt: skip
streams = st.one_of(
    st.builds(
        lambda found: b"".join(struct.pack(">I", len(header)) + header + content for header, content in found),
        st.lists(entries, min_size=1, max_size=4),
    ),
    st.binary(max_size=60),
)


@pytest.mark.parametrize("path", ["root/etc/passwd", "out/x", "../etc/passwd", "/etc/passwd", "file", "fifo", "socket"])
def test_a_trap_is_not_followed(host: Host, path: str) -> None:
    # Before any stream of files is put there at random: one may have taken a trap's place.
    assert host.run("get", argv=(path,))[0] == 1
    assert path in ("file", "fifo", "socket") or host.run("put", stdin=_entry(path))[0] == 1


@given(streams)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_stream_of_files_leaves_the_workspace(host: Host, stream: bytes) -> None:
    code, _ = host.run("put", stdin=stream)

    assert code in (0, 1, 126)
    assert host.run("python", LOOK.encode(), argv=("main.py",)) == (0, b"[]\n")


@given(paths)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_reads_out_of_the_workspace(host: Host, path: str) -> None:
    if "\0" in path or not path:
        return  # EXEC itself refuses it
    code, out = host.run("get", argv=(path,))

    assert code in (0, 1, 126)
    assert len(out) <= 1 << 20
    assert b"root:x:" not in out


def _entry(path: str) -> bytes:
    header = json.dumps({"path": path, "size": 0}).encode()
    return struct.pack(">I", len(header)) + header


KINDS = [tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]


def _tar(found: list[tuple[str, bytes, bytes]]) -> bytes:
    """A tar of entries as (name, kind, content); names that no header can hold are left out."""
    data = b""
    for name, kind, content in found:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, "/etc/passwd", len(content)
        with suppress(UnicodeEncodeError):
            header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            data += header + content.ljust(-(-len(content) // 512) * 512, b"\0")
    return data + bytes(1024)


def _zip(found: list[tuple[str, bytes, bytes]]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, kind, content in found:
            info = zipfile.ZipInfo("x")
            info.filename, info.external_attr = name, (0o120777 if kind == tarfile.SYMTYPE else 0o100644) << 16
            with suppress(UnicodeEncodeError, UserWarning):
                archive.writestr(info, content)
    return held.getvalue()


members = st.lists(st.tuples(paths, st.sampled_from(KINDS), st.binary(max_size=600)), min_size=1, max_size=4)


@pytest.mark.long
@given(
    members, st.sampled_from([("tar", _tar), ("zip", _zip)]), st.sampled_from([".", "folder", "out", "up/x"]), st.data()
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_archive_leaves_the_workspace_or_anything_half_done(host: Host, found, form, folder, data) -> None:
    archive = bytearray(form[1](found))
    for place in data.draw(st.lists(st.integers(0, len(archive) - 1), max_size=2)):
        archive[place] ^= 0xFF
    before = host.run("file", argv=("list", ".", "64"))

    code, _ = host.run("file", stdin=bytes(archive), argv=("extract", folder, form[0]))

    after = host.run("file", argv=("list", ".", "64"))
    assert code in (0, 1, 126)
    assert code == 0 or after == before
    assert b".leasebox-" not in after[1]
    assert host.run("python", LOOK.encode(), argv=("main.py",)) == (0, b"[]\n")
