"""What is taken of a folder on this side?"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasebox import _folders
from leasebox.contract.errors import InvalidSpec


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
