"""Does a worker tell in the audit log which protections it does without?"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leasebox.contract.keys import Keys
from leasebox_worker.config import WorkerSettings
from leasebox_worker.drivers.base import DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS, Mode
from leasebox_worker.engine import ground
from leasebox_worker.engine.host import start


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lbh-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_protection_that_is_waived_is_told_at_the_start(
    redis_server: Any, redis: Any, prefix: str, home: Path, bwrap: Path, eventually: Any, monkeypatch: Any
) -> None:
    def rootless(_name: object, settings: DriverSettings, **_: object) -> BubblewrapDriver:
        return BubblewrapDriver(settings, Mode.ROOTLESS)

    monkeypatch.setattr(ground, "choose", rootless)  # root would have them all
    given = {"url": redis_server.url, "prefix": prefix, "home": home, "node": "n", "slots": 1, "_env_file": None}
    host = start(WorkerSettings(**given), lambda: None, is_embedded=True)
    written = eventually(lambda: redis.xlen(Keys(prefix).audit()), within_s=20)
    assert host.deps.audit is not None
    host.deps.audit.note("protection.waive", "cgroup", "ok")  # what comes last is not lost either
    host.stop()
    assert redis.xlen(Keys(prefix).audit()) == written + 1

    told = [json.loads(fields[b"json"]) for _, fields in redis.xrange(Keys(prefix).audit())]
    assert {one["action"] for one in told} == {"protection.waive"}
    assert {"cgroup"} <= {one["target"] for one in told} <= ROOTLESS_LACKS
    assert {(one["actor"], one["door"]) for one in told} == {("n", "worker")}
