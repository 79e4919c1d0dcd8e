"""Does the page show what runs, nothing that hurts, and act for nobody but a key with the scope?"""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.producer.leasebox.served import served
from tests.producer.leasebox.server.conftest import Keyed

from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys
from leasebox.server.page import rendering
from leasebox.server.page.rendering import POLICY
from leasebox.server.page.transcript import MAX_CHARS
from leasebox.server.service import KEY_COOKIE

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[2J\x1b[31m\u202e&amp;"
SEEN = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>␛[2J‹U+202E›&amp;"


@pytest.fixture
def browser(keyed: Keyed) -> Iterator[httpx2.Client]:
    """A browser without a key, which keeps cookies and follows nothing by itself."""
    with keyed.client(None) as client:
        client.headers["Origin"] = keyed.url
        yield client


def submit(http: httpx2.Client, **spec: Any) -> str:
    return str(http.post("/v1/jobs", json={"code": "secret_code()", **spec}).json()["id"])


def sign_in(browser: httpx2.Client, key: str, path: str = "/") -> httpx2.Response:
    return browser.post("/page/key", data={"key": key, "path": path})


def token_of(page: str) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page)
    assert found is not None, page
    return found[1]


def output_of(page: str) -> str:
    found = re.search(r"<pre .*?</pre>", page, re.DOTALL)
    assert found is not None, page
    return unescape(re.sub(r"<[^>]*>", "", found[0]))


def test_the_overview_shows_queues_nodes_sessions_and_jobs(http: httpx2.Client, played: Any):
    http.post("/v1/sessions", json={"name": "notes"})
    ended, running, queued = submit(http), submit(http, session="notes"), submit(http)
    played.end(played.begin(ended), "oom")
    played.begin(running)

    page = http.get("/").text

    assert all(f'href="/page/jobs/{job}"' in page for job in (ended, running, queued))
    assert re.findall(r'<span class="badge \w+">(\w+)</span>', page) == ["up", "busy", "queued", "running", "oom"]
    assert played.name in page
    assert 'href="/page/sessions/notes"' in page
    assert '<b class="figure">1</b>' in page
    assert re.search(r'<time datetime="[^"]+Z" title="\d{4}-\d\d-\d\d [\d:]+ UTC">', page)


def test_jobs_are_shown_by_their_state(http: httpx2.Client, played: Any):
    ended, queued = submit(http), submit(http)
    played.end(played.begin(ended))

    page = http.get("/", params={"state": "queued"}).text

    assert f"/page/jobs/{queued}" in page
    assert f"/page/jobs/{ended}" not in page
    assert '<a href="/?state=queued#jobs" aria-current="true">' in page


def test_an_empty_installation_says_how_to_begin(http: httpx2.Client):
    page = http.get("/").text

    assert "leasebox-worker run" in page
    assert "leasebox run -c" in page
    assert "leasebox run --session" in page


@pytest.mark.parametrize("path", ["/", "/page/jobs/{job}", "/page/sessions/s", "/page/jobs/none"])
def test_every_document_carries_the_policy(http: httpx2.Client, path: str):
    job = submit(http, session="s")

    answer = http.get(path.format(job=job))

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! src=\"/page/static/)", answer.text)


def test_files_have_their_digest_in_the_name_and_are_kept_for_good(http: httpx2.Client):
    names = re.findall(r'(?:href|src)="(/page/static/[^"]+)"', http.get("/").text)

    answers = {name: http.get(name) for name in names}

    assert {name.rpartition(".")[2] for name in names} == {"css", "js", "svg"}
    assert {answer.headers["cache-control"] for answer in answers.values()} == {"public, max-age=31536000, immutable"}
    assert {answer.headers["content-type"].partition(";")[0] for answer in answers.values()} == {
        "text/css", "text/javascript", "image/svg+xml",
    }  # fmt: skip
    assert http.get("/page/static/page.css").status_code == 404
    assert http.get("/page/static/../rendering.py").status_code == 404


def test_what_a_guest_wrote_is_text_and_nothing_else(http: httpx2.Client, played: Any):
    job = submit(http, metadata={"note": EVIL, EVIL[:40]: "v"})
    work = played.begin(job)
    played.write(work, ("stdout", EVIL.encode()), ("stderr", b"\xff" + EVIL.encode()))
    played.write(work, ("display", json.dumps({"bundle": {"text/<script>": "x"}}).encode()))
    live = http.get(f"/page/jobs/{job}").text
    artifact = {"path": EVIL, "size_bytes": 1, "sha256": "0", "content_type": "text/html"}
    error = {"name": EVIL, "message": EVIL, "traceback": "in code"}
    played.end(work, "error", stdout=EVIL, error=error, message=EVIL, artifacts=[artifact], runtime=EVIL)

    ended = http.get(f"/page/jobs/{job}").text

    for page in (live, ended, http.get("/").text):
        assert len(re.findall("<script", page)) == 1
        assert "<img src=x" not in page
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)
    assert SEEN in output_of(live)
    assert f"�{SEEN}" in output_of(ended)
    assert unescape(ended).count(SEEN) >= 7


def test_an_unsafe_session_name_is_refused_before_it_is_shown(http: httpx2.Client):
    answer = http.get("/page/sessions/%3Cscript%3E%E2%80%AE")

    assert (answer.status_code, "<script>" in answer.text) == (422, False)


def test_neither_code_nor_what_was_given_to_a_job_is_shown(http: httpx2.Client, played: Any):
    given = {"env": {"A": "env-value"}, "files": {"a.txt": {"text": "file-text"}}, "args": ["arg-text"], "stdin": "in"}
    job = submit(http, session="s", **given)
    live = http.get(f"/page/jobs/{job}").text
    played.end(played.begin(job), stdout="out-text")

    for page in (live, http.get(f"/page/jobs/{job}").text, http.get("/").text, http.get("/page/sessions/s").text):
        assert not re.search("secret_code|env-value|file-text|arg-text", page)


def test_a_running_job_shows_what_it_wrote_and_where_it_goes_on(http: httpx2.Client, played: Any):
    job = submit(http)
    work = played.begin(job)
    played.write(work, ("stdout", b"first\n"), ("stderr", b"two\n"))

    page = http.get(f"/page/jobs/{job}").text
    after = re.search(r'data-after="([0-9-]+)"', page)
    assert after is not None
    played.write(work, ("stdout", b"three\n"))
    played.end(work)
    rest = http.get(f"/v1/jobs/{job}/events", params={"after": after[1]}).text

    assert output_of(page).endswith("first\ntwo\n")
    assert ("three" in rest, "first" in rest) == (True, False)
    assert "data-events" not in http.get(f"/page/jobs/{job}").text


def test_of_very_much_output_the_page_holds_a_part(http: httpx2.Client, played: Any):
    job = submit(http)
    work = played.begin(job)
    for _ in range(12):
        played.write(work, ("stdout", b"x" * 31000))
    played.write(work, ("stdout", b"the last"))

    live = http.get(f"/page/jobs/{job}").text
    played.end(work, stdout="head and tail", truncated={"stdout": True, "stderr": False})
    ended = http.get(f"/page/jobs/{job}").text

    assert output_of(live).endswith("the last")
    assert len(live) < 1.5 * MAX_CHARS
    assert output_of(ended) == "head and tail"
    assert [re.search('id="cut"[^>]*hidden', page) for page in (live, ended)] == [None, None]


def test_when_its_events_are_gone_the_result_is_shown(http: httpx2.Client, played: Any, redis: Any):
    job = submit(http)
    played.end(played.begin(job), stdout="kept")
    redis.delete(Keys(played.keys.prefix).events(job))

    assert output_of(http.get(f"/page/jobs/{job}").text) == "kept"


def test_what_is_not_there_is_a_page_that_says_so(http: httpx2.Client):
    answer = http.get("/page/jobs/none")

    assert answer.status_code == 404
    assert "no job none" in answer.text


def test_a_page_that_follows_a_job_is_not_told_its_output_again(http: httpx2.Client, played: Any):
    job = submit(http)
    played.write(played.begin(job), ("stdout", b"a line"))

    page = http.get(f"/page/jobs/{job}", params={"output": "false"}).text

    assert (">running</span>" in page, "a line" in page) == (True, False)


def test_documents_count_for_the_limit_of_requests(settings: ClientSettings):
    with served(settings, api_requests_per_minute=1) as url, httpx2.Client(base_url=url) as http:
        first, second = http.get("/"), http.get("/")

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["content-type"].startswith("text/html")
    assert int(second.headers["retry-after"]) > 0


def test_without_redis_the_page_says_so(settings: ClientSettings, tmp_path: Path):
    nowhere = settings.model_copy(update={"url": f"redis+socket://{tmp_path}/none"})
    with served(nowhere) as url, httpx2.Client(base_url=url, timeout=60) as http:
        answer = http.get("/")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (answer.headers["content-security-policy"], "does not answer" in answer.text) == (POLICY, True)
    assert str(tmp_path) not in answer.text


def test_without_keys_the_page_changes_nothing(http: httpx2.Client):
    job = submit(http, session="s")

    page = http.get(f"/page/jobs/{job}").text + http.get("/page/sessions/s").text
    answers = [http.post(f"/page/jobs/{job}/cancel", data={"token": ""}), http.post("/page/sessions/s/close")]

    assert ("<form" in page, "read-only" in page) == (False, True)
    assert [answer.status_code for answer in answers] == [403, 403]
    assert http.get(f"/v1/jobs/{job}").json()["state"] == "queued"


def test_with_keys_the_page_asks_for_one_and_goes_on_where_it_was(browser: httpx2.Client, keyed: Keyed):
    asked = browser.get("/?state=queued")
    refused = sign_in(browser, "lbx_wrong")
    key = keyed.key("red").key
    accepted = sign_in(browser, f" {key} ", "/?state=queued")

    cookie = accepted.headers["set-cookie"]
    assert (asked.status_code, 'name="path" value="/?state=queued"' in asked.text) == (200, True)
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert (accepted.status_code, accepted.headers["location"]) == (303, "/?state=queued")
    assert {part.strip() for part in cookie.split(";")} == {
        f"{KEY_COOKIE}={key}", "HttpOnly", "Path=/", "SameSite=strict",
    }  # fmt: skip
    assert browser.get("/").status_code == 200
    assert key not in browser.get("/").text
    browser.post("/page/forget")
    assert 'name="key"' in browser.get("/").text


def test_a_key_that_has_ended_is_refused(browser: httpx2.Client, keyed: Keyed, redis: Any):
    made = keyed.key("red")
    redis.hset(Keys(keyed.settings.prefix).api_key(made.id), "revoked_at", "1")

    answer = browser.get("/", headers={"Cookie": f"{KEY_COOKIE}={made.key}"})

    assert (answer.status_code, 'name="key"' in answer.text) == (401, True)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/page/jobs/j/cancel", "/page/sessions/s/close"])
def test_an_action_without_a_key_is_refused(browser: httpx2.Client, path: str):
    assert browser.post(path).status_code == 401


def test_the_cookie_opens_a_jobs_events_and_no_other_route_of_the_api(
    browser: httpx2.Client, keyed: Keyed, played: Any
):
    key = keyed.key("red").key
    with keyed.client(key) as http:
        job = submit(http)
    played.end(played.begin(job))
    sign_in(browser, key)

    assert browser.get(f"/v1/jobs/{job}/events").status_code == 200
    assert browser.get(f"/v1/jobs/{job}").status_code == 401
    assert browser.post("/v1/jobs", json={"code": "1"}).status_code == 401
    assert browser.post(f"/v1/jobs/{job}/cancel").status_code == 401


def test_a_key_with_the_scopes_cancels_a_job_and_closes_a_session(browser: httpx2.Client, keyed: Keyed):
    key = keyed.key("red").key
    sign_in(browser, key)
    with keyed.client(key) as http:
        job = submit(http, session="s")
        token = token_of(browser.get(f"/page/jobs/{job}").text)

        cancelled = browser.post(f"/page/jobs/{job}/cancel", data={"token": token})
        closed = browser.post("/page/sessions/s/close", data={"token": token_of(browser.get("/page/sessions/s").text)})

        assert (cancelled.status_code, cancelled.headers["location"]) == (303, f"/page/jobs/{job}")
        assert (closed.status_code, closed.headers["location"]) == (303, "/page/sessions/s")
        assert http.get(f"/v1/jobs/{job}").json()["outcome"] == "cancelled"
        assert http.get("/v1/sessions/s").json()["close_reason"] == "closed"


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("none", {}),
        ("another key's", {}),
        ("own", {"Origin": "https://evil.example"}),
        ("own", {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_an_action_that_this_keys_page_did_not_send_is_refused(
    browser: httpx2.Client, keyed: Keyed, token: str, headers: dict[str, str]
):
    key, another = keyed.key("red").key, keyed.key("red").key
    with keyed.client(key) as http:
        job = submit(http)
        tokens = {"none": ""}
        for whose, shown in (("another key's", another), ("own", key)):
            sign_in(browser, shown)
            tokens[whose] = token_of(browser.get(f"/page/jobs/{job}").text)

        answer = browser.post(f"/page/jobs/{job}/cancel", data={"token": tokens[token]}, headers=headers)

        assert answer.status_code == 403
        assert http.get(f"/v1/jobs/{job}").json()["state"] == "queued"


def test_an_action_needs_its_scope(browser: httpx2.Client, keyed: Keyed):
    with keyed.client(keyed.key("red").key) as http:
        job = submit(http, session="s")
        # One action is this key's, so it has a token; the other is not.
        sign_in(browser, keyed.key("red", "jobs:read", "sessions:*").key)
        token = token_of(browser.get("/page/sessions/s").text)

        answer = browser.post(f"/page/jobs/{job}/cancel", data={"token": token})

        assert (answer.status_code, "jobs:write" in answer.text) == (403, True)
        assert http.get(f"/v1/jobs/{job}").json()["state"] == "queued"


def test_a_key_sees_what_its_scopes_allow(browser: httpx2.Client, keyed: Keyed):
    with keyed.client(keyed.key("red").key) as http:
        job = submit(http, session="s")
    sign_in(browser, keyed.key("red", "jobs:read").key)

    overview, shown = browser.get("/").text, browser.get(f"/page/jobs/{job}").text

    assert "lacks the scope" in overview
    assert "/page/sessions/s" not in overview + shown
    assert f"/page/jobs/{job}/cancel" not in shown
    assert browser.get("/page/sessions/s").status_code == 403
    sign_in(browser, keyed.key("red", "sessions:read").key)
    assert (browser.get("/").status_code, browser.get(f"/page/jobs/{job}").status_code) == (403, 403)
    assert f"/page/jobs/{job}" not in browser.get("/page/sessions/s").text


def test_another_tenants_work_is_not_there(browser: httpx2.Client, keyed: Keyed):
    with keyed.client(keyed.key("red").key) as http:
        job = submit(http, session="s")
    sign_in(browser, keyed.key("blue").key)

    assert job not in browser.get("/").text
    assert browser.get(f"/page/jobs/{job}").status_code == 404
    assert browser.get("/page/sessions/s").status_code == 404
    assert browser.get(f"/v1/jobs/{job}/events").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"), [(b"key=" + b"x" * 5000, 413), (b"&".join([b"a=b"] * 20), 422), (b"\xff", 422), (b"", 401)]
)
def test_a_form_that_is_not_ours_is_refused(browser: httpx2.Client, body: bytes, status: int):
    answer = browser.post("/page/key", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})

    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == rendering.POLICY
