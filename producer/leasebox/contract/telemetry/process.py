"""What does a process of ours do first, so that its operator hears of it, and last, so that nothing is left unsaid?"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Protocol

import structlog
from pydantic import SecretStr

from leasebox.contract.errors import LeaseboxError
from leasebox.contract.telemetry import log, sentry, traces

HINT = "pip install 'leasebox[otel]'"


class Telling(Protocol):
    """Settings of whoever tells an operator; worker and API have them all."""

    @property
    def log_level(self) -> str:
        """debug, info, warning or error."""

    @property
    def log_format(self) -> str:
        """auto, json or console."""

    @property
    def sentry_dsn(self) -> SecretStr | None:
        """Where errors are reported."""

    @property
    def sentry_environment(self) -> str | None:
        """What a report calls the environment."""


@contextmanager
def heard(settings: Telling, service: str, server: str, *, is_traced: bool) -> Iterator[None]:
    """While the block lasts the process logs, reports and traces as its settings say.

    Args:
        service: What its traces call it, such as `leasebox-worker`.
        server: Which one it is: the node, or the address.

    Raises:
        ConfigError: A setting cannot be followed.
    """
    reporter = _reporter(settings, server)
    log.configure(settings.log_level, settings.log_format, report=reporter)
    told = structlog.get_logger()
    if is_traced and not traces.want(service):
        told.warning("traces_not_installed", hint=HINT)
    try:
        yield
    except LeaseboxError:
        raise  # its sentence is the program's last word
    except Exception:
        told.exception("process_broke", node=server)
        raise
    finally:
        traces.end()
        if reporter is not None:
            reporter.end()


def _reporter(settings: Telling, server: str) -> sentry.Reporter | None:
    dsn = settings.sentry_dsn.get_secret_value() if settings.sentry_dsn is not None else ""
    if not dsn:
        return None
    release = f"leasebox@{version('leasebox')}"
    return sentry.begin(dsn, environment=settings.sentry_environment, release=release, server=server)
