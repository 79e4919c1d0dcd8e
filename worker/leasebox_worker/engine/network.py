"""What of the network does one job get? A door in its sandbox while it runs, if it asked for one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from leasebox.contract.errors import InvalidSpec, StartFailed
from leasebox.contract.scripts.answers import Work
from leasebox.contract.spec import JobSpec
from leasebox_worker.drivers.base import Driver
from leasebox_worker.egress.door import Traffic, Visit
from leasebox_worker.egress.proxy import Egress
from leasebox_worker.engine.sandboxes import Sandbox

log = structlog.get_logger()


@dataclass(slots=True)
class Used:
    """What a job's network was used for; complete once its door is shut."""

    traffic: Traffic = field(default_factory=Traffic)


def check_network(spec: JobSpec, sandbox: Sandbox, driver: Driver, egress: Egress | None) -> None:
    """Refuse a job that asks for a network which this sandbox cannot give.

    Raises:
        InvalidSpec: The driver has no network namespace, or the sandbox was made before its profile had a network.
    """
    if not spec.network:
        return
    if egress is None:
        raise InvalidSpec(
            f"network: driver {driver.name!r} cannot hold a job to a list", hint="use docker or bubblewrap"
        )
    if not egress.has_folder(sandbox.name):
        raise InvalidSpec(
            "network: the session's sandbox was made without one", hint="close the session, or use another name"
        )


@contextmanager
def network(spec: JobSpec, work: Work, sandbox: Sandbox, egress: Egress | None) -> Iterator[Used]:
    """Let a job out while the block runs; afterwards nothing of it is connected any more.

    Raises:
        StartFailed: The door cannot be made.
    """
    used = Used()
    if not spec.network or egress is None:
        yield used
        return
    visit = Visit(work.job, work.session, tuple(spec.network), work.tenant)
    try:
        opened = egress.open(sandbox.name, visit)
    except OSError as exc:
        raise StartFailed(f"no way out of sandbox {sandbox.name}: {exc}") from exc
    sandbox.carried = sandbox.carried.through(opened.door)
    try:
        yield used
    finally:
        used.traffic = egress.shut(opened)
        sandbox.carried = sandbox.carried.shut(used.traffic)
        log.debug("egress_shut", bytes_in=used.traffic.bytes_in, bytes_out=used.traffic.bytes_out)
