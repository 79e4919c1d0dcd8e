"""What an application sees of a job, on a live system with each driver."""

import time
import uuid
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from tests.acceptance.conftest import Live, forget_peak, peak_bytes

from leasebox.client import Client
from leasebox.contract import errors
from leasebox.contract.result import Outcome

WAIT_S = 60.0


@pytest.fixture
def client(either_client: Client) -> Client:
    """Over Redis, then over the API: what an application sees is the same."""
    return either_client


@pytest.mark.parametrize(
    ("code", "outcome", "exit_code", "signal"),
    [
        ("print(6 * 7)", "ok", 0, None),
        ("import sys; sys.exit(3)", "error", 3, None),
        ("import sys; sys.exit('words')", "error", 1, None),
        ("1 / 0", "error", 1, None),
        ("import os; os.kill(os.getpid(), 15)", "killed", None, 15),
        ("import os; os.abort()", "killed", None, 6),
    ],
)
def test_an_ending_is_told_as_it_was(
    client: Client, code: str, outcome: str, exit_code: int | None, signal: int | None
) -> None:
    result = client.run(code, session="endings", wait_s=WAIT_S)

    assert (result.outcome, result.exit_code, result.signal) == (outcome, exit_code, signal)


def test_output_streams_and_result_agree_and_are_kept_apart(client: Client) -> None:
    handle = client.submit("import sys; print('out'); print('err', file=sys.stderr)", session="endings")
    events = list(handle.events(timeout_s=WAIT_S))

    assert b"".join(e.data for e in events if e.type == "stdout") == b"out\n"
    assert b"".join(e.data for e in events if e.type == "stderr") == b"err\n"
    assert events[0].type == "queued"
    assert events[-1].type == "finished"
    assert [e.type for e in events].count("finished") == 1
    assert handle.result().stdout == "out\n"


def test_lines_arrive_while_the_program_runs(client: Client) -> None:
    code = "import time\nfor n in range(3):\n    print(n)\n    time.sleep(0.4)"
    arrived = [(time.monotonic(), e.type) for e in client.submit(code, session="endings").events(timeout_s=WAIT_S)]

    lines = [at for at, kind in arrived if kind == "stdout"]
    assert len(lines) == 3
    assert lines[2] - lines[0] > 0.5
    assert arrived[-1][0] - lines[0] > 0.9


def test_a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice(client: Client) -> None:
    handle = client.submit("for n in range(2000): print(n, flush=True)", session="endings")
    first = []
    for event in handle.events(timeout_s=WAIT_S):
        first.append(event)
        if event.type == "stdout":
            break
    rest = list(client.job(handle.id).events(after=first[-1].id, timeout_s=WAIT_S))

    data = b"".join(e.data for e in [*first, *rest] if e.type == "stdout")
    assert data == b"".join(b"%d\n" % n for n in range(2000))


def test_fifty_megabytes_are_streamed_whole_and_kept_in_part(client: Client) -> None:
    code = "import sys\nfor n in range(800): sys.stdout.buffer.write(bytes([n % 256]) * 65536)"
    handle = client.submit(code, session="endings")
    seen = sum(len(e.data) for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")
    result = handle.result()

    assert seen == result.usage.output_bytes == 800 * 65536
    assert result.truncated.stdout
    assert len(result.stdout_bytes) == 256 << 10
    assert result.stdout_bytes[:3] == b"\0\0\0"
    assert result.stdout_bytes[-1] == 799 % 256


def test_an_endless_loop_ends_by_its_wall_limit_and_keeps_its_output(client: Client) -> None:
    result = client.run("print('begun')\nwhile True: pass", session="endings", limits={"timeout_s": 1}, wait_s=WAIT_S)

    assert (result.outcome, result.limit, result.stdout) == (Outcome.TIMEOUT, "wall", "begun\n")
    assert result.usage.run_s < 2.5


def test_memory_has_a_limit_and_the_session_goes_on(client: Client) -> None:
    result = client.run("b = bytearray(700 << 20)", session="endings", wait_s=WAIT_S)

    assert (result.outcome, result.limit) == (Outcome.OOM, "memory")
    assert client.run("print('alive')", session="endings", wait_s=WAIT_S).stdout == "alive\n"


def test_a_sessions_first_job_decides_the_limits_of_its_sandbox(client: Client) -> None:
    small = {"memory_bytes": 64 << 20}
    first = client.run("pass", session="small", limits=small, wait_s=WAIT_S)
    silent = client.run("pass", session="small", wait_s=WAIT_S)
    other = client.run("pass", session="small", limits={"memory_bytes": 128 << 20}, wait_s=WAIT_S)

    assert [r.limits.memory_bytes for r in (first, silent) if r.limits] == [64 << 20, 64 << 20]
    assert other.outcome is Outcome.REJECTED
    assert "limits.memory_bytes" in other.message


def test_output_beyond_the_stream_limit_ends_the_job(client: Client) -> None:
    code = "while True: print('x' * 1000)"
    result = client.run(code, session="endings", limits={"stream_bytes": 1 << 20}, wait_s=WAIT_S)

    assert (result.outcome, result.limit) == (Outcome.OUTPUT_LIMIT, "output")
    assert result.usage.output_bytes == 1 << 20


def test_a_running_job_that_ignores_sigterm_is_cancelled(client: Client) -> None:
    code = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('on')\nwhile True: time.sleep(1)"
    handle = client.submit(code, session="endings")
    next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "stdout")

    handle.cancel()

    assert handle.result(timeout_s=WAIT_S).outcome is Outcome.CANCELLED


def test_files_of_a_session_stay_and_those_of_other_sessions_and_tenants_are_not_there(live: Live) -> None:
    look = "import os; print(sorted(os.listdir()))"
    with live.client(tenant="red") as red, live.client(tenant="blue") as blue:
        red.run("open('mine', 'w').write('x')", session="s-1", check=True, wait_s=WAIT_S)

        seen = [
            red.run(look, session="s-1", wait_s=WAIT_S).stdout,
            red.run(look, session="s-2", wait_s=WAIT_S).stdout,
            blue.run(look, session="s-1", wait_s=WAIT_S).stdout,
        ]

    assert ["mine" in names for names in seen] == [True, False, False]


def test_a_job_of_another_tenant_does_not_exist(live: Live) -> None:
    with live.client(tenant="red") as red, live.client(tenant="blue") as blue:
        handle = red.submit("pass")
        handle.result(timeout_s=WAIT_S)

        with pytest.raises(errors.UnknownJob):
            blue.job(handle.id).status()
        with pytest.raises(errors.UnknownJob):
            blue.job(handle.id).cancel()


def test_jobs_of_a_session_run_one_by_one_in_the_order_of_submit(client: Client) -> None:
    client.run("open('log', 'w').close()", session="line", wait_s=WAIT_S)
    handles = [client.submit(f"open('log', 'a').write('{n} ')", session="line") for n in range(30)]
    for handle in handles:
        handle.result(timeout_s=WAIT_S)

    assert client.run("print(open('log').read())", session="line", wait_s=WAIT_S).stdout.split() == [
        str(n) for n in range(30)
    ]


@pytest.mark.parametrize(
    ("spec", "stdout"),
    [
        ({"code": "import sys; print(sys.argv)", "args": ["a", "ö"]}, "['main.py', 'a', 'ö']\n"),
        ({"code": "import sys; print(len(sys.stdin.read()))", "stdin": "x" * 200_000}, "200000\n"),
        ({"code": "print(open('d/a.txt').read())", "files": {"d/a.txt": "hello"}}, "hello\n"),
        ({"entry": "tool.py", "files": {"tool.py": "print(__name__)"}}, "__main__\n"),
        ({"code": "import os; print(os.environ['A'])", "env": {"A": "1"}}, "1\n"),
        ({"code": "echo $1", "language": "bash", "args": ["q"]}, "q\n"),
        ({"command": ["echo", "a b"]}, "a b\n"),
        ({"code": "import os; print(os.getcwd())", "files": {"d/f": ""}, "cwd": "d"}, "/workspace/d\n"),
    ],
)
def test_what_a_job_is_given_reaches_the_program(client: Client, spec: dict[str, Any], stdout: str) -> None:
    result = client.run(**spec, wait_s=WAIT_S)

    assert (result.stdout, result.stderr, result.outcome) == (stdout, "", "ok")


def test_bytes_that_are_not_utf8_come_back_whole(client: Client) -> None:
    result = client.run(r"import sys; sys.stdout.buffer.write(b'\xff\x00\xc3')", session="endings", wait_s=WAIT_S)

    assert result.stdout_bytes == b"\xff\x00\xc3"


def test_a_language_that_the_profile_lacks_is_refused_before_it_is_queued(client: Client) -> None:
    with pytest.raises(errors.InvalidSpec, match="language"):
        client.submit("IDENTIFICATION DIVISION.", language="cobol")


def test_any_celery_app_on_the_same_redis_reads_the_result(live: Live, client: Client) -> None:
    plain = Celery("plain", broker=live.url, backend=live.url)
    done = client.submit("print(6 * 7)", session="endings")
    cancelled = client.submit("import time; time.sleep(60)", session="endings")
    cancelled.cancel()

    assert plain.AsyncResult(done.id).get(timeout=30)["stdout"] == "42\n"
    with pytest.raises(TaskRevokedError):
        plain.AsyncResult(cancelled.id).get(timeout=30)


def test_a_rejected_job_raises_its_own_error_for_any_celery_app(live: Live, client: Client) -> None:
    plain = Celery("plain", broker=live.url, backend=live.url)
    rejected = client.submit("pass", files={"a": "", "a/b": ""})

    result = rejected.result(timeout_s=WAIT_S)
    assert (result.outcome, result.attempt, result.stdout) == (Outcome.REJECTED, 0, "")
    assert "a" in result.message
    with pytest.raises(errors.JobRejected):
        plain.AsyncResult(rejected.id).get(timeout=30)


def test_revoke_of_any_celery_app_is_a_true_cancel(live: Live, client: Client) -> None:
    plain = Celery("plain", broker=live.url, backend=live.url)
    handle = client.submit("import time; time.sleep(60)", session="endings")
    next(e for e in handle.events(timeout_s=WAIT_S) if e.type == "started")

    plain.control.revoke(handle.id)

    assert handle.result(timeout_s=WAIT_S).outcome is Outcome.CANCELLED


def test_a_session_that_must_exist_and_does_not_is_refused(client: Client) -> None:
    with pytest.raises(errors.SessionExpired):
        client.submit("pass", session="never-was", session_must_exist=True)


def test_a_job_that_nobody_started_in_time_expires(live: Live) -> None:
    with live.client() as client:
        client.submit("import time; time.sleep(3)", session="slow")
        handle = client.submit("pass", session="slow", expires_in_s=0.5)

        assert handle.result(timeout_s=WAIT_S).outcome is Outcome.EXPIRED


def test_an_idempotent_repeat_is_the_same_job(client: Client) -> None:
    key = str(uuid.uuid4())
    first = client.submit("print(1)", idempotency_key=key, session="endings")
    second = client.submit("print(1)", idempotency_key=key, session="endings")

    assert (second.id, first.existing, second.existing) == (first.id, False, True)
    with pytest.raises(errors.IdempotencyConflict):
        client.submit("print(2)", idempotency_key=key, session="endings")


def test_fifty_megabytes_of_output_leave_the_workers_memory_flat(live: Live) -> None:
    code = "import sys\nfor n in range(800): sys.stdout.buffer.write(b'x' * 65536)"
    with live.client() as client:
        client.run(code, session="flat", wait_s=WAIT_S)
        forget_peak(live.pid)
        before = peak_bytes(live.pid)

        client.run(code, session="flat", wait_s=WAIT_S)

    assert peak_bytes(live.pid) - before < 16 << 20
