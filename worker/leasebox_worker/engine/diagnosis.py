"""What does this host offer to a worker? The worker's half of `leasebox doctor`."""

import os
import platform
import shutil
import sys

from leasebox.contract.errors import LeaseboxError
from leasebox_guest.install import install
from leasebox_worker.config import DriverName, WorkerSettings
from leasebox_worker.drivers.base import Check
from leasebox_worker.drivers.choose import make
from leasebox_worker.engine.ground import driver_settings

MIN_FREE_BYTES = 1 << 30


def diagnose(settings: WorkerSettings, *, only: DriverName | None = None) -> list[Check]:
    """Check the host, then each driver from outside and by a probe sandbox, which is removed again; needs no Redis.

    A driver that cannot be used fails only if it is the one that the settings name; another is advice.
    """
    checks = [_python(), _disk(settings)]
    for name in [only] if only else [DriverName.DOCKER, DriverName.BUBBLEWRAP]:
        checks += _driver(settings, name)
    return checks


def _driver(settings: WorkerSettings, name: DriverName) -> list[Check]:
    is_wanted = settings.driver is name
    try:
        driver = make(name, driver_settings(settings, "doctor"))
    except LeaseboxError as exc:
        return [Check(f"{name}.driver", ok=False, required=is_wanted, detail=exc.detail, hint=exc.hint)]
    try:
        found = list(driver.check())
        if all(check.ok or not check.required or check.name in settings.accept_missing for check in found):
            found += driver.verify(install(settings.home / "agent", platform.python_version()))
    except LeaseboxError as exc:
        found.append(Check("start", ok=False, required=True, detail=exc.detail, hint=exc.hint))
    finally:
        driver.close()
    return [
        Check(
            f"{name}.{c.name}",
            c.ok,
            c.required and is_wanted and c.name not in settings.accept_missing,
            c.detail,
            c.hint,
        )
        for c in found
    ]


def _python() -> Check:
    return Check("python", sys.version_info >= (3, 11), True, f"Python {platform.python_version()}")


def _disk(settings: WorkerSettings) -> Check:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    is_writable = os.access(folder, os.W_OK)
    return Check(
        "state_folder",
        ok=free >= MIN_FREE_BYTES and is_writable,
        required=True,
        detail=f"{settings.home}: {free >> 20} MiB free{'' if is_writable else ', not writable'}",
        hint="set LEASEBOX_HOME to a writable folder with 1 GiB free",
    )
