"""How do Flower, the page and the charts look while jobs run? Pictures of a system that really runs, for docs/how-to.

    python -m tests.ops.screens [SECONDS]    # of jobs, 90 unless told otherwise; after `ops/dev/browser.sh .venv`

It starts two workers with bubblewrap, an API, Flower and Debian's Prometheus, gives them a mix of jobs, and writes
`docs/how-to/images/*.png`. Charts: `tests.ops.charts`.
"""

import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image
from tests.acceptance.conftest import flower_process
from tests.ops import charts
from tests.ops.watched import Watched, watched_system

from leasebox.client import Client, JobHandle

IMAGES = Path(__file__).parents[2] / "docs" / "how-to" / "images"
NAMES = ("flower.png", "page.png", "page-job.png", "charts.png")
MOST_BYTES = 150_000
COLOURS = 128
JOBS_FOR_S, BEAT_S, BURST_EVERY = 90.0, 1.0, 20
WITHIN_MS = 60_000
PACE = threading.Event()
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# Names of this machine's folders have no place in a picture.
FOLDERS = re.compile(r"(?<![\w.])/(?:tmp|root|home|work|var|usr)/")
TRAINS = """
import time
for epoch in range(1, 1500):
    print(f"epoch {epoch:3d}  loss {2.3 / (1 + epoch / 9):.4f}  accuracy {1 - 0.9 / (1 + epoch / 6):.3f}", flush=True)
    time.sleep(0.4)
"""
WORKS = "import time, sys; time.sleep({s}); sum(n * n for n in range({n}))"


def take(folder: Path, prometheus: Path, jobs_for_s: float = JOBS_FOR_S) -> None:
    """Run the system and write the pictures.

    Args:
        folder: Where they go.
        prometheus: The program.
        jobs_for_s: How long jobs come before the last picture is taken.

    Raises:
        AssertionError: A panel has no data, a picture is too large, or shows a folder of this machine.
    """
    with ExitStack() as stack:
        watched = stack.enter_context(watched_system(prometheus, ("n1", "n2")))
        room = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        flower = stack.enter_context(flower_process(watched.live.url, room))
        _wait_for_flower(flower)
        page = stack.enter_context(_browser())
        with watched.live.client() as client:
            began = time.time()
            live = client.submit(TRAINS, session="training", metadata={"run": "7"}, limits={"timeout_s": 600})
            waits = client.submit("print('evaluated')", session="training")
            given = _mix(client, jobs_for_s)
            _of_the_page(page, watched, live, room)
            for handle in given:
                handle.result(timeout_s=WITHIN_MS / 1000)
            _of_flower(page, flower, (live, waits), room)
            for handle in (waits, live):
                handle.cancel()
            span = charts.Span(began, time.time())
        empty = charts.draw(watched.prometheus, span, room / "charts.png")
        assert empty == []
        folder.mkdir(exist_ok=True)
        for name in NAMES:
            _store(room / name, folder / name)


def _wait_for_flower(flower: httpx2.Client) -> None:
    """It must ask for events before the jobs come, to have seen them."""
    deadline = time.monotonic() + WITHIN_MS / 1000
    while True:
        try:
            known = flower.get("/api/workers", params={"refresh": "1"})
            if known.is_success and len(known.json()) == 2:
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, "Flower does not see the workers"
        PACE.wait(0.1)


def _mix(client: Client, for_s: float) -> list[JobHandle]:
    """What an installation has on a day: short ones, sessions, bursts of a batch, and some that go wrong."""
    handles: list[JobHandle] = []
    ends = time.monotonic() + for_s
    for beat in range(int(for_s / BEAT_S) + 1):
        if beat % BURST_EVERY == BURST_EVERY // 4:
            burst = [{"code": WORKS.format(s=1.5, n=10**5), "priority": "batch"} for _ in range(60)]
            handles += client.submit_many(burst)
        handles.append(client.submit(WORKS.format(s=0.3, n=10**6), priority="interactive"))
        handles.append(client.submit(WORKS.format(s=0.1, n=10**5), session=f"user-{beat % 3}"))
        if beat % 3 == 0:
            handles.append(client.submit("raise SystemExit(3)"))
        if beat % 5 == 0:
            handles.append(client.submit("while True: pass", limits={"timeout_s": 0.5}))
        if beat % 25 == 0:
            handles.append(client.submit("import time; time.sleep(30)"))
            handles[-1].cancel()
        PACE.wait(max(0.0, min(BEAT_S, ends - time.monotonic())))
    return handles


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 760},
            http_credentials={"username": "looker", "password": "watch-word"},
        )
        page = context.pages[0]
        page.set_default_timeout(WITHIN_MS)
        yield page
        context.close()


def _of_the_page(page: Any, watched: Watched, live: JobHandle, room: Path) -> None:
    page.goto(watched.api)
    _shoot(page, room / "page.png")
    page.goto(f"{watched.api}/page/jobs/{live.id}")
    # As a function and by looking again: the page forbids to evaluate text.
    page.wait_for_function("() => document.getElementById('output').textContent.split('epoch').length > 12", polling=50)
    _shoot(page, room / "page-job.png")


def _of_flower(page: Any, flower: httpx2.Client, shown: tuple[JobHandle, ...], room: Path) -> None:
    """By state, so that those who wait and those who run are on the first page."""
    page.set_viewport_size({"width": 1880, "height": 900})
    page.goto(f"{flower.base_url}/tasks")
    page.click("th:has-text('State') >> visible=true")
    for job in shown:
        page.wait_for_selector(f"text={job.id}")
    _shoot(page, room / "flower.png")


def _shoot(page: Any, to: Path) -> None:
    shown = page.inner_text("body")
    assert not FOLDERS.search(shown), FOLDERS.search(shown)
    page.screenshot(path=to)


def _store(made: Path, to: Path) -> None:
    """A picture of few colours is a fifth as large."""
    with Image.open(made) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(to, optimize=True)
    size_bytes = to.stat().st_size
    assert size_bytes < MOST_BYTES, f"{to.name} has {size_bytes} bytes"


if __name__ == "__main__":
    take(IMAGES, Path(shutil.which("prometheus") or ""), float(sys.argv[1]) if len(sys.argv) > 1 else JOBS_FOR_S)
