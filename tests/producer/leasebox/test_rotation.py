"""Does a log stay small under the hands of those who write it?"""

from pathlib import Path

import pytest

from leasebox._rotation import KEPT, Rotation, rotate


def test_writers_go_on_in_the_same_file_and_nothing_between_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "embedded.log"
    with log.open("ab", buffering=0) as one, log.open("ab", buffering=0) as other:
        for number in range(2 + KEPT):
            one.write(f"one {number}\n".encode())
            other.write(f"other {number}\n".encode())
            assert rotate(log, max_bytes=10)
        one.write(b"last\n")

    assert log.read_text() == "last\n"
    assert [(tmp_path / f"embedded.log.{number}").read_text() for number in (1, 2)] == [
        "one 3\nother 3\n",
        "one 2\nother 2\n",
    ]
    assert len(list(tmp_path.iterdir())) == 1 + KEPT


@pytest.mark.parametrize(("size", "is_rotated"), [(10, False), (11, True)])
def test_a_file_is_left_alone_up_to_its_bound(tmp_path: Path, size: int, is_rotated: bool) -> None:
    log = tmp_path / "log"
    log.write_bytes(bytes(size))

    assert rotate(log, max_bytes=10) is is_rotated
    assert log.stat().st_size == (0 if is_rotated else size)


def test_a_file_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert rotate(tmp_path / "none") is False


def test_a_full_disk_is_told_once_and_takes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log, copy, rotation = tmp_path / "log", tmp_path / "log.copy", Rotation(max_bytes=9)
    olds = [tmp_path / f"log.{number}" for number in (1, 2)]
    for file in (log, *olds):
        file.write_text(f"all of {file.name}")

    for _ in range(3):
        copy.symlink_to("/dev/full")
        assert rotation.look(log) is False

    assert [file.read_text() for file in (log, *olds)] == ["all of log", "all of log.1", "all of log.2"]
    assert not copy.is_symlink()
    assert capfd.readouterr().err == (
        f"leasebox: {log} cannot be put aside and grows: No space left on device; make room there\n"
    )

    assert rotation.look(log) is True
    assert [file.read_text() for file in (log, *olds)] == ["", "all of log", "all of log.1"]

    log.write_text("grown again")
    copy.symlink_to("/dev/full")
    assert rotation.look(log) is False
    assert "No space left" in capfd.readouterr().err
