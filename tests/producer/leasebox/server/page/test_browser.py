"""Does the page work in a real browser: live output that outlives a cut, and no word on the console?"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.conftest import lacking
from tests.producer.leasebox.served import served
from tests.producer.leasebox.server.conftest import Keyed
from tests.producer.leasebox.server.page.test_routes import EVIL, SEEN

from leasebox.config import ClientSettings
from leasebox.contract.keys import Keys

pytestmark = pytest.mark.long
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WITHIN_MS = 30_000
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
# Contrast of each text to the ground behind it. Source: WCAG 2.2, relative luminance; AA asks for 4.5.
FAINTEST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const found = rgb(getComputedStyle(e).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  let faintest = [21, ""];
  for (const e of document.querySelectorAll("body *")) {
    const hasText = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "");
    if (!hasText || !e.checkVisibility() || e.closest(".unseen, .skip")) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < faintest[0]) faintest = [ratio, e.outerHTML.slice(0, 120)];
  }
  return faintest;
}"""


class Browser:
    """Chromium with an empty profile; what it complains of is in `told`."""

    def __init__(self, playwright: Any, folder: Path, **given: Any) -> None:
        self._context = playwright.chromium.launch_persistent_context(
            folder, executable_path=shutil.which("chromium"), headless=True, args=FLAGS, **given
        )
        self.told: list[str] = []
        self.page = self._context.pages[0]
        self.page.set_default_timeout(WITHIN_MS)
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.told.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def wait(self, condition: str, *given: Any) -> None:
        self.page.wait_for_function(condition, arg=list(given), polling=50)

    def wait_for_output(self, text: str) -> None:
        self.wait("([text]) => document.getElementById('output').textContent.endsWith(text)", text)

    def close(self) -> None:
        self._context.close()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    """What drives the browser."""
    if shutil.which("chromium") is None:
        lacking("chromium", "`ops/dev/browser.sh .venv` as root installs it")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright", "`ops/dev/browser.sh .venv` installs it")
    with sync_playwright() as found:
        yield found


@pytest.fixture
def browser(playwright: Any, tmp_path: Path) -> Iterator[Browser]:
    """A browser in its default state."""
    made = Browser(playwright, tmp_path / "profile", viewport=WIDE)
    yield made
    made.close()


def test_live_output_is_followed_cut_and_taken_up_again(browser: Browser, settings: ClientSettings, played: Any):
    with ExitStack() as first:
        url = first.enter_context(served(settings))
        job = httpx2.post(f"{url}/v1/jobs", json={"code": "1"}).json()["id"]
        browser.page.goto(f"{url}/page/jobs/{job}")
        browser.wait("() => document.getElementById('live').textContent === 'live'")
        assert browser.page.inner_text("#silent") == "Nothing written yet."
        work = played.begin(job)
        played.write(work, ("stdout", b"one\n"), ("stderr", b"two \xe2\x82"))
        browser.wait_for_output("two ")
        played.write(work, ("stderr", b"\xac\n"))
        browser.wait_for_output("two \u20ac\n")
        assert browser.page.inner_text("h1 .badge") == "running"
        assert browser.told == []

    played.write(work, ("stdout", b"three\n"))
    browser.wait("() => document.getElementById('live').textContent.startsWith('connection lost')")
    with served(settings, port=int(urlsplit(url).port or 0)):
        browser.wait_for_output("three\n")
        assert browser.page.inner_text("#live") == "live"
        played.write(work, ("stdout", b"four\n"))
        played.end(work, stdout="one\nthree\nfour\n")
        browser.wait("() => document.querySelector('h1 .badge').textContent === 'ok'")

        written = browser.page.text_content("#output")
        assert written == f"started on {played.name}one\ntwo \u20ac\nthree\nfour\n"
        assert browser.page.inner_text("#live") == "ended"
        assert browser.page.text_content("#output .err") == "two \u20ac\n"
        # The browser itself says that its connection was cut; the page says nothing.
        assert [text for text in browser.told if "net::ERR_" not in text] == []


def test_a_tab_that_nobody_looks_at_lets_go_and_comes_back_behind_what_it_has(
    browser: Browser, http: httpx2.Client, played: Any, eventually: Any
):
    job = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    work = played.begin(job)
    browser.page.goto(f"{http.base_url}/page/jobs/{job}")
    browser.wait("() => document.getElementById('live').textContent === 'live'")
    played.write(work, ("stdout", b"before\n"))
    browser.wait_for_output("before\n")
    turn = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""

    browser.page.evaluate(turn, True)
    eventually(lambda: "leasebox_http_watchers 0.0" in http.get("/metrics").text, within_s=30)
    played.write(work, ("stdout", b"meanwhile\n"))
    browser.page.evaluate(turn, False)
    browser.wait_for_output("meanwhile\n")
    played.write(work, ("stdout", b"since\n"))
    browser.wait_for_output("meanwhile\nsince\n")

    assert browser.page.text_content("#output") == f"started on {played.name}before\nmeanwhile\nsince\n"


def test_where_the_events_are_gone_meanwhile_the_page_says_that_the_job_has_ended(
    browser: Browser, settings: ClientSettings, played: Any, redis: Any
):
    with served(settings) as url:
        job = httpx2.post(f"{url}/v1/jobs", json={"code": "1"}).json()["id"]
        work = played.begin(job)
        browser.page.goto(f"{url}/page/jobs/{job}")
        browser.wait("() => document.getElementById('live').textContent === 'live'")
    played.end(work, stdout="kept")
    redis.delete(Keys(settings.prefix).events(job))

    with served(settings, port=int(urlsplit(url).port or 0)):
        browser.wait("() => document.getElementById('live').textContent.startsWith('ended')")
        browser.page.reload()
        assert browser.page.text_content("#output") == "kept"


def test_what_a_guest_wrote_is_text_when_it_comes_live_as_well(browser: Browser, http: httpx2.Client, played: Any):
    job = http.post("/v1/jobs", json={"code": "1", "metadata": {"note": EVIL}}).json()["id"]
    browser.page.goto(f"{http.base_url}/page/jobs/{job}")
    work = played.begin(job)
    played.write(work, ("stdout", EVIL.encode()), ("stderr", EVIL.encode()))
    browser.wait_for_output(SEEN)
    live = browser.page.text_content("#output")
    browser.page.reload()

    assert live == browser.page.text_content("#output")
    assert browser.page.locator("main script, main img").count() == 0
    assert browser.told == []


def test_the_policy_stops_a_script_that_stands_in_the_document(browser: Browser, http: httpx2.Client):
    browser.page.goto(str(http.base_url))

    # `evaluate` itself is not bound by the policy; what it puts into the document is.
    browser.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\" id=x>')")
    browser.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'hit = 1'}))")

    assert browser.page.evaluate("typeof hit") == "undefined"
    assert any("'style-src 'self''" in text for text in browser.told)
    assert any("'script-src 'self''" in text for text in browser.told)


def test_the_overview_keeps_itself_fresh(browser: Browser, http: httpx2.Client, played: Any):
    browser.page.goto(str(http.base_url))
    assert "No job yet" in browser.page.inner_text("#jobs")

    job = http.post("/v1/jobs", json={"code": "1"}).json()["id"]

    browser.page.wait_for_selector(f'#jobs a[href="/page/jobs/{job}"]')
    assert browser.told == []


@pytest.mark.parametrize("has_script", [True, False])
def test_with_a_key_one_signs_in_cancels_and_signs_out(playwright: Any, tmp_path: Path, keyed: Keyed, has_script: bool):
    key = keyed.key("red").key
    with keyed.client(key) as http:
        job = http.post("/v1/jobs", json={"code": "1"}).json()["id"]
    browser = Browser(playwright, tmp_path / "profile", viewport=WIDE, java_script_enabled=has_script)
    page = browser.page
    try:
        page.goto(keyed.url)
        page.screenshot(path=tmp_path / "key.png")
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.click(f'#jobs a[href="/page/jobs/{job}"]')
        if has_script:
            # The events come by the cookie.
            browser.wait("() => document.getElementById('live').textContent === 'live'")
        page.screenshot(path=tmp_path / "job.png")
        page.click("text=Cancel job")
        page.wait_for_selector("h1 .badge:text('cancelled')")
        page.click("text=Sign out")
        page.wait_for_selector("#key")
        assert browser.told == []
    finally:
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_text_is_readable_and_nothing_stands_out_of_the_window(
    playwright: Any, tmp_path: Path, http: httpx2.Client, played: Any, scheme: str, size: dict[str, int]
):
    given = {"session": "a-session-" + "x" * 50, "metadata": {"a-name": "long-value-" * 20}}
    outcomes = ("ok", "oom", "cancelled")
    jobs = [http.post("/v1/jobs", json={"code": "1", **given}).json()["id"] for _ in (*outcomes, "running", "queued")]
    for job, outcome in zip(jobs, outcomes, strict=False):
        work = played.begin(job)
        played.write(work, ("stdout", b"x" * 500), ("stderr", b"y\n"))
        played.end(work, outcome, error={"name": "E" * 90, "message": "m"} if outcome == "oom" else None)
    played.begin(jobs[3])
    browser = Browser(playwright, tmp_path / "profile", viewport=size, color_scheme=scheme)
    try:
        for path in ("", f"page/jobs/{jobs[1]}", f"page/jobs/{jobs[4]}", f"page/sessions/{given['session']}"):
            browser.page.goto(f"{http.base_url}/{path}")
            browser.page.screenshot(path=tmp_path / f"{path.replace('/', '-') or 'home'}.png", full_page=True)
            contrast, where = browser.page.evaluate(FAINTEST)
            assert contrast >= 4.5, where
            assert browser.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert browser.told == []
    finally:
        browser.close()
