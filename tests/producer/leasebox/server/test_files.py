"""Who may name an upload, what is refused before any worker is asked, and what is an operation that was not done?"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from redis import Redis
from tests.producer.leasebox.conftest import PlayedWorker
from tests.producer.leasebox.server.conftest import Failing, Keyed

from leasebox import Client
from leasebox.config import ClientSettings
from leasebox.contract.error_codes import BY_CODE
from leasebox.contract.keys import Keys
from leasebox.contract.result import Outcome

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


@pytest.mark.parametrize(("method", "url"), [("POST", "/v1/blobs"), ("PUT", "/v1/sessions/s/files/f")])
def test_an_upload_whose_beginning_redis_has_lost_is_refused(
    http: httpx2.Client, redis: Redis, settings: ClientSettings, eventually: Any, method: str, url: str
):
    begun = Keys(settings.prefix).blob("*new-*")

    def parts() -> Iterator[bytes]:
        yield bytes(3 << 20)
        eventually(lambda: any(redis.strlen(key) >= 2 << 20 for key in redis.scan_iter(begun)), within_s=20)
        redis.delete(*redis.scan_iter(begun))
        yield bytes(2 << 20)

    answer = http.request(method, url, content=parts())

    assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
    assert list(redis.scan_iter(Keys(settings.prefix).blob("*"))) == []


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


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_a_path_that_is_not_utf_8_is_refused_and_not_taken_for_another(http: httpx2.Client, method: str):
    http.post("/v1/sessions", json={"name": "s"})

    answer = http.request(method, "/v1/sessions/s/files/%FF")

    assert (answer.status_code, answer.json()["detail"]) == (422, "path: not UTF-8")


@pytest.mark.parametrize(("method", "url"), [("PUT", "/v1/sessions/s/files/f"), ("POST", "/v1/blobs")])
def test_a_part_of_a_file_is_not_taken_for_the_whole(http: httpx2.Client, method: str, url: str):
    http.post("/v1/sessions", json={"name": "s"})

    answer = http.request(method, url, content=b"6789", headers={"Content-Range": "bytes 6-9/10"})

    assert (answer.status_code, answer.json()["detail"]) == (400, "Content-Range: a file is sent whole")


@pytest.mark.parametrize(("method", "url"), [("PUT", "/v1/sessions/s/files/f"), ("POST", "/v1/blobs")])
@pytest.mark.parametrize(
    ("name", "value"),
    [("Content-Encoding", "gzip"), ("Content-Type", "Multipart/form-data; boundary=x")],
)
def test_what_holds_a_file_is_not_taken_for_the_file(http: httpx2.Client, method: str, url: str, name: str, value: str):
    http.post("/v1/sessions", json={"name": "s"})

    answer = http.request(method, url, content=b"x", headers={name: value})

    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")


@pytest.fixture
def left(http: httpx2.Client, redis: Redis, settings: ClientSettings, played: PlayedWorker) -> Callable[[int], str]:
    """The URL of a file of 3 MiB that a job left, of which so many bytes are kept."""

    def leave(kept: int) -> str:
        job = http.post("/v1/jobs", json={"code": ""}).json()["id"]
        content = bytes(3 << 20)
        sha = hashlib.sha256(content).hexdigest()
        artifact = {"path": "f", "size_bytes": len(content), "sha256": sha, "content_type": "text/plain"}
        redis.set(Keys(settings.prefix).artifact(job, sha), content[:kept])
        played.end(played.begin(job), artifacts=[artifact])
        return f"/v1/jobs/{job}/artifacts/f"

    return leave


def test_a_download_says_how_long_it_is(http: httpx2.Client, left: Callable[[int], str]):
    answer = http.get(left(3 << 20))

    assert (answer.headers["content-length"], len(answer.content)) == (str(3 << 20), 3 << 20)


def test_a_download_that_cannot_go_on_breaks_off(http: httpx2.Client, left: Callable[[int], str]):
    with pytest.raises(httpx2.RemoteProtocolError):
        http.get(left(2 << 20))


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


FILES = "/v1/sessions/s/files"
MOVE = {"verb": "move", "path": "a", "to": "b"}
KEY = {"Idempotency-Key": "k"}
FAILED = {
    "error": 500, "killed": 500, "timeout": 504, "oom": 507, "output_limit": 507, "disk_limit": 507, "pids_limit": 507,
    "cancelled": 409, "expired": 409, "rejected": 422, "lost": 503, "infra": 503,
}  # fmt: skip
OPERATIONS = {
    "read": ("GET", f"{FILES}/f"),
    "list": ("GET", FILES),
    "write": ("PUT", f"{FILES}/f"),
    "extract": ("PUT", f"{FILES}/f?extract=tar"),
    "remove": ("DELETE", f"{FILES}/f"),
}


@pytest.fixture
def asked(http: httpx2.Client, fail: Failing) -> Callable[..., httpx2.Response]:
    """The answer to an operation that ends so."""

    def ask(operation: str, outcome: str, headers: Any = None, **error: str) -> httpx2.Response:
        method, url = OPERATIONS[operation]
        content = b"x" if method == "PUT" else None
        http.post("/v1/sessions", json={"name": "s"})
        with ThreadPoolExecutor(1) as asking:
            answer = asking.submit(http.request, method, url, content=content, headers=headers)
            fail(outcome, **error)
            return answer.result(20)

    return ask


def test_a_repeated_operation_is_the_same_job_and_is_carried_out_once(http: httpx2.Client, played: PlayedWorker):
    first = http.post(FILES, json=MOVE, headers=KEY).json()
    played.end(played.begin(first["id"]), stdout="done")
    again = http.post(FILES, json=MOVE, headers=KEY).json()

    assert (again["id"], first["existing"], again["existing"]) == (first["id"], False, True)
    assert again["result"]["stdout"] == "done"
    assert http.post(FILES, json=MOVE).json()["id"] != first["id"]


@pytest.mark.parametrize(
    ("url", "body"),
    [
        (FILES, {**MOVE, "to": "c"}),
        ("/v1/sessions/t/files", MOVE),
        (f"{FILES}?profile=default", MOVE),
        ("/v1/jobs", {"code": "1"}),
    ],
)
def test_a_key_of_another_operation_session_or_job_is_a_conflict(http: httpx2.Client, url: str, body: Any):
    http.post(FILES, json=MOVE, headers=KEY)

    answer = http.post(url, json=body, headers=KEY)

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize("operation", ["write", "extract", "remove"])
def test_a_repeated_write_or_removal_is_told_what_the_first_was(
    http: httpx2.Client, asked: Callable[..., httpx2.Response], operation: str
):
    method, url = OPERATIONS[operation]
    first = asked(operation, "disk_limit", headers=KEY)

    again = http.request(method, url, content=b"x" if method == "PUT" else None, headers=KEY)

    assert (first.status_code, again.status_code) == (507, 507)


def test_every_outcome_but_ok_has_a_status_that_says_so():
    assert set(FAILED) == set(Outcome) - {"ok"}
    assert [error.code for error in BY_CODE.values() if error.http_status < 400] == []


@pytest.mark.parametrize("outcome", FAILED)
def test_a_file_that_could_not_be_read_is_a_problem(asked: Callable[..., httpx2.Response], outcome: str):
    answer = asked("read", outcome)

    assert (answer.status_code, answer.headers["content-type"]) == (FAILED[outcome], "application/problem+json")
    told = answer.json()
    assert (told["status"], told["code"], told["detail"]) == (FAILED[outcome], outcome, "why")
    assert ("retry-after" in answer.headers) == (FAILED[outcome] == 503)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_operation_that_was_not_done_looks_like_one_that_was(
    http: httpx2.Client, asked: Callable[..., httpx2.Response], operation: str
):
    answer = asked(operation, "infra")

    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "infra", "1")
    documented = http.get("/openapi.json").json()["paths"]
    template = f"/v1/sessions/{{name}}/files{'' if operation == 'list' else '/{path}'}"
    told = documented[template][OPERATIONS[operation][0].lower()]["responses"]
    assert {str(status) for status in FAILED.values()} <= set(told)


def test_an_operation_whose_session_is_gone_is_410(asked: Callable[..., httpx2.Response]):
    answer = asked("read", "lost", name="SessionExpired")

    assert (answer.status_code, answer.json()["code"]) == (410, "session_expired")


@pytest.mark.parametrize("outcome", FAILED)
def test_the_sdk_raises_the_same_error_over_redis_and_http(
    either_settings: ClientSettings, fail: Failing, outcome: str
):
    with Client(settings=either_settings) as client, ThreadPoolExecutor(1) as threads:
        files = client.session("s", stateful=False).files
        for operation in (lambda: files.read("f"), lambda: files.write("f", b"x"), files.list):
            done = threads.submit(operation)
            fail(outcome)
            with pytest.raises(BY_CODE[outcome], match=r"^why$"):
                done.result(20)
