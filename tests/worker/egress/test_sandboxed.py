"""What does a job in a sandbox reach? Every row of the table of the design, in every driver, by what it printed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from leasebox.contract.spec import Limits
from leasebox_guest.egress import MOST_PAIRS
from leasebox_worker.drivers.base import Driver
from leasebox_worker.egress.caps import Caps
from leasebox_worker.egress.door import Visit
from leasebox_worker.egress.proxy import Egress
from leasebox_worker.engine.sandboxes import Placement, Sandbox, Sandboxes
from leasebox_worker.guestlink.orders import Exec
from leasebox_worker.policy.admit import PROXY_ENV, effective_limits
from leasebox_worker.policy.profiles import Profile

PROFILE = Profile("net", network=("allowed.test", "*.test"), cpus=1.0)
PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture
def sandbox(driver: Driver, placement: Placement, egress_root: Path, run_id: str) -> Iterator[Sandbox]:
    """One whose profile has a network."""
    sandboxes = Sandboxes(driver, placement, bound=1)
    place = sandboxes.reserve()
    assert place
    yield sandboxes.make(PROFILE, effective_limits(Limits(), PROFILE, node_cpus=1.0), {}, place)
    sandboxes.end_all()
    assert not list(egress_root.iterdir())


Run = Callable[..., Any]


@pytest.fixture
def run(sandbox: Sandbox, egress: Egress, origin: Any) -> Run:
    """Run a program of `programs` with a network list, None = without a network; what it printed, as JSON."""

    def run(program: str, rules: tuple[str, ...] | None, *args: str) -> Any:
        code = (PROGRAMS / program).read_bytes()
        opened = None if rules is None else egress.open(sandbox.name, Visit("job-1", "s-1", rules))
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/workspace", "LANG": "C.UTF-8", **PROXY_ENV}
        request = Exec(
            id="1:1/python", kind="python", argv=("main.py", origin.ca, *args), code_bytes=len(code),
            code_path="main.py", cwd="/workspace", env=env, wall_s=60.0, cpu_s=None, silence_s=None,
            stream_bytes=1 << 20, line_buffered=True, cancel_grace_s=1.0,
        )  # fmt: skip
        try:
            exited, stdout, stderr = sandbox.link.run(request, code, (), within_s=70.0)
        finally:
            run.traffic = egress.shut(opened) if opened else None  # type: ignore[attr-defined]
        assert exited.code == 0, stderr.decode()
        return json.loads(stdout)

    return run


@pytest.mark.slow
def test_every_row_of_the_design(run: Run, journal: Any) -> None:
    with capture_logs() as logs:
        seen = run("rows.py", ("allowed.test", "*.allowed.test", "inside.test", "loop.test", "mapped.test"))

    assert seen["allowed"] == "hello from outside"
    assert seen["below a star"] == "hello from outside"
    refused = {
        "another name": 403, "suffix trick": 403, "prefix trick": 403, "address": 403, "address in hex": 403,
        "address v6": 403, "port 22": 403, "port 80": 403, "plain get": 405, "metadata by name": 403,
        "loopback by name": 403, "mapped by name": 403, "no such name": 403, "no request": 400, "dot at the end": 403,
    }  # fmt: skip
    assert {row: seen[row] for row in refused} == refused
    assert {row: seen[row] for row in ("sni differs", "no sni", "no tls")} == dict.fromkeys(
        ("sni differs", "no sni", "no tls"), "closed"
    )
    direct = {row: said for row, said in seen.items() if row.startswith("direct")}
    assert len(direct) == 7
    assert set(direct.values()) == {"unreachable"}
    assert seen["resolver"] == "none"
    assert {address for address, _ in journal.dialled} == {"93.184.215.14"}
    reasons = [line["reason"] for line in logs if line["event"] == "egress_refused"]
    assert len(reasons) == len(refused) + 3
    assert {"name", "address", "port", "method", "syntax", "sni", "not_tls"} == set(reasons)
    assert all(line["session_id"] == "s-1" for line in logs if line["event"] == "egress_refused")
    assert any(line.get("name") == "other.test" for line in logs)


@pytest.mark.slow
def test_a_job_is_let_out_only_while_it_runs_and_only_by_its_own_list(run: Run) -> None:
    assert run("door.py", None) == {"socket": False, "connect": "closed", "get": "refused"}
    assert run("door.py", ("allowed.test",))["get"] == "hello from outside"
    assert run("door.py", ("other.test",))["get"] == "refused"
    assert run("door.py", None) == {"socket": False, "connect": "closed", "get": "refused"}


@pytest.mark.slow
def test_a_job_cannot_take_the_socket_s_place(run: Run) -> None:
    seen = run("door.py", ("allowed.test",), "attack")

    assert seen["attack"] == {"unlink": "EROFS", "create": "EROFS", "port": "EADDRINUSE"}
    assert seen["get"] == "hello from outside"


@pytest.mark.slow
def test_traffic_is_counted(run: Run) -> None:
    run("door.py", ("allowed.test",), "bytes", "300000")

    assert 300_000 < run.traffic.bytes_in < 330_000  # type: ignore[attr-defined]
    assert 0 < run.traffic.bytes_out < 20_000  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_flood_of_connections_leaves_agent_and_proxy_alive(run: Run) -> None:
    seen = run("flood.py", ("allowed.test",))

    assert seen["opened"] >= 200
    assert run("door.py", ("allowed.test",))["get"] == "hello from outside"


@pytest.mark.slow
@pytest.mark.parametrize("caps", [Caps(connections=100, head_within_s=30.0)])
def test_the_agent_keeps_its_own_bound_and_lets_the_next_in(run: Run) -> None:
    seen = run("crowd.py", ("allowed.test",))

    assert seen["at once"] == MOST_PAIRS
    assert seen["afterwards"] >= 1
