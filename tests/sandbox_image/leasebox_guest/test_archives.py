"""Archives as anybody may write them: unpacked whole as the job's uid, or refused with nothing changed."""

import bz2
import gzip
import io
import json
import lzma
import random
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.sandbox_image.leasebox_guest.conftest import Ended

from leasebox_guest.archives import MAX_ENTRIES, SMALL_BYTES
from leasebox_guest.frames import STDIN_WINDOW, Kind

FORMS = ("tar", "tar.gz", "tar.bz2", "tar.xz", "zip")
ZEROS = bytes(1 << 20)


def tar(*entries: tuple[str, bytes | None] | tarfile.TarInfo, compression: str = "") -> bytes:
    """A tar; content None is a folder."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
                continue
            name, content = entry
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content or b""), 0o751
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            archive.addfile(info, io.BytesIO(content or b""))
    return held.getvalue()


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo("special")
    info.type, info.linkname = kind, target
    return info


def zipped(*entries: tuple[str, bytes | None], mode: int = stat.S_IFREG | 0o751) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name if content is not None else f"{name}/")
            info.external_attr = mode << 16 if content is not None else 0
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content or b"")
    return held.getvalue()


def flipped(data: bytes, signature: bytes, at: int) -> bytes:
    """The same with one bit changed, so far behind the first header of a kind."""
    place = data.index(signature) + at
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def archive_of(form: str, *entries: tuple[str, bytes | None]) -> bytes:
    return zipped(*entries) if form == "zip" else tar(*entries, compression=form.partition(".")[2])


def extract(host: Any, data: bytes, form: str, path: str = ".") -> Any:
    host.start(kind="file", argv=["extract", path, "zip" if form == "zip" else "tar"], stdin=None)
    window, stderr = STDIN_WINDOW, b""
    if not data:
        host.send(Kind.STDIN)
    while True:
        while window and data:
            part, data = data[: min(window, 65536)], data[min(window, 65536) :]
            window -= len(part)
            host.send(Kind.STDIN, part)
            if not data:
                host.send(Kind.STDIN)
        kind, payload = host.next()
        if kind is Kind.CREDIT:
            window += json.loads(payload)["n"]
        elif kind is Kind.STDERR:
            stderr += payload
        elif kind is Kind.EXITED:
            return Ended(stderr=stderr, fields=json.loads(payload))


def there(host: Any) -> dict[str, tuple[str, int]]:
    told = json.loads(host.run(kind="file", argv=["list", ".", "64"]).stdout)
    return {entry["path"]: (entry["type"], entry["mode"]) for entry in told}


def refused(host: Any, data: bytes, form: str, path: str = ".") -> str:
    """The code; nothing is there that was not before."""
    before = there(host)
    ended = extract(host, data, form, path)
    assert ended.code == 1, ended.stderr
    assert there(host) == before
    return str(ended.stderr.decode().split()[0])


@pytest.fixture(autouse=True)
def _clean(host: Any) -> Iterator[None]:
    empty = ["find", "/workspace", "-mindepth", "1", "-delete"]
    host.run(kind="command", argv=empty)  # other files' tests have the same sandbox
    yield
    host.run(kind="command", argv=empty)


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_becomes_files_and_folders_below_the_path(host: Any, form: str) -> None:
    host.run("import os; os.makedirs('to/d'); open('to/d/a', 'w').write('old'); open('to/mine', 'w')")
    data = archive_of(form, ("./d", None), ("d/a", b"A"), ("d/./e/é", b"x" * 3_000_000), ("empty", None), (" -rf", b""))

    ended = extract(host, data, form, "to")

    assert (ended.code, ended.stderr) == (0, b"")
    assert there(host) == {
        "to": ("directory", 0o755),
        "to/ -rf": ("file", 0o751),
        "to/d": ("directory", 0o755),
        "to/empty": ("directory", 0o755),
        "to/mine": ("file", 0o644),
        "to/d/a": ("file", 0o751),
        "to/d/e": ("directory", 0o755),
        "to/d/e/é": ("file", 0o751),
    }
    assert host.run(kind="get", argv=["to/d/a"]).stdout == b"A"
    assert len(host.run(kind="get", argv=["to/d/e/é"]).stdout) == 3_000_000


@pytest.mark.parametrize("form", ["tar", "zip"])
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../x", "outside_workspace"),
        ("a/../../x", "outside_workspace"),
        ("a/../x", "outside_workspace"),
        ("/etc/x", "outside_workspace"),
        ("/workspace/x", "outside_workspace"),
        ("link/x", "outside_workspace"),
        ("n" * 256, "failed"),
        ("/".join(["d" * 200] * 6), "failed"),
        ("file/x", "not_found"),
        ("folder", "not_a_file"),
    ],
)
def test_a_name_without_a_place_refuses_the_whole(host: Any, form: str, name: str, code: str) -> None:
    host.run("import os; os.symlink('/tmp', 'link'); open('file', 'w'); os.makedirs('folder/x')")

    assert refused(host, archive_of(form, ("first", b"1"), (name, b"2")), form) == code


@pytest.mark.parametrize(
    ("data", "form", "code"),
    [
        (tar(("a", b"1"), special(tarfile.SYMTYPE, "/etc/passwd")), "tar", "not_a_file"),
        (tar(("a", b"1"), special(tarfile.LNKTYPE, "a")), "tar", "not_a_file"),
        (tar(special(tarfile.CHRTYPE)), "tar", "not_a_file"),
        (tar(special(tarfile.FIFOTYPE)), "tar", "not_a_file"),
        (zipped(("l", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "zip", "not_a_file"),
        (tar(("a", b"1"), ("./a", b"2")), "tar", "failed"),
        (tar(("a", b"1"), ("a", None)), "tar", "failed"),
        (tar(("a", b"1"), ("a/b", b"2")), "tar", "not_a_file"),
        (zipped(("a/b", b"1"), ("a", b"2")), "zip", "not_a_file"),
        (b"", "tar", "failed"),
        (b"", "zip", "failed"),
        (b"no archive" * 100, "tar", "failed"),
        (b"no archive" * 100, "zip", "failed"),
        (zipped(("a", b"1")), "tar", "failed"),
        (tar(("a", b"1")), "zip", "failed"),
        (tar(("a", b"1" * 5000))[:3000], "tar", "failed"),
        (tar(("a", bytes(range(256)) * 4000), compression="gz")[:-2000], "tar", "failed"),
        (flipped(zipped(("a", b"1")), b"PK\1\2", 16), "zip", "failed"),
    ],
)
def test_what_is_no_archive_of_files_and_folders_is_refused_whole(host: Any, data: bytes, form: str, code: str) -> None:
    assert refused(host, data, form) == code


@pytest.mark.parametrize("size_bytes", [512, 700, 1000, 1024, 1300, 1536, 2048])
def test_a_tar_that_was_cut_is_refused_wherever_it_was(host: Any, size_bytes: int) -> None:
    whole = tar(("a", b"A" * 500), ("b", b"B" * 500))

    assert refused(host, whole[:size_bytes], "tar") == "failed"
    assert extract(host, whole[:2560], "tar").code == 0  # its end has begun


@pytest.mark.parametrize("form", FORMS[1:4])
def test_a_compressed_tar_that_was_cut_is_refused(host: Any, form: str) -> None:
    whole = archive_of(form, ("a", b"A" * 500), ("b", random.Random(1).randbytes(9000)))

    assert refused(host, whole[: len(whole) // 2], form) == "failed"
    assert refused(host, whole[:130], form) == "failed"


def test_a_tar_with_a_broken_header_within_is_refused(host: Any) -> None:
    assert refused(host, flipped(tar(("a", b"A"), ("b", b"B")), b"b\0\0\0", 1), "tar") == "failed"


@pytest.mark.parametrize("form", FORMS[1:])
def test_an_archive_with_one_wrong_bit_anywhere_is_refused_or_as_it_was(host: Any, form: str) -> None:
    content = random.Random(1).randbytes(300_000)
    whole = archive_of(form, ("a", content))
    within = [len(whole) * part // 20 for part in range(1, 20)]

    for place in within:
        assert refused(host, whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :], form) == "failed", place
    assert extract(host, whole, form).code == 0


@pytest.mark.parametrize("form", FORMS[:4])
def test_what_follows_the_end_is_bounded(host: Any, form: str) -> None:
    compress = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}[form]

    assert extract(host, compress(tar(("a", b"A")) + ZEROS), form).code == 0
    assert refused(host, compress(tar(("b", b"B")) + ZEROS * 11), form) == "too_large"


def test_an_encrypted_archive_is_refused(host: Any) -> None:
    data = flipped(flipped(zipped(("a", b"1")), b"PK\3\4", 6), b"PK\1\2", 8)

    assert refused(host, data, "zip") == "failed"


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_a_bomb_is_refused_by_what_comes_out_of_it(host: Any, form: str) -> None:
    bomb = archive_of(form, *((f"{number}", ZEROS) for number in range((SMALL_BYTES >> 20) + 12)))
    small = archive_of(form, *((f"{number}", ZEROS) for number in range(SMALL_BYTES >> 20)))

    assert refused(host, bomb, form) == "too_large"
    assert extract(host, small, form).code == 0


@pytest.mark.parametrize("host", ["r1"], indirect=True)  # the other has fewer inodes
@pytest.mark.parametrize("form", ["tar", "zip"])
def test_the_number_of_names_has_a_bound(host: Any, form: str) -> None:
    data = archive_of(form, *((f"{number}", b"") for number in range(MAX_ENTRIES + 1)))

    assert refused(host, data, form) == "too_large"


@pytest.mark.parametrize("host", ["r1"], indirect=True)  # the same check
def test_a_header_that_wants_much_memory_is_refused(host: Any) -> None:
    greedy = tarfile.TarInfo("pax")
    greedy.type, greedy.size = tarfile.XHDTYPE, 200 << 20
    packer = zlib.compressobj(1, wbits=31)
    data = packer.compress(greedy.tobuf(tarfile.USTAR_FORMAT)) + b"".join(packer.compress(ZEROS) for _ in range(200))

    assert refused(host, data + packer.flush(), "tar.gz") == "too_large"


def test_what_a_killed_unpacking_left_is_gone_after_the_next_and_a_link_of_that_name_is_not_followed(host: Any) -> None:
    host.run(
        "import os; os.makedirs('.leasebox-extract-1/d'); open('.leasebox-extract-1/d/f', 'w')\n"
        "os.mkdir('own'); os.chmod('own', 0o750); os.symlink('own', '.leasebox-extract-2')"
    )

    assert extract(host, tar(("a", b"1")), "tar").code == 0

    assert there(host) == {
        ".leasebox-extract-2": ("symlink", 0o777),
        "a": ("file", 0o751),
        "own": ("directory", 0o750),
    }


@pytest.mark.parametrize("host", ["r2"], indirect=True)
def test_no_room_is_too_large_and_leaves_nothing(host: Any) -> None:
    host.run("open('fill', 'wb').write(bytes(90 << 20))")  # of 96 MiB

    assert refused(host, tar(("a", bytes(1 << 20)), ("b", bytes(6 << 20))), "tar") == "too_large"
