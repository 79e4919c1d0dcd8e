"""Which driver does this node use? The named one; with `auto`, Docker if an engine answers, else bubblewrap."""

from leasebox.contract.errors import ConfigError
from leasebox_worker.config import DriverName
from leasebox_worker.drivers.base import Driver, DriverSettings


def make(name: DriverName, settings: DriverSettings) -> Driver:
    """The driver of that name; imports only what it needs.

    Raises:
        ConfigError: `auto` was not resolved before.
    """
    match name:
        case DriverName.DOCKER:
            from leasebox_worker.drivers.docker import DockerDriver

            return DockerDriver(settings)
        case DriverName.BUBBLEWRAP:
            from leasebox_worker.drivers.bubblewrap import BubblewrapDriver

            return BubblewrapDriver(settings)
        case DriverName.PROCESS:
            from leasebox_worker.drivers.process import ProcessDriver

            return ProcessDriver(settings)
    raise ConfigError("the driver must be named here")


def choose(name: DriverName, settings: DriverSettings, *, prefer: DriverName) -> Driver:
    """The named driver, or for `auto` the first of Docker and bubblewrap (`prefer` first) whose checks pass.

    Raises:
        ConfigError: Neither an engine nor namespaces are to be had; names the `process` driver as the explicit way.
    """
    if name is not DriverName.AUTO:
        return make(name, settings)
    failed = []
    for candidate in sorted((DriverName.DOCKER, DriverName.BUBBLEWRAP), key=lambda other: other is not prefer):
        driver = make(candidate, settings)
        missing = [c for c in driver.check() if c.required and not c.ok and c.name not in settings.accept_missing]
        if not missing:
            return driver
        driver.close()
        failed.append(f"{candidate}: {missing[0].detail}")
    raise ConfigError(
        f"neither a Docker engine nor bubblewrap can be used here ({'; '.join(failed)})",
        hint="run `leasebox doctor`; for code that you trust, LEASEBOX_DRIVER=process runs it with weak isolation",
    )
