"""`leasebox up` and `leasebox down`: the embedded stack by hand."""

import signal
import time

from leasebox.cli.show import say
from leasebox.config import load
from leasebox.contract.errors import ConfigError
from leasebox.embedded import Stack


def stay_up() -> None:
    """Hold the stack until SIGINT or SIGTERM, then end it.

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
        while True:
            time.sleep(1.0)
            if stack.running() is None:
                hold.release()
                hold = stack.hold()
    except KeyboardInterrupt:
        say("leasebox: stopping")
    finally:
        hold.release()
        stack.stop()


def take_down() -> None:
    """End the stack, whatever it does."""
    was_running = Stack(load()).stop()
    say("leasebox: the embedded stack has ended" if was_running else "leasebox: no embedded stack is running")
