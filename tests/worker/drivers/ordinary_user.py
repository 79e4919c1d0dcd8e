"""Run by a user who is not root: what R1 gives there. `ordinary_user.py AGENT_DIR STATE_DIR` prints one JSON object."""

import json
import socket
import sys
import threading
from pathlib import Path

from leasebox_worker.drivers.base import DriverSettings, SandboxRequest
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.conformance import LIMITS, READY_WITHIN_S, Bench, bounds_processes
from leasebox_worker.drivers.one_job import Guest

CONNECT = b"import socket; print(socket.create_connection(('127.0.0.1', 3128), 10).recv(100).decode())"


def through_the_forwarder(driver: BubblewrapDriver, agent_dir: Path, folder: Path) -> str:
    """What a job reads from a socket in a folder that its sandbox has for its network."""
    folder.mkdir()
    folder.chmod(0o755)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "p.sock"))
    (folder / "p.sock").chmod(0o666)
    listening.listen()
    threading.Thread(target=lambda: listening.accept()[0].sendall(b"from outside"), daemon=True).start()
    request = SandboxRequest("egress", "default", "", LIMITS, "default", {}, agent_dir, (), 30.0, 60.0, folder)
    handle, channel = driver.create(request)
    guest = Guest(channel, handle.workspace)
    guest.ready(READY_WITHIN_S)
    ended = guest.run(CONNECT, READY_WITHIN_S)
    driver.kill(handle)
    return (ended.stdout + ended.stderr).decode()


agent_dir, state_dir = (Path(argument) for argument in sys.argv[1:])
driver = BubblewrapDriver(DriverSettings("user", "test", state_dir))
bounds_processes(Bench(driver, agent_dir, "", lambda _: []))
checks = [*driver.check(), *driver.verify(agent_dir)]
egress = through_the_forwarder(driver, agent_dir, state_dir / "egress")
driver.close()
failed = sorted({check.name for check in checks if check.required and not check.ok})
sys.stdout.write(json.dumps({"isolation": driver.isolation, "failed": failed, "egress": egress}))
