"""What does this host offer to a worker? The worker's half of `leasebox doctor`."""

import os
import platform
import shutil
import sys
from dataclasses import replace

from leasebox.contract.errors import LeaseboxError
from leasebox_guest.install import install
from leasebox_worker.config import DriverName, WorkerSettings
from leasebox_worker.drivers.base import WAIVABLE, Check
from leasebox_worker.drivers.choose import make
from leasebox_worker.engine.ground import driver_settings

MIN_FREE_BYTES = 1 << 30


def diagnose(settings: WorkerSettings, *, only: DriverName | None = None) -> list[Check]:
    """Check the host, then each driver from outside and by a probe sandbox, which is removed again; needs no Redis.

    A driver that cannot be used fails only if it is the one that the settings name; another is advice.
    """
    checks = [_python(), _disk(settings), *_unknown(settings)]
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
    return [_of_driver(name, check, settings, is_wanted=is_wanted) for check in found]


def _of_driver(name: DriverName, check: Check, settings: WorkerSettings, *, is_wanted: bool) -> Check:
    """As doctor prints it: with the driver's name, and with the word of who does without it."""
    is_waived = check.required and not check.ok and check.name in settings.accept_missing
    return replace(
        check,
        name=f"{name}.{check.name}",
        required=check.required and is_wanted and not is_waived,
        detail=check.detail + ("; accepted by LEASEBOX_ACCEPT_MISSING" if is_waived else ""),
    )


def _unknown(settings: WorkerSettings) -> list[Check]:
    """Names that waive nothing: whoever wrote one believes in something that is not so."""
    unknown = sorted(settings.accept_missing - WAIVABLE)
    if not unknown:
        return []
    hint = f"one of {', '.join(sorted(WAIVABLE))}"
    return [Check("accept_missing", False, False, f"no protection is called {', '.join(unknown)}", hint)]


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
