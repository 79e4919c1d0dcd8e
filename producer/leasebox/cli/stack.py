"""`leasebox up` and `leasebox down`: the embedded stack by hand, with the HTTP API."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec

from leasebox.cli.show import say
from leasebox.config import ClientSettings, child_environment, load
from leasebox.contract.errors import ConfigError, StartFailed
from leasebox.embedded import Hold, Stack

_API_STOP_S = 10.0


def stay_up() -> None:
    """Hold the stack and the API until SIGINT or SIGTERM, then end them.

    Raises:
        ConfigError: LEASEBOX_URL points elsewhere.
    """
    settings = load()
    if settings.url is not None:
        raise ConfigError("LEASEBOX_URL is set, so there is no embedded stack to start", hint="unset LEASEBOX_URL")
    stack = Stack(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hold = stack.hold()
    try:
        say(f"leasebox: up; state in {settings.home}")
        say(f"leasebox: from elsewhere: LEASEBOX_URL='{stack.url}'")
        with _api(settings, stack.url) as api:
            while api is None or api.poll() is None:
                time.sleep(1.0)
                hold = _held_on(stack, hold)
        raise StartFailed("the API has ended; it said why")
    except KeyboardInterrupt:
        say("leasebox: stopping")
    finally:
        hold.release()
        stack.stop()


def _held_on(stack: Stack, hold: Hold) -> Hold:
    """The same hold while the stack runs; a new one, which starts it again, where it has ended."""
    if stack.running() is not None:
        return hold
    hold.release()
    return stack.hold()


@contextmanager
def _api(settings: ClientSettings, url: str) -> Iterator["subprocess.Popen[bytes] | None"]:
    """The API over the stack, as a process of its own, while the block lasts; None where it is not installed."""
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        say("leasebox: no HTTP API: pip install 'leasebox[server]'")
        yield None
        return
    environment = child_environment(LEASEBOX_URL=url, LEASEBOX_HOME=str(settings.home))
    api = subprocess.Popen([sys.executable, "-m", "leasebox.server"], env=environment, stdin=subprocess.DEVNULL)
    try:
        yield api
    finally:
        api.terminate()
        with suppress(subprocess.TimeoutExpired):
            api.wait(_API_STOP_S)
        api.kill()


def take_down() -> None:
    """End the stack, whatever it does."""
    was_running = Stack(load()).stop()
    say("leasebox: the embedded stack has ended" if was_running else "leasebox: no embedded stack is running")
