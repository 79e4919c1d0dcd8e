"""An attack beside an honest session: named, gone within a second, and the neighbour hardly notices."""

import json
import statistics
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.conftest import lacking
from tests.worker.conftest import NodeUnderTest

from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import Placement, Sandboxes

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

LIMITS = {"memory_bytes": 256 << 20, "disk_bytes": 16 << 20, "tmp_bytes": 8 << 20, "pids": 64, "cpus": 0.5,
          "timeout_s": 20.0}  # fmt: skip
HONEST_LIMITS = {"memory_bytes": 128 << 20, "disk_bytes": 16 << 20, "tmp_bytes": 8 << 20, "cpus": 1.0}
HONEST = "sum(n * n for n in range(4_000_000))"
ROUNDS = (3, 25)
"""At least and at most: the best of each side is compared, since what else the machine does is nobody's doing."""
IDLE = 3
"""bwrap, the agent, and the process that it keeps ready for the next job."""
WITHIN = 1.15
MAX_SPREAD = 1.2
"""Where the times alone differ more than that, something else has the processors, and nothing can be told."""

ATTACKS = {
    "fork bomb": ("import os\nwhile True: os.fork()", "pids_limit"),
    "memory bomb": ("kept = []\nwhile True: kept.append(b'x' * (4 << 20))", "oom"),
    "disk": ("file = open('f', 'wb')\nwhile True: file.write(bytes(1 << 20))", "disk_limit"),
    "inodes": ("import os\nfor n in range(1 << 20): os.close(os.open(f'n{n}', os.O_CREAT))", "disk_limit"),
    "output flood": ("while True: print('x' * 10000)", "output_limit"),
    "SIGTERM-proof daemon": (
        "import os, signal\n"
        "for _ in range(8):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        os.fork()\n"
        "        while True: signal.pause()\n"
        "while True: signal.pause()",
        "timeout",
    ),
    "cpu hog": ("import os\nos.fork(); os.fork()\nwhile True: pass", "timeout"),
}  # fmt: skip


@pytest.fixture
def busy_docker(docker_deps: Deps, placement: Placement) -> Iterator[Deps]:
    """Docker with the usual dead-man time: nobody pings here."""
    sandboxes = Sandboxes(docker_deps.sandboxes.driver, placement, bound=4)
    yield replace(docker_deps, sandboxes=sandboxes)
    sandboxes.end_all()


def honest_s(node: NodeUnderTest, deps: Deps) -> float:
    """What the honest session's program takes, by the agent's clock."""
    job = node.submit("honest", {"code": HONEST, "limits": HONEST_LIMITS})
    run_job(job, deps)
    found = node.result(job)
    assert found["outcome"] == "ok", found
    return float(found["usage"]["run_s"])


def processes_of(deps: Deps, session: str) -> int:
    """How many processes the sandbox of a session has, by its cgroup."""
    sandbox = deps.sandboxes._held[json.loads(session)["name"]]
    return deps.sandboxes.driver.stats(sandbox.handle).pids


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("which", ["deps", "busy_docker"])
def test_an_attack_is_named_and_gone_and_its_neighbour_hardly_notices(
    request: pytest.FixtureRequest, worker_node: NodeUnderTest, eventually: Any, which: str, name: str
) -> None:
    deps: Deps = request.getfixturevalue(which)
    code, outcome = ATTACKS[name]
    honest_s(worker_node, deps)  # its sandbox stands
    alone, beside = [], []
    while len(alone) < ROUNDS[0] or (min(beside) / min(alone) > WITHIN and len(alone) < ROUNDS[1]):
        alone.append(honest_s(worker_node, deps))
        job = worker_node.submit(
            "evil", {"code": code, "limits": LIMITS | ({"timeout_s": 1.5} if outcome == "timeout" else {})}
        )
        attack = threading.Thread(target=run_job, args=(job, deps))
        attack.start()
        beside.append(honest_s(worker_node, deps))
        attack.join(60.0)

        assert worker_node.result(job)["outcome"] == outcome, worker_node.result(job)
        eventually(lambda: processes_of(deps, worker_node.session("evil")["sandbox"]) <= IDLE, within_s=1.0)
        clean = worker_node.submit("evil", {"command": ["find", "/workspace", "-mindepth", "1", "-delete"]})
        run_job(clean, deps)
        assert worker_node.result(clean)["outcome"] == "ok"

    spread = statistics.median(alone) / min(alone)
    print(f"{which} {name}: {min(beside) / min(alone):.2f} of its time alone, {len(alone)} rounds")
    if min(beside) / min(alone) > WITHIN and spread > MAX_SPREAD:
        lacking("quiet machine", f"without any attack its times differ by {spread:.2f}")
    assert min(beside) / min(alone) <= WITHIN, (alone, beside)
