"""What an application sees of a session's files, on a live system with each driver."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from tests.acceptance.conftest import Live, forget_peak, peak_bytes

from leasebox.aio import AsyncClient
from leasebox.client import Client, Session
from leasebox.contract.errors import FileError, InvalidSpec

pytestmark = pytest.mark.slow
WAIT_S = 60.0
MIB = 1 << 20


@pytest.fixture
def box(client: Client):
    """A session of the test's own."""
    with client.session() as session:
        yield session


def code_of(action) -> str:
    with pytest.raises(FileError) as caught:
        action()
    return caught.value.code


def test_files_are_written_read_listed_moved_and_removed(box: Session) -> None:
    box.files.write("a/b.txt", "grüße")
    box.files.write("/workspace/raw", bytes(range(256)))
    box.files.mkdir("empty/er")
    box.files.move("raw", "a/raw.bin")

    assert box.files.read("a/b.txt", text=True) == "grüße"
    assert box.files.read("a/raw.bin") == bytes(range(256))
    assert [(entry.path, entry.type) for entry in box.files.list()] == [("a", "directory"), ("empty", "directory")]
    assert {entry.path for entry in box.files.list(depth=3)} == {"a", "a/b.txt", "a/raw.bin", "empty", "empty/er"}
    entry = box.files.stat("a/raw.bin")
    assert (entry.size_bytes, entry.mode, entry.type) == (256, 0o644, "file")
    box.files.remove("a")
    assert (box.files.exists("a"), box.files.exists("empty/er")) == (False, True)


def test_operations_stand_in_the_line_of_the_session_and_a_kept_interpreter_survives_them(box: Session) -> None:
    box.run("x = 41", wait_s=WAIT_S, check=True)
    slow = box.submit("import time; time.sleep(1); open('late', 'w').write('here')")

    assert box.files.read("late", text=True) == "here"
    assert slow.status().outcome == "ok"
    box.files.write("n", "1")
    assert box.run("x + int(open('n').read())", wait_s=WAIT_S).results[0]["text/plain"] == "42"
    info = box.info()
    assert info.executions == 3
    assert len(box._client.jobs(session=box.name)) == 3


def test_files_belong_to_the_job_user(box: Session) -> None:
    box.files.write("f", "x")

    told = box.run("import os; print(os.stat('f').st_uid == os.getuid(), os.access('f', os.W_OK))", wait_s=WAIT_S)

    assert told.stdout == "True True\n"


def test_errors_name_their_code(box: Session) -> None:
    box.run("import os; os.mkdir('d'); os.symlink('/etc', 'out'); os.symlink('/etc/passwd', 'p')", stateful=False)

    assert code_of(lambda: box.files.read("none")) == "not_found"
    assert code_of(lambda: box.files.read("d")) == "not_a_file"
    assert code_of(lambda: box.files.read("../x")) == "outside_workspace"
    assert code_of(lambda: box.files.read("out/passwd")) == "outside_workspace"
    assert code_of(lambda: box.files.read("p")) == "outside_workspace"
    assert code_of(lambda: box.files.write("out/x", "")) == "outside_workspace"
    assert code_of(lambda: box.files.write("d", "")) == "not_a_file"
    assert code_of(lambda: box.files.remove("out/passwd")) == "outside_workspace"
    box.files.write("p", "mine")
    assert (box.files.read("p"), box.files.stat("out").type) == (b"mine", "symlink")


def test_the_async_client_does_the_same(live: Live) -> None:
    async def use() -> tuple[bytes, list[str], bool]:
        client = AsyncClient(live.url)
        async with await client.session() as box:
            await box.files.write("d/a", b"x" * MIB)
            data = await box.files.read("d/a")
            names = [entry.path for entry in await box.files.list(depth=2)]
            await box.files.remove("d")
            found = data, names, await box.files.exists("d")
        await client.close()
        return found

    assert asyncio.run(use()) == (b"x" * MIB, ["d", "d/a"], False)


@pytest.mark.parametrize("size", [256 << 10, (256 << 10) + 1, 5 * MIB + 7])
def test_contents_come_back_as_they_went_in_on_both_sides_of_the_inline_bound(box: Session, size: int) -> None:
    data = os.urandom(size)

    box.files.write("big", data)

    assert hashlib.sha256(box.files.read("big")).digest() == hashlib.sha256(data).digest()


def test_a_job_brings_large_files_and_stdin(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(3 * MIB + 5))
    code = "import hashlib, sys; d = sys.stdin.buffer.read(); print(len(d), open('in', 'rb').read() == d)"

    result = client.run(code, stdin=path, files={"in": path}, wait_s=WAIT_S)

    assert (result.outcome, result.stdout) == ("ok", f"{3 * MIB + 5} True\n")


def test_what_is_too_large_is_refused_with_the_bound(client: Client, box: Session, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(100 * MIB + 1)

    with pytest.raises(InvalidSpec, match="at most 104857600"):
        client.run("", files={"f": path})
    with pytest.raises(FileError, match="at most 104857600") as caught:
        box.files.write("f", path)
    assert caught.value.code == "too_large"
    box.run("open('f', 'wb').truncate(100 * 1024 * 1024 + 1)", stateful=False)
    with pytest.raises(FileError, match="more than 104857600") as caught:
        box.files.read("f")
    assert caught.value.code == "too_large"


def test_artifacts_outlive_the_sandbox_and_carry_digest_and_type(client: Client, live: Live) -> None:
    code = "import os; os.makedirs('out/d'); open('out/a.png', 'wb').write(bytes(300_000)); open('out/d/t.txt', 'w')"
    handle = client.submit(code, artifacts=["out/**", "none/*"])
    result = handle.result(WAIT_S)

    told = {artifact.path: artifact for artifact in result.artifacts}
    assert list(told) == ["out/a.png", "out/d/t.txt"]
    assert told["out/a.png"].sha256 == hashlib.sha256(bytes(300_000)).hexdigest()
    assert (told["out/a.png"].size_bytes, told["out/a.png"].content_type) == (300_000, "image/png")
    assert result.new_files == ["out/a.png", "out/d/t.txt"]
    with live.client() as other:
        assert other.job(handle.id).artifact("/workspace/out/a.png") == bytes(300_000)
        assert other.job(handle.id).artifact("out/d/t.txt") == b""
        with pytest.raises(FileError, match="no artifact 'x'") as caught:
            other.job(handle.id).artifact("x")
    assert caught.value.code == "not_found"


def test_artifacts_of_a_program_that_failed_are_kept_and_nothing_is_kept_beyond_the_bounds(client: Client) -> None:
    code = "for i in range(257): open(f'{i}.x', 'w')\nraise SystemExit(3)"
    result = client.run(code, artifacts=["*.x"], wait_s=WAIT_S)

    assert (result.outcome, result.exit_code, len(result.artifacts)) == ("error", 3, 256)
    assert "257 files match, at most 256 are kept" in result.message


def test_new_files_are_those_that_the_job_made_or_changed(client: Client) -> None:
    with client.session(stateful=False) as box:
        box.run("open('old', 'w').write('1'); open('same', 'w').write('1')", wait_s=WAIT_S)
        code = "open('old', 'w').write('2'); open('new', 'w'); open('same').read()"
        result = box.run(code, files={"put": "x"}, artifacts=["new"], wait_s=WAIT_S)

        assert sorted(result.new_files) == ["new", "old"]
        assert [artifact.path for artifact in result.artifacts] == ["new"]
        assert box.run("pass", artifacts=["**"], wait_s=WAIT_S).new_files == []
        listed = box.run("open('third', 'w')", artifacts=["-"], wait_s=WAIT_S)
        assert (listed.new_files, listed.artifacts, listed.message) == (["third"], [], "")


def test_an_uploaded_file_is_run_by_its_path(client: Client) -> None:
    with client.session(stateful=False) as box:
        box.files.write("tools/say.py", "import sys; print('said', *sys.argv[1:])")
        box.files.write("tools/say.sh", "echo sh $1")

        told = [
            box.run(entry="tools/say.py", args=["a"], wait_s=WAIT_S).stdout,
            box.run(entry="tools/say.py", cwd="tools", wait_s=WAIT_S).stdout,
            box.run(entry="tools/say.sh", language="bash", args=["b"], wait_s=WAIT_S).stdout,
            client.run(entry="main.py", files={"main.py": "print('main')"}, wait_s=WAIT_S).stdout,
        ]

    assert told == ["said a\n", "said\n", "sh b\n", "main\n"]


def test_200_files_and_one_of_100_mib_go_in_and_out_and_the_worker_holds_none_of_it(
    live: Live, client: Client, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    for number in range(200):
        path = there / f"d{number % 10}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1 + number * 37))
    (there / "empty").mkdir()
    (there / "d0" / "run").write_text("#!/bin/sh\n")
    (there / "d0" / "run").chmod(0o755)
    (there / "dangling").symlink_to("/nowhere")
    with (there / "big").open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(MIB))
    with client.session() as box:
        box.files.write("warm", b"x" * MIB)
        forget_peak(live.pid)
        before = peak_bytes(live.pid)

        box.files.upload_dir(there, "up")
        assert box.run("import os; print(os.access('up/d0/run', os.X_OK))", wait_s=WAIT_S).stdout == "True\n"
        box.files.download_dir("up", back)

        grown = peak_bytes(live.pid) - before
    (there / "dangling").unlink()
    assert _tree(back) == _tree(there)
    assert grown < 24 * MIB


def _tree(root: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, _digest(path) if path.is_file() else "")
        for path in root.rglob("*")
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_tree_of_hostile_names_comes_back_without_leading_anywhere(client: Client, tmp_path: Path) -> None:
    code = r"""
import os
os.makedirs('t/d')
for name in (b'\xff\xfe', b'new\nline', b'"q\\', b'\x1b[31m', b'-rf', 'ü'.encode()):
    open(b't/d/' + name, 'wb').write(name)
os.symlink('/etc', 't/out'); os.symlink('/etc/passwd', 't/d/passwd'); os.mkfifo('t/fifo')
"""
    with client.session(stateful=False) as box:
        assert box.run(code, wait_s=WAIT_S).outcome == "ok"
        names = {entry.path: entry.type for entry in box.files.list("t", depth=9)}
        box.files.download_dir("t", tmp_path / "t")
        content = box.files.read("t/d/\udcff\udcfe")

    assert {"t/d/\udcff\udcfe", "t/d/new\nline", "t/out", "t/fifo"} <= set(names)
    assert (names["t/out"], names["t/fifo"], content) == ("symlink", "other", b"\xff\xfe")
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["d"]
    assert len(list((tmp_path / "t" / "d").iterdir())) == 6
