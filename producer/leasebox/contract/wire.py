"""How does a job's end look in Celery's result backend, and how do scripts write one without a Result?

Texts of `celery-task-meta-{job}`: `SUCCESS` with the Result; `FAILURE` for rejected, lost and infra; `REVOKED`
for cancelled and expired; never another status (it would never become ready: CELERY.md section 2).
`task_id` is mandatory: Celery's reader loops without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

ERRORS_MODULE: Final = "leasebox.contract.errors"
FAILURES: Final = {"rejected": "JobRejected", "lost": "JobLost", "infra": "JobInfra"}
REVOKED: Final = ("cancelled", "expired")
MESSAGES: Final = {
    "cancelled": "The job was cancelled.",
    "session_closed": "The session was closed before the job could run.",
    "batch_cancelled": "The job's batch was cancelled.",
    "expired": "The job was not started before it expired.",
    "node_lost": "The node that ran the job stopped answering.",
    "restarted": "The worker that ran the job was restarted.",
    "disowned": "The worker lost track of the job.",
    "sandbox_died": "The job's sandbox died under it.",
    "overdue": "The job did not end within its deadline.",
    "drain": "The node that ran the job was drained.",
    "start_failed": "The job's sandbox could not be started.",
}


def meta_text(
    job: str, outcome: str, result_json: str, *, done_at: float, message: str = "", exc_type: str | None = None
) -> bytes:
    """The whole text of `celery-task-meta-{job}` for an ending that has a Result.

    Args:
        result_json: The Result as a JSON object.
        done_at: Unix seconds.
        exc_type: Instead of the outcome's own error class, for `SessionExpired`.
    """
    date = datetime.fromtimestamp(done_at, UTC).isoformat()
    return _meta(outcome, json.dumps(job), json.dumps(date), json.dumps(message), result_json, exc_type).encode()


def finished_json(result_json: str, *, partial: bool = False) -> bytes:
    """The payload of the `finished` event; `partial`: the big parts are left out, the meta key has them."""
    mark = ',"partial":true' if partial else ""
    return f'{{"result":{result_json}{mark}}}'.encode()


def _meta(outcome: str, job: str, date: str, message: str, result: str, exc_type: str | None = None) -> str:
    """Celery's meta around texts that are JSON already, or placeholders for it."""
    status, value = "SUCCESS", result
    if outcome in REVOKED:
        status, value = "REVOKED", _failure("TaskRevokedError", "celery.exceptions", message, result)
    elif outcome in FAILURES:
        status, value = "FAILURE", _failure(exc_type or FAILURES[outcome], ERRORS_MODULE, message, result)
    return f'{{"status":"{status}","result":{value},"traceback":null,"children":[],"date_done":{date},"task_id":{job}}}'


def _failure(exc_type: str, module: str, message: str, result: str) -> str:
    return f'{{"exc_type":"{exc_type}","exc_message":[{message}],"exc_module":"{module}","result":{result}}}'


@dataclass(frozen=True)
class Endings:
    """Templates of the endings that no worker reports: scripts fill `@name@` with JSON values.

    Names: job, outcome, date, message, error, session, node, attempt, queued_s, metadata; in a meta also result.
    """

    result: str
    metas: tuple[tuple[str, str], ...]
    errors: tuple[tuple[str, str], ...]
    messages: tuple[tuple[str, str], ...]

    @cached_property
    def text(self) -> bytes:
        """As one argument of a script."""
        fields = {
            "result": self.result,
            "finished": finished_json("@result@").decode(),
            "metas": dict(self.metas),
            "errors": dict(self.errors),
            "messages": dict(self.messages),
        }
        return json.dumps(fields, separators=(",", ":")).encode()


RESULT_TEMPLATE: Final = (
    '{"job":@job@,"outcome":@outcome@,"ok":false,"exit_code":null,"signal":null,"stdout":"","stderr":"",'
    '"error":@error@,"session":@session@,"node":@node@,"attempt":@attempt@,"usage":{"queued_s":@queued_s@},'
    '"message":@message@,"metadata":@metadata@}'
)


def endings() -> Endings:
    """The templates for cancelled, expired, lost and infra."""
    outcomes = ("cancelled", "expired", "lost", "infra")
    return Endings(
        result=RESULT_TEMPLATE,
        metas=tuple((o, _meta(o, "@job@", "@date@", "@message@", "@result@")) for o in outcomes),
        errors=tuple(
            (o, f'{{"name":"{FAILURES[o]}","message":@message@,"traceback":""}}') for o in outcomes if o in FAILURES
        ),
        messages=tuple(MESSAGES.items()),
    )


ENDINGS: Final = endings()
