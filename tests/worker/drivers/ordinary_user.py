"""Run by a user who is not root: what R1 gives there. `ordinary_user.py AGENT_DIR STATE_DIR` prints one JSON object."""

import json
import sys
from pathlib import Path

from leasebox_worker.drivers.base import DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.conformance import Bench, bounds_processes

agent_dir, state_dir = (Path(argument) for argument in sys.argv[1:])
driver = BubblewrapDriver(DriverSettings("user", "test", state_dir))
bounds_processes(Bench(driver, agent_dir, "", lambda _: []))
checks = [*driver.check(), *driver.verify(agent_dir)]
driver.close()
failed = sorted({check.name for check in checks if check.required and not check.ok})
sys.stdout.write(json.dumps({"isolation": driver.isolation, "failed": failed}))
