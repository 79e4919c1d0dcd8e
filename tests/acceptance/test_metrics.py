"""What an application and a person see of a session's use and health, on a live system with each driver."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import docker
import pytest
from tests.acceptance.conftest import Live
from tests.conftest import Eventually

from leasebox.client import Client, Session
from leasebox.contract.metrics import Health

pytestmark = pytest.mark.slow
WAIT_S = 60.0
MIB = 1 << 20
SPIN = "open('f', 'wb').write(bytes(2 << 20))\nprint('on', flush=True)\nwhile True: pass"


def leasebox(live: Live, *words: str) -> "subprocess.Popen[str]":
    """Type a command."""
    command = [sys.executable, "-m", "leasebox.cli", *words]
    return subprocess.Popen(command, env=live.environment(), stdout=subprocess.PIPE, text=True)


def agent_of(live: Live, sandbox: str) -> int:
    """The first process of a sandbox, as this host numbers it."""
    name = sandbox
    if live.driver == "docker":
        engine = docker.from_env()
        name = engine.containers.get(sandbox).id
        engine.close()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status, cgroup = (process / "status").read_text(), (process / "cgroup").read_text()
        except OSError:
            continue
        is_first = any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines())
        if is_first and name in cgroup:
            return int(process.name)
    raise LookupError(sandbox)


def replaced(session: Session) -> bool:
    """Whether the session has lost its sandbox and knows it."""
    return session.info().lost_reason is not None


def test_a_job_is_measured_while_it_runs_and_what_it_left_afterwards(
    either_client: Client, eventually: Eventually
) -> None:
    with either_client.session() as box:
        assert (box.metrics().health, box.metrics().measured_at) == (Health.NONE, None)
        handle = box.submit(SPIN, stateful=False, limits={"timeout_s": 60})
        next(event for event in handle.events(timeout_s=WAIT_S) if event.type == "stdout")
        busy = [box.metrics()]

        def _is_seen_busy() -> bool:
            busy.append(box.metrics())
            return busy[-1].cpu_s > busy[0].cpu_s and busy[-1].cpu_percent > 1

        eventually(_is_seen_busy, within_s=WAIT_S)  # a busy machine may leave it little for a while
        assert handle.status().state == "running"
        handle.cancel(wait_s=WAIT_S)
        idle = box.metrics()

        assert {each.health for each in (*busy, idle)} == {Health.HEALTHY}
        assert busy[-1].cpu_s <= idle.cpu_s
        assert busy[0].processes >= 2
        assert busy[0].memory_peak_bytes >= busy[0].memory_bytes > 2 * MIB
        assert all(2 * MIB <= each.disk_bytes < 3 * MIB for each in (busy[0], idle))
        assert (busy[0].state, idle.state, idle.executions) == ("busy", "idle", 1)
        assert (idle.network_in_bytes, idle.network_out_bytes) == (0, 0)


def test_show_tells_what_a_session_uses_and_watch_tells_it_as_it_changes(live: Live, client: Client) -> None:
    with client.session() as box:
        box.run("open('f', 'wb').write(bytes(2 << 20))", check=True, wait_s=WAIT_S)
        shown, _ = leasebox(live, "sessions", "show", box.name).communicate(timeout=WAIT_S)
        told, _ = leasebox(live, "sessions", "show", box.name, "--json").communicate(timeout=WAIT_S)
        watching = leasebox(live, "sessions", "show", box.name, "--watch")
        assert watching.stdout is not None
        first = watching.stdout.readline()

    rest, _ = watching.communicate(timeout=WAIT_S)
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert (lines["health"], lines["disk"]) == ("healthy", "2 MiB")
    assert "MiB, at most" in lines["memory"]
    assert json.loads(told)["metrics"]["disk_bytes"] >= 2 * MIB
    assert "idle on live-" in first
    assert "disk 2 MiB, network 0 B, healthy" in first
    assert "closed, 0 pending, 1 run. It was closed." in rest


def test_a_sandbox_whose_agent_does_not_answer_is_replaced_and_the_next_job_says_so(
    live: Live, client: Client, eventually: Eventually
) -> None:
    with client.session() as box:
        first = box.run("open('f', 'w').write('kept')", check=True, wait_s=WAIT_S)
        agent = agent_of(live, str(first.sandbox))
        os.kill(agent, signal.SIGSTOP)

        eventually(lambda: box.metrics().health is Health.FAILING, within_s=60)
        eventually(lambda: replaced(box), within_s=60)
        handle = box.submit("import os; print(os.listdir())", stateful=False)
        events = list(handle.events(timeout_s=WAIT_S))

        assert [event.reason for event in events if event.type == "session_restarted"] == ["failed"]
        assert handle.result().stdout == "[]\n" or "main.py" in handle.result().stdout
        assert "f" not in handle.result().stdout.split("'")
        eventually(lambda: not Path(f"/proc/{agent}").exists(), within_s=WAIT_S)  # its end is in the background
        assert box.metrics().health is Health.HEALTHY
