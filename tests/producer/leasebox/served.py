"""An API for one test: the real application under a real uvicorn, on a thread of the test's own process."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from leasebox.config import ApiSettings, ClientSettings
from leasebox.server import create_app


@contextmanager
def served(settings: ClientSettings, *, at: Path | None = None, port: int = 0, **more: object) -> Iterator[str]:
    """The address of an API over the same Redis and prefix; `at` is a unix socket, `more` are settings of its own.

    A `port` is one that an earlier API has left, so that who knew that one finds this.
    """
    given = {"url": settings.url, "prefix": settings.prefix, "home": settings.home, **more}
    app = create_app(ApiSettings(**given, _env_file=None))  # type: ignore[arg-type]
    with socket.socket(socket.AF_INET if at is None else socket.AF_UNIX) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port) if at is None else str(at))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            _wait_until(lambda: server.started or not thread.is_alive())
            yield f"http://127.0.0.1:{listening.getsockname()[1]}" if at is None else "http://localhost"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the API does not end"


def _wait_until(condition: object) -> None:
    deadline = time.monotonic() + 20
    waiting = threading.Event()
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        waiting.wait(0.005)
