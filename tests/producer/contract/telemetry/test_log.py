"""What must never stand in a log, and who can make a line of it?"""

import json
import subprocess
import sys

import pytest

from leasebox.contract.telemetry.log import BAR, barred, escaped, word

FAIL = """
import logging, structlog
from leasebox.contract.telemetry.log import configure

configure("debug", {style!r})


def fail(value):
    raise RuntimeError("broke")


for log in (structlog.get_logger().exception, logging.getLogger("celery").exception):
    try:
        token = "".join(["hun", "ter2"])
        fail(token)
    except RuntimeError:
        log("attempt_broke")
"""
FORGED = "2026-11-22T01:00:00Z [info     ] job_finished outcome=ok"
FORGE = f"""
import logging, structlog
from leasebox.contract.telemetry.log import configure

configure("debug", {{style!r}})
forged = {FORGED!r}
ends = ["\\n", "\\r", "\\r\\n", "\\v", "\\f", "\\x1c", "\\x1e", "\\x85", "\\u2028", "\\u2029"]
ends += ["\\x1b[2K\\x1b[1G", "\\b" * 200, "\\udcff"]
log, foreign = structlog.get_logger(), logging.getLogger("celery")


class Odd:
    def __repr__(self):
        return "odd\\n" + forged


for end in ends:
    text = "refused" + end + forged
    log.warning("attempt_failed", reason=text)
    log.warning("attempt_failed", names=[text], odd=Odd(), **dict([(text, 1)]))
    log.warning(text)
    foreign.warning("said %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("attempt_broke")
        foreign.exception("broke")
"""
LINES_EACH = 6


def told(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60).stdout.decode()


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_value_of_a_variable(style: str) -> None:
    """Secrets are variables: a formatter that shows locals would log them."""
    found = told(FAIL.format(style=style))

    assert found.count("RuntimeError") >= 2
    assert "hunter2" not in found


@pytest.mark.parametrize("style", ["console", "json"])
def test_no_text_makes_a_line_or_moves_the_cursor(style: str) -> None:
    found = told(FORGE.format(style=style))

    lines = found.splitlines()  # by all that any reader may take for the end of a line
    ours = [line for line in lines if not line.startswith(BAR)]
    assert len(ours) == 13 * LINES_EACH
    assert not [line for line in lines if line.startswith(FORGED)]
    assert all(line.isprintable() for line in lines)
    assert style == "console" or all(json.loads(line)["level"] in ("warning", "error") for line in lines)
    assert style == "json" or all(line.startswith("20") and "Z [" in line[:35] for line in ours)


def test_a_value_cannot_pass_for_another_field() -> None:
    assert word("refused outcome=ok") == "'refused outcome=ok'"
    assert (word(""), word("plain-1.0"), word("ü")) == ("''", "plain-1.0", "ü")


def test_what_shows_as_nothing_is_written_out() -> None:
    assert escaped("a\u202eb\u200bc\x00\t") == "a\\u202eb\\u200bc\\x00\\t"
    assert barred("a\n\x1b[0mb") == f"{BAR}a\n{BAR}\\x1b[0mb"


def test_a_line_says_who_speaks_and_what_is_bound() -> None:
    program = """
import logging, structlog
from leasebox.contract.telemetry.log import configure

configure("info", "auto")
with structlog.contextvars.bound_contextvars(job_id="j", trace_id="t"):
    structlog.get_logger().info("job_finished", outcome="ok")
    logging.getLogger("leasebox.server").info("request_answered", extra={"status": 200, "data": "unwanted"})
    logging.getLogger("celery").info("too much")
"""
    ours, foreign = (json.loads(line) for line in told(program).splitlines())

    assert ours.pop("timestamp").endswith("Z")
    assert ours == {"event": "job_finished", "level": "info", "outcome": "ok", "job_id": "j", "trace_id": "t"}
    assert (foreign["logger"], foreign["status"], foreign["job_id"]) == ("leasebox.server", 200, "j")
    assert "unwanted" not in foreign.values()
