"""A job that hits a limit is told apart from one that merely failed, and its session goes on."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import Placement, Sandboxes
from leasebox_worker.telemetry.metrics import ENDS, End

FILL = "with open('{}', 'wb') as file:\n    while True:\n        file.write(bytes(1 << 20))"
NAMES = "import os\nos.mkdir('n')\nfor n in range(1 << 20):\n    os.close(os.open(f'n/{n}', os.O_CREAT))"
FORKS = """
import os, time
for _ in range(200):
    if os.fork() == 0:
        time.sleep(60)
"""
THREADS = """
import threading
wait = threading.Event().wait
for _ in range(200):
    threading.Thread(target=wait, args=(60,), daemon=True).start()
"""
LIMITS = {"memory_bytes": 128 << 20, "disk_bytes": 16 << 20, "tmp_bytes": 8 << 20, "pids": 40, "open_files": 64}

CASES = {
    "wall": ({"code": "while True: pass", "limits": {"timeout_s": 0.3}}, "timeout", "wall"),
    "cpu": ({"code": "while True: pass", "limits": {"cpu_s": 0.2}}, "timeout", "cpu"),
    "silence": ({"code": "import time; time.sleep(60)", "limits": {"silence_s": 0.2}}, "timeout", "silence"),
    "output": (
        {"code": "while True: print('x' * 1000)", "limits": {"stream_bytes": 100_000}},
        "output_limit",
        "output",
    ),
    "memory": ({"code": "kept = []\nwhile True: kept.append(b'x' * (4 << 20))"}, "oom", "memory"),
    "processes": ({"code": FORKS}, "pids_limit", "pids"),
    "threads": ({"code": THREADS}, "pids_limit", "pids"),
    "disk": ({"code": FILL.format("f")}, "disk_limit", "disk"),
    "disk of /tmp": ({"code": FILL.format("/tmp/f")}, "disk_limit", "disk"),
    "inodes": ({"code": NAMES}, "disk_limit", "disk"),
    "a file's size": ({"command": ["truncate", "-s", "1G", "f"]}, "disk_limit", "disk"),
    "open files": ({"code": "kept = [open('/dev/null') for _ in range(100)]"}, "error", None),
}


@pytest.fixture
def patient_docker(docker_deps: Deps, placement: Placement) -> Iterator[Deps]:
    """Docker with the usual dead-man time: nobody pings here."""
    sandboxes = Sandboxes(docker_deps.sandboxes.driver, placement, bound=2)
    yield replace(docker_deps, sandboxes=sandboxes)
    sandboxes.end_all()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("which", ["deps", "patient_docker"])
def test_a_limit_that_was_hit_is_named_and_the_session_goes_on(
    request: pytest.FixtureRequest, worker_node: Any, which: str, name: str
) -> None:
    deps: Deps = request.getfixturevalue(which)
    spec, outcome, limit = CASES[name]
    spec = {**spec, "limits": {**LIMITS, **spec.get("limits", {})}}  # type: ignore[dict-item]
    job = worker_node.submit("s", spec)
    run_job(job, deps)
    after = worker_node.submit("s", {"code": "print('alive')"})
    run_job(after, deps)

    found = worker_node.result(job)
    assert (found["outcome"], found["limit"]) == (outcome, limit), found
    # Nothing may be on the disk that is full: its program is the one that makes room.
    assert worker_node.result(after)["stdout"] == "alive\n"
    assert worker_node.result(after)["sandbox"] == found["sandbox"]


@pytest.mark.slow
def test_a_program_that_copes_with_a_limit_is_ok_and_one_that_only_fails_is_an_error(
    worker_node: Any, deps: Deps
) -> None:
    coping = "try:\n    exec(forks)\nexcept OSError: print('coped')"
    coped = worker_node.submit("s", {"code": f"forks = {FORKS!r}\n{coping}", "limits": LIMITS})
    failed = worker_node.submit("s", {"code": "raise SystemExit(3)"})
    run_job(coped, deps)
    run_job(failed, deps)

    assert (worker_node.result(coped)["outcome"], worker_node.result(coped)["stdout"]) == ("ok", "coped\n")
    assert (worker_node.result(failed)["outcome"], worker_node.result(failed)["exit_code"]) == ("error", 3)


@pytest.mark.slow
def test_a_child_that_was_killed_for_memory_is_not_the_next_jobs_end(worker_node: Any, deps: Deps) -> None:
    code = "import os\nif os.fork() == 0:\n    kept = bytearray(b'x' * (1 << 30))\nprint(os.wait()[1])"
    first = worker_node.submit("s", {"code": code, "limits": LIMITS})
    second = worker_node.submit("s", {"code": "raise SystemExit(1)"})
    run_job(first, deps)
    run_job(second, deps)

    assert (worker_node.result(first)["outcome"], worker_node.result(first)["stdout"]) == ("ok", "9\n")
    assert worker_node.result(second)["outcome"] == "error"


@pytest.mark.slow
@pytest.mark.parametrize("which", ["deps", "patient_docker"])
def test_a_sandbox_that_its_memory_limit_ended_says_so_and_is_counted(
    request: pytest.FixtureRequest, worker_node: Any, eventually: Any, which: str
) -> None:
    deps: Deps = request.getfixturevalue(which)
    code = "import os, time\nif os.fork() == 0:\n    kept = bytearray(b'x' * (1 << 30))\nos.wait()\ntime.sleep(60)"
    job = worker_node.submit("s", {"code": code, "limits": LIMITS})
    counted = ENDS.labels(End.OOM)._value
    before = counted.get()
    running = threading.Thread(target=run_job, args=(job, deps))
    running.start()
    (sandbox,) = eventually(deps.sandboxes.all, within_s=30.0)
    eventually(lambda: deps.sandboxes.driver.stats(sandbox.handle).oom_kills, within_s=30.0)
    # The kernel spares the agent; where it cannot (threat-model.md, OOM order) it takes the agent as this does.
    os.kill(sandbox.handle.pid or deps.sandboxes.driver._pid(sandbox.handle), signal.SIGKILL)  # type: ignore[attr-defined]
    running.join(60.0)
    after = worker_node.submit("s", {"code": "print('alive')"})
    run_job(after, deps)

    found = worker_node.result(job)
    assert (found["outcome"], found["limit"]) == ("oom", "memory"), found
    assert counted.get() == before + 1
    told = worker_node.redis.xrange(worker_node.keys.events(after))
    assert [fields[b"json"] for _, fields in told if fields[b"type"] == b"session_restarted"] == [b'{"reason":"oom"}']
    assert worker_node.result(after)["stdout"] == "alive\n"


@pytest.mark.slow
def test_memory_and_disk_are_measured_outside_of_the_program(worker_node: Any, deps: Deps) -> None:
    code = "kept = bytearray(b'x' * (50 << 20))\nopen('f', 'wb').write(bytes(5 << 20))"
    job = worker_node.submit("s", {"code": code, "limits": LIMITS})
    run_job(job, deps)
    usage = worker_node.result(job)["usage"]

    assert 55 << 20 <= usage["memory_peak_bytes"] <= 128 << 20
    assert 5 << 20 <= usage["disk_bytes"] <= 6 << 20


@pytest.mark.slow
def test_a_run_time_that_the_agent_only_claims_is_not_believed(
    worker_node: Any, deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leasebox_worker.engine import program

    pump = program._pump

    def lied(*given: Any) -> Any:
        exited = pump(*given)
        assert exited is not None
        return replace(exited, wall_s=claim)

    monkeypatch.setattr(program, "_pump", lied)
    monkeypatch.setattr(program, "CLOCK_SLACK_S", 0.1)
    jobs = [worker_node.submit(spec={"code": "import time; time.sleep(0.5)"}) for _ in range(2)]
    for job, claim in zip(jobs, (1e6, 0.0), strict=True):  # noqa: B007 (read by `lied`)
        run_job(job, deps)
    much, little = (worker_node.result(job)["usage"]["run_s"] for job in jobs)

    assert 0.4 <= little <= 60
    assert 0.4 <= much <= 60
