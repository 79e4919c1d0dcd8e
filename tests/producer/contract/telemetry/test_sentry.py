"""What becomes a report, and what may never stand in one?"""

import json
import logging
from typing import Any

import pytest
from tests.producer.contract.telemetry.receivers import events, receiving

from leasebox.contract.errors import ConfigError, SandboxDied
from leasebox.contract.telemetry import sentry

SECRETS = ("print(6 * 7)", "TOKEN=hunter2", "--argument", "typed input", "lbx_key", "contents of a file")


def broke(error: Exception, secrets: tuple[str, ...]) -> None:
    """Raises, with secrets in its variables."""
    try:
        raise KeyError(secrets[0])
    except KeyError as exc:
        raise error from exc


def raised(error: Exception) -> Exception:
    """The error, with a way behind it."""
    with pytest.raises(type(error)) as caught:
        broke(error, SECRETS)
    return caught.value


def line(**more: Any) -> dict[str, Any]:
    """A line of the log as its processors see it."""
    return {"event": "attempt_broke", "level": "error", "job_id": "j-1", "tenant": "acme", **more}


def foreign(pattern: str, *values: object) -> dict[str, Any]:
    """A line of another library's."""
    record = logging.LogRecord("celery.worker", logging.ERROR, "f.py", 1, pattern, values, None)
    return {"event": record.getMessage(), "level": "error", "logger": record.name, "_record": record}


def test_an_event_says_what_failed_where_and_of_which_job_and_nothing_else() -> None:
    error = raised(SandboxDied(f"the agent said {SECRETS}"))
    made = sentry.event_of(line(exc_info=error, reason=SECRETS[3], argv=list(SECRETS), node="n"))

    cause, died = made["exception"]["values"]
    assert (cause["type"], died["type"], died["module"]) == ("KeyError", "SandboxDied", "leasebox.contract.errors")
    assert died["stacktrace"]["frames"][-1]["function"] == "broke"
    assert made["tags"] == {"job_id": "j-1", "node": "n"}
    assert made["user"] == {"id": sentry.tenant_hash("acme")}
    assert not [secret for secret in (*SECRETS, "acme") if secret in json.dumps(made)]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (line(), "attempt_broke"),
        (foreign("said %s", SECRETS[0]), "celery.worker: said %s"),
        (foreign(f"said {SECRETS[0]}"), "celery.worker"),
    ],
)
def test_a_report_has_a_constant_name(given: dict[str, Any], name: str) -> None:
    assert sentry.event_of(given)["message"] == name


def test_ids_are_of_bounded_length() -> None:
    assert len(sentry.event_of(line(job_id="x" * 10_000))["tags"]["job_id"]) == 128


def test_envelopes_carry_errors_alone_each_kind_so_often(eventually: Any) -> None:
    with receiving() as receiver:
        reporter = sentry.begin(
            receiver.url.replace("://", "://key@") + "/1", environment=None, release="leasebox@1", server="n"
        )
        trace = {"trace_id": "a" * 32, "span_id": "b" * 16}
        for level in ("debug", "info", "warning"):
            reporter(None, level, line(level=level))
        reporter(None, "error", line(logger="opentelemetry.exporter"))
        for _ in range(3 * sentry.MOST_OF_A_KIND):
            given = line(exc_info=raised(RuntimeError(SECRETS[4])), **trace)
            assert reporter(None, "error", given) is given
        reporter(None, "error", line(event="another", level="critical"))
        reporter.end()

    found = events(receiver)
    assert [event["message"] for event in found] == [*["attempt_broke"] * sentry.MOST_OF_A_KIND, "another"]
    assert (found[0]["release"], found[0]["environment"], found[0]["server_name"]) == ("leasebox@1", "production", "n")
    assert found[0]["contexts"]["trace"] == trace
    assert found[-1]["level"] == "fatal"
    assert receiver.paths[0] == "/api/1/envelope/"
    assert not [secret for secret in SECRETS for body in receiver.bodies if secret.encode() in body]


def test_an_exception_that_is_being_handled_is_found() -> None:
    try:
        raise OSError(SECRETS[5])
    except OSError:
        made = sentry.event_of(line(exc_info=True))

    assert [value["type"] for value in made["exception"]["values"]] == ["OSError"]
    assert SECRETS[5] not in json.dumps(made)


def test_what_is_no_dsn_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="SENTRY_DSN") as caught:
        sentry.begin("https://no-key.example/1", environment=None, release="r", server="n")

    assert "no-key" not in str(caught.value)
