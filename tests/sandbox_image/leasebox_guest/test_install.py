import stat
import sys
from pathlib import Path

from leasebox_guest.install import install

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_what_is_installed_is_complete_and_open_to_all(tmp_path: Path) -> None:
    folder = install(tmp_path / "agents", VERSION)

    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"boot.py", "sitecustomize.py", "leasebox_guest/agent.py"} <= names
    assert f"leasebox_guest/__pycache__/agent.{sys.implementation.cache_tag}.pyc" in names
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")] if path.is_dir()}
    assert modes == {0o755}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o644}


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    first = install(tmp_path, VERSION)
    before = first.stat().st_ino

    assert install(tmp_path, VERSION) == first
    assert first.stat().st_ino == before
    assert list(tmp_path.iterdir()) == [first]


def test_another_interpreter_gets_no_compiled_files_and_another_folder(tmp_path: Path) -> None:
    plain = install(tmp_path, "2.7")

    assert not list(plain.rglob("*.pyc"))
    assert plain != install(tmp_path, VERSION)
    assert plain == install(tmp_path, None)


def test_compiled_files_are_checked_by_hash(tmp_path: Path) -> None:
    caches = list(install(tmp_path, VERSION).rglob("*.pyc"))

    assert caches
    assert {cache.read_bytes()[4] for cache in caches} == {0b11}


def test_the_start_files_are_not_importable_on_the_host() -> None:
    assert not any((Path(path) / "boot.py").exists() for path in sys.path)
    assert not any((Path(path) / "sitecustomize.py").is_file() and "leasebox" in path for path in sys.path)
