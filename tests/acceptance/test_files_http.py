"""What the API does with files, on a live system with each driver: by its routes, and under the same SDK as ever."""

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.acceptance.conftest import DOORS

from leasebox.client import Client
from leasebox.contract.errors import FileError

pytestmark = [pytest.mark.slow, DOORS]
WAIT_S = 60.0
DATA = os.urandom((3 << 20) + 5)


@pytest.fixture
def http(api: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=api, timeout=90) as client:
        yield client


def test_the_sdk_has_files_blobs_and_artifacts_over_http_too(api: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "in" / "d" / "f").write_bytes(DATA)
    with Client(api) as client, client.session(stateful=False) as box:
        box.files.write("big", DATA)
        box.files.upload_dir(tmp_path / "in", "up")
        box.files.move("big", "moved")
        box.files.download_dir("up", tmp_path / "out")
        code = "import sys; open('copy', 'wb').write(sys.stdin.buffer.read())"
        handle = box.submit(code, stdin=DATA, artifacts=["copy"])

        assert [artifact.size_bytes for artifact in handle.result(WAIT_S).artifacts] == [len(DATA)]
        assert handle.artifact("copy") == box.files.read("moved") == DATA
        assert (tmp_path / "out" / "d" / "f").read_bytes() == DATA
        assert [entry.path for entry in box.files.list()] == ["copy", "moved", "up"]
        with pytest.raises(FileError) as caught:
            box.files.read("none")
    assert caught.value.code == "not_found"


def test_routes_put_get_list_and_remove(http: httpx2.Client) -> None:
    name = http.post("/v1/sessions", json={}).json()["name"]
    files = f"/v1/sessions/{name}/files"

    assert http.put(f"{files}/d/a.html", content=b"<b>").status_code == 204
    assert http.put(f"{files}/large", content=DATA).status_code == 204
    small, large = http.get(f"{files}/d/a.html"), http.get(f"{files}/large")
    listed = http.get(files, params={"depth": 2}).json()
    removed = http.delete(f"{files}/d")

    assert (small.content, large.content) == (b"<b>", DATA)
    assert small.headers["content-type"] == "application/octet-stream"
    assert small.headers["content-disposition"] == "attachment; filename*=UTF-8''a.html"
    assert [(entry["path"], entry["type"]) for entry in listed] == [
        ("d", "directory"), ("large", "file"), ("d/a.html", "file")
    ]  # fmt: skip
    assert removed.status_code == 204
    assert [http.get(f"{files}/{path}").status_code for path in ("d", "%2e%2e/x")] == [404, 422]
    assert http.get("/v1/sessions/never-made/files").json()["code"] == "unknown_session"
    http.delete(f"/v1/sessions/{name}")


def test_an_archive_is_unpacked_whole_or_refused_with_nothing_changed(http: httpx2.Client) -> None:
    tar, hostile, zipped = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for held, names in ((tar, ("a", "d/b")), (hostile, ("c", "../c"))):
        with tarfile.open(fileobj=held, mode="w:gz") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(DATA)
                archive.addfile(info, io.BytesIO(DATA))
    with zipfile.ZipFile(zipped, "w") as archive_file:
        archive_file.writestr("z", b"Z")
    name = http.post("/v1/sessions", json={}).json()["name"]
    files = f"/v1/sessions/{name}/files"

    unpacked = http.put(f"{files}/to?extract=tar", content=tar.getvalue())
    into_all = http.put(f"{files}//workspace?extract=zip", content=zipped.getvalue())
    refused = http.put(f"{files}/to?extract=tar", content=hostile.getvalue())
    broken = http.put(f"{files}/to?extract=zip", content=tar.getvalue())

    assert (unpacked.status_code, into_all.status_code) == (204, 204)
    assert (refused.status_code, refused.json()["code"]) == (422, "outside_workspace")
    assert (broken.status_code, broken.json()["code"]) == (409, "file_error")
    assert http.get(f"{files}/to/d/b").content == DATA
    listed = http.get(files, params={"depth": 3}).json()
    assert sorted(entry["path"] for entry in listed) == ["to", "to/a", "to/d", "to/d/b", "z"]
    http.delete(f"/v1/sessions/{name}")


def test_an_upload_is_named_by_its_content_and_what_is_too_large_is_413(http: httpx2.Client) -> None:
    made = http.post("/v1/blobs", content=DATA)
    large = http.post("/v1/blobs", content=bytes((100 << 20) + 1))

    assert (made.status_code, made.json()["id"]) == (201, hashlib.sha256(DATA).hexdigest())
    assert (large.status_code, "104857600" in large.json()["detail"]) == (413, True)
    assert http.post("/v1/blobs", content=b"").status_code == 422
    files = {"f": {"blob": made.json()["id"]}}
    job = http.post("/v1/jobs?wait=60", json={"code": "print(len(open('f', 'rb').read()))", "files": files}).json()
    assert job["result"]["stdout"] == f"{len(DATA)}\n"
    gone = http.post("/v1/jobs", json={"code": "", "files": {"f": {"blob": "0" * 64}}})
    assert (gone.status_code, "upload it again" in gone.json()["hint"]) == (422, True)
