"""`python -m leasebox.server`: serve the API, and refuse to where anybody could reach it without a key."""

import asyncio
import gc
import logging
import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI

from leasebox import _access
from leasebox._connect import transport_of
from leasebox.config import ApiSettings, load_api, traces_wanted
from leasebox.contract.errors import BrokerUnavailable, ConfigError, LeaseboxError
from leasebox.contract.keys import Keys
from leasebox.contract.telemetry.process import heard
from leasebox.server.app import create_app
from leasebox.server.gate import is_loopback

CANNOT_START = 78
_GRACE_S = 2
_GC_THRESHOLDS = (10_000, 50, 50)
"""New containers before a collection of the young, and collections of each generation before one of the next."""
_SAID = "Exception in ASGI application"


def check(settings: ApiSettings) -> str:
    """What to say about keys at the start.

    Raises:
        ConfigError: Others could reach an API that asks for no key, or that has none.
    """
    is_local = is_loopback(settings.api_host)
    if settings.key_pepper is None:
        if not is_local:
            raise ConfigError(
                f"LEASEBOX_API_HOST: {settings.api_host} is not loopback, and without keys anybody could run code here",
                hint="set LEASEBOX_KEY_PEPPER and make a key with `leasebox keys create`",
            )
        return "WARNING: no keys: every program and user of this machine may use this API (LEASEBOX_KEY_PEPPER)"
    if not is_local and _lacks_keys(settings):
        raise ConfigError("no key exists, so nobody could use this API", hint="make one with `leasebox keys create`")
    return "every request needs a key"


def _lacks_keys(settings: ApiSettings) -> bool:
    assert settings.url is not None
    transport = transport_of(settings, settings.url)
    try:
        return not any(key.revoked_at is None for key in transport.run(_access.listed(Keys(settings.prefix))))
    except BrokerUnavailable:
        return False  # Redis is away: every request is refused until it can be asked
    finally:
        transport.close()


def main() -> int:
    """Serve until SIGTERM or SIGINT; 78 where starting again cannot help."""
    try:
        settings = load_api()
        with heard(settings, "leasebox-api", socket.gethostname(), is_traced=traces_wanted()):
            return serve(settings, create_app(settings))
    except LeaseboxError as exc:
        print(f"leasebox-api: {exc}", file=sys.stderr)  # noqa: T201
        return CANNOT_START


def _collect_seldom() -> None:
    """Keep the garbage collector off what is loaded now, and make it seldom.

    With 1,000 streams open each full collection held the loop, and so every stream, for 50 to 100 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def serve(settings: ApiSettings, app: FastAPI) -> int:
    """Serve an application until SIGTERM or SIGINT; gives the exit status.

    Raises:
        ConfigError: As `check`.
    """
    told = check(settings)
    place = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
    print(f"leasebox-api: http://{place}:{settings.api_port}; {told}", file=sys.stderr, flush=True)  # noqa: T201
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,  # as `heard` has set it up
            log_level=settings.log_level,
            access_log=settings.log_level == "debug",
            server_header=False,
            ws_max_size=1 << 20,
            # Streams are cut then; their readers resume elsewhere.
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    # It says again, without the request's ids, what `Gate` has said.
    logging.getLogger("uvicorn.error").addFilter(lambda line: not line.getMessage().startswith(_SAID))
    # uvicorn raises it once more when all is over, and the last spans and reports would not be sent.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _collect_seldom()
    asyncio.run(server.serve())
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
