"""A worker that makes one sandbox, says so, and waits to be killed: `crashing_worker.py DRIVER STATE_DIR AGENT_DIR`."""

import signal
import sys
from pathlib import Path

from leasebox_worker.drivers.base import DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.conformance import Bench
from leasebox_worker.drivers.one_job import Guest
from leasebox_worker.drivers.process import ProcessDriver

kind, state_dir, agent_dir = sys.argv[1:]
settings = DriverSettings("crash", "test", Path(state_dir))
driver = {"bubblewrap": BubblewrapDriver, "process": ProcessDriver}[kind](settings)
request = Bench(driver, Path(agent_dir), "", lambda _: []).request()
handle, channel = driver.create(request)
guest = Guest(channel, handle.workspace)
guest.ready(20)
ended = guest.run(b"import os\nprint(os.readlink('/proc/self/ns/pid'))", 10)
sys.stdout.write(f"{handle.name} {ended.code}\n")
sys.stdout.flush()
signal.pause()
