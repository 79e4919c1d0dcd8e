"""What is taken of a folder on this side?"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasebox import _folders
from leasebox._folders import Tree
from leasebox.contract.blobs import MAX_BLOB_BYTES
from leasebox.contract.errors import FileError, InvalidSpec
from leasebox.contract.files import Entry, EntryType


@pytest.fixture
def source() -> Iterator[Path]:
    """A folder that everyone reaches."""
    with tempfile.TemporaryDirectory(prefix="lbf-", dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def paths(source: Path) -> list[str]:
    return [one.path for one in _folders._walk(source, _folders._rooted("in"))]


def test_files_and_folders_come_in_order_and_links_by_what_they_lead_to(source: Path) -> None:
    (source / "b" / "empty").mkdir(parents=True)
    (source / "b" / "x").write_text("x")
    (source / "a").write_text("a")
    (source / "to_file").symlink_to("a")
    (source / "to_folder").symlink_to("b")
    (source / "to_itself").symlink_to("to_itself")
    (source / "to_nothing").symlink_to("nothing")
    os.mkfifo(source / "pipe")

    assert paths(source) == ["in/a", "in/b", "in/to_file", "in/b/empty", "in/b/x"]


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["not to be listed", "not to be entered"])
def test_what_cannot_be_read_is_refused_and_not_passed_over(source: Path, mode: int) -> None:
    hidden = source / "hidden"
    hidden.mkdir()
    (hidden / "x").write_text("x")
    hidden.chmod(mode)
    uid = os.geteuid()
    os.seteuid(65534 if uid == 0 else uid)
    try:
        with pytest.raises(InvalidSpec, match=r"cannot read .*hidden"):
            paths(source)
    finally:
        os.seteuid(uid)
        hidden.chmod(0o755)


@pytest.mark.parametrize("size_bytes", [_folders.ALONE_BYTES, _folders.ALONE_BYTES + 1, MAX_BLOB_BYTES - 1024])
def test_a_file_keeps_its_mode_whether_it_travels_alone_or_not(source: Path, size_bytes: int) -> None:
    with (source / "program").open("wb") as file:
        file.truncate(size_bytes)
    (source / "program").chmod(0o755)

    (request,) = _folders.uploads(source, "in")
    (packed,) = request.uploads.values()

    head = next(packed.parts())
    header = json.loads(head[4 : 4 + int.from_bytes(head[:4], "big")])
    assert header == {"path": "in/program", "size": size_bytes, "mode": 0o755}


def test_a_file_of_100_mib_is_put_and_one_byte_more_is_refused(source: Path) -> None:
    for size_bytes in (MAX_BLOB_BYTES, MAX_BLOB_BYTES + 1):
        with (source / "large").open("wb") as file:
            file.truncate(size_bytes)
        if size_bytes == MAX_BLOB_BYTES:
            assert [one.operation.verb for one in _folders.uploads(source, "in")] == ["write"]

    with pytest.raises(FileError) as caught:
        list(_folders.uploads(source, "in"))
    assert caught.value.code == "too_large"


def told(path: str, mode: int = 0o755) -> Entry:
    return Entry(path=path, type=EntryType.DIRECTORY, size_bytes=0, modified_at=0, mode=mode)


def below(depth: int, name: str = "n") -> str:
    return "/".join(["d", *[name] * depth])


@pytest.mark.parametrize("last", [told("d/x", 0o500), told(below(63)), told(below(4, "n" * 254) + "/ab")])
def test_a_folder_that_was_looked_into_is_made(tmp_path: Path, last: Entry) -> None:
    Tree([last], "d", tmp_path)


@pytest.mark.parametrize(
    "last",
    [told("d/x", 0), told("d", 0), told("d/x", 0o400), told("d/x", 0o100), told(below(64)), told(below(4, "n" * 255))],
    ids=["neither", "itself", "not to be entered", "not to be listed", "deep", "long"],
)
def test_a_folder_that_nobody_looked_into_is_no_empty_one(tmp_path: Path, last: Entry) -> None:
    with pytest.raises(FileError, match=r"may not be read|deeper than 64 folders or 1024 bytes"):
        Tree([last], "d", tmp_path)
