"""What does this host offer to a worker? The worker's half of `leasebox doctor`."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from leasebox.contract.errors import LeaseboxError
from leasebox_guest.install import install
from leasebox_worker.config import DriverName, WorkerSettings
from leasebox_worker.drivers.base import WAIVABLE, Check
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS
from leasebox_worker.drivers.choose import make
from leasebox_worker.engine.ground import driver_settings
from leasebox_worker.engine.image_checks import image_checks
from leasebox_worker.engine.port_check import metrics_port

MIN_FREE_BYTES = 1 << 30


def diagnose(settings: WorkerSettings, *, only: DriverName | None = None, is_embedded: bool = False) -> list[Check]:
    """Check the host, then each driver from outside and by a probe sandbox, which is removed again; needs no Redis.

    A driver that cannot be used fails only if it is the one that the settings name; another is advice. One must do.

    Args:
        is_embedded: Of a private stack of one user, which may do without what rootless bubblewrap lacks.
    """
    accepted = dict.fromkeys(ROOTLESS_LACKS, "a private stack does without it") if is_embedded else {}
    accepted |= dict.fromkeys(settings.accept_missing, "accepted by LEASEBOX_ACCEPT_MISSING")
    unknown = _unknown(settings)
    settings = settings.model_copy(update={"accept_missing": frozenset(accepted)})
    found = {name: _driver(settings, name) for name in ([only] if only else [DriverName.DOCKER, DriverName.BUBBLEWRAP])}
    usable = [
        name for name, checks in found.items() if all(c.ok or not c.required or c.name in accepted for c in checks)
    ]
    told = [
        _of_driver(name, check, accepted, is_wanted=settings.driver is name)
        for name, checks in found.items()
        for check in [*checks, *_images(settings, name, checks)]
    ]
    choice = [] if only else [choice_check(settings.driver, usable)]
    return [_python(), _disk(settings), *metrics_port(settings.metrics_port), *unknown, *choice, *told]


def choice_check(wanted: DriverName, usable: Sequence[DriverName]) -> Check:
    """Whether a worker of these settings has a driver to start with."""
    if wanted is DriverName.PROCESS:
        return Check("driver", ok=True, required=True, detail="process: weak isolation, for code that is trusted")
    can = ", ".join(usable) or "none"
    ok = bool(usable) if wanted is DriverName.AUTO else wanted in usable
    hint = "apt-get install docker.io, or bubblewrap; what each lacks stands below"
    return Check("driver", ok=ok, required=True, detail=f"{wanted}: {can} can be used here", hint=None if ok else hint)


def _driver(settings: WorkerSettings, name: DriverName) -> list[Check]:
    try:
        driver = make(name, driver_settings(settings, "doctor"))
    except LeaseboxError as exc:
        return [Check("driver", ok=False, required=True, detail=exc.detail, hint=exc.hint)]
    try:
        found = list(driver.check())
        if all(check.ok or not check.required or check.name in settings.accept_missing for check in found):
            found += driver.verify(install(settings.home / "agent", platform.python_version()))
    except LeaseboxError as exc:
        found.append(Check("start", ok=False, required=True, detail=exc.detail, hint=exc.hint))
    finally:
        driver.close()
    return found


def _images(settings: WorkerSettings, name: DriverName, checks: Sequence[Check]) -> list[Check]:
    """Of an engine that answers."""
    answers = any(check.name == "engine" and check.ok for check in checks)
    return image_checks(settings) if name is DriverName.DOCKER and answers else []


def _of_driver(name: DriverName, check: Check, accepted: Mapping[str, str], *, is_wanted: bool) -> Check:
    """As doctor prints it: with the driver's name, with the word of who does without it, never without a way out."""
    is_waived = check.required and not check.ok and check.name in accepted
    way_out = f"LEASEBOX_ACCEPT_MISSING={check.name} does without it, knowingly" if check.name in WAIVABLE else None
    return replace(
        check,
        name=f"{name}.{check.name}",
        required=check.required and is_wanted and not is_waived,
        detail=check.detail + (f"; {accepted[check.name]}" if is_waived else ""),
        hint=check.hint or (None if check.ok else way_out),
    )


def _unknown(settings: WorkerSettings) -> list[Check]:
    """Names that waive nothing: whoever wrote one believes in something that is not so."""
    unknown = sorted(settings.accept_missing - WAIVABLE)
    if not unknown:
        return []
    hint = f"one of {', '.join(sorted(WAIVABLE))}"
    return [Check("accept_missing", False, False, f"no protection is called {', '.join(unknown)}", hint)]


def _python() -> Check:
    hint = "apt-get install python3.11"
    return Check("python", sys.version_info >= (3, 11), True, f"Python {platform.python_version()}", hint)


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
