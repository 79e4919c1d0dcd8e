"""Who may name an upload, and what is refused before any worker is asked?"""

import hashlib

import httpx2
import pytest
from tests.producer.leasebox.server.conftest import Keyed

from leasebox.contract.keys import Keys

DATA = b"x" * 300_000


def test_an_upload_belongs_to_its_tenant(keyed: Keyed):
    own = keyed.client(keyed.key("acme").key)
    other = keyed.client(keyed.key("other").key)
    blob = own.post("/v1/blobs", content=DATA).json()["id"]
    spec = {"code": "", "files": {"f": {"blob": blob}}}

    assert blob == hashlib.sha256(DATA).hexdigest()
    assert own.post("/v1/jobs", json=spec).status_code == 202
    refused = other.post("/v1/jobs", json=spec)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_spec")


def test_an_upload_needs_the_right_to_submit(keyed: Keyed):
    reader = keyed.client(keyed.key("acme", "jobs:read").key)

    assert reader.post("/v1/blobs", content=DATA).status_code == 403


def test_the_same_upload_again_leaves_one_copy_and_nothing_half(http: httpx2.Client, redis, settings):
    for _ in range(2):
        assert http.post("/v1/blobs", content=DATA).status_code == 201
    http.post("/v1/blobs", content=b"")

    keys = list(redis.scan_iter(Keys(settings.prefix).blob("*")))
    assert len(keys) == 1
    assert redis.get(keys[0]) == DATA
    assert 0 < redis.ttl(keys[0]) <= 3600


def test_an_upload_that_a_job_needs_stays_when_it_is_uploaded_again(http: httpx2.Client, redis, settings):
    blob = http.post("/v1/blobs", content=DATA).json()["id"]
    http.post("/v1/jobs", json={"code": "", "stdin": {"blob": blob}})
    http.post("/v1/blobs", content=DATA)

    (key,) = [k for k in redis.scan_iter(Keys(settings.prefix).blob("*")) if not k.endswith(b":jobs")]
    assert redis.ttl(key) == -1


@pytest.mark.parametrize("path", ["%2e%2e/x", "/etc/passwd", "a/%2e%2e/b"])
def test_paths_out_of_the_workspace_are_refused_at_once(http: httpx2.Client, path: str):
    http.post("/v1/sessions", json={"name": "s"})

    answer = http.put(f"/v1/sessions/s/files/{path}", content=b"x")

    assert (answer.status_code, answer.json()["code"]) == (422, "outside_workspace")


def test_a_job_that_runs_has_no_artifacts_yet(http: httpx2.Client):
    job = http.post("/v1/jobs", json={"code": ""}).json()["id"]

    assert http.get(f"/v1/jobs/{job}/artifacts/x").json()["code"] == "wrong_state"
    assert http.get("/v1/jobs/none/artifacts/x").json()["code"] == "unknown_job"


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("d", "extract=rar", "invalid_spec"),
        ("%2e%2e/x", "extract=tar", "outside_workspace"),
        ("/workspace", "", "not_a_file"),
    ],
)
def test_an_archive_has_a_known_form_and_a_folder_in_the_workspace(
    http: httpx2.Client, path: str, query: str, code: str
):
    http.post("/v1/sessions", json={"name": "s"})

    answer = http.put(f"/v1/sessions/s/files/{path}?{query}", content=b"x")

    assert answer.json()["code"] == code
