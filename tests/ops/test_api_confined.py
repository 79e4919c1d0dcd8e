"""Does the API need nothing that its unit forbids? Seen from its system calls while it serves."""

import ctypes
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from leasebox.client import Client

PR_SET_MDWE = 65
REFUSE_EXEC_GAIN = 1


def filtered(analyze: Path, group: str) -> set[str]:
    """The calls of one of systemd's groups, with those of the groups in it."""
    told = subprocess.run([analyze, "syscall-filter", group], capture_output=True, text=True, check=True).stdout
    names = [line.strip() for line in told.splitlines()[1:]]
    inner = [filtered(analyze, name) for name in names if name.startswith("@")]
    return {name for name in names if name and name[0] not in "#@"}.union(*inner)


def write_execute_denied() -> None:
    # What MemoryDenyWriteExecute= does, by the kernel's own switch (prctl(2), Linux 6.3); older ones pass it by.
    ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)


@pytest.mark.long
def test_the_api_lives_within_its_unit(program, new_redis, tmp_path: Path, eventually) -> None:
    analyze, strace = program("systemd-analyze", "systemd"), program("strace", "strace")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {"URL": new_redis().url, "HOME": str(tmp_path), "API_PORT": str(port), "KEY_PEPPER": "p" * 32}
    environment = {**os.environ, **{f"LEASEBOX_{name}": value for name, value in given.items()}}
    make = [sys.executable, "-m", "leasebox.cli", "keys", "create", "--tenant", "a"]
    made = subprocess.run(make, env=environment, capture_output=True, text=True, check=True)
    key, url = json.loads(made.stdout)["key"], f"http://127.0.0.1:{port}"
    command = [strace, "-f", "-qq", "-o", tmp_path / "calls", sys.executable, "-m", "leasebox.server"]
    traced = subprocess.Popen(command, env=environment, preexec_fn=write_execute_denied)
    try:
        eventually(lambda: answers(url), within_s=60)
        with Client(url, api_key=key) as client:
            job = client.submit("print(1)", metadata={"a": "b"})
            assert [known.id for known in client.jobs()] == [job.id]
            job.cancel()
            assert client.job(job.id).result(timeout_s=30).outcome == "cancelled"
        for path in ("/metrics", "/docs", "/openapi.json", "/", "/v1/nodes"):
            assert httpx2.get(url + path, headers={"X-API-Key": key}).status_code == 200
    finally:
        # strace itself passes SIGTERM by; the API ends, and strace with it.
        children = Path(f"/proc/{traced.pid}/task/{traced.pid}/children").read_text().split()
        subprocess.run(["kill", *children], check=True)
        traced.wait(60)

    used = set(re.findall(r"^\d+\s+(\w+)\(", (tmp_path / "calls").read_text(), re.MULTILINE))
    allowed = filtered(analyze, "@system-service") - filtered(analyze, "@privileged") - filtered(analyze, "@resources")
    assert "epoll_wait" in used
    assert not used - allowed


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False
