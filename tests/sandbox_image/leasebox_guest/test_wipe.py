"""After a job nobody is left, and nothing outside the workspace."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leasebox_guest.frames import Kind

OTHERS = "import os; print([n for n in os.listdir('/proc') if n.isdigit() and int(n) not in (1, os.getpid())])"
SURVIVORS = {
    "daemon": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(60)
""",
    "holds_stdout": """
import os, time
if os.fork() == 0: time.sleep(60)
""",
    "term_proof": """
import os, signal
if os.fork() == 0:
    os.setsid()
    signal.signal(15, signal.SIG_IGN)
    while 1: pass
""",
    "stopped": """
import os, signal
if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)
""",
    "zombies": """
import os
for _ in range(30):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
""",
    "fork_bomb": """
import os, resource, time
resource.setrlimit(resource.RLIMIT_NPROC, (150, 150))
def fork():
    try: return os.fork()
    except OSError: return -1
for _ in range(6):
    if fork() == 0:
        os.setsid()
        while 1: fork()
time.sleep(0.1)
""",
}


@pytest.mark.parametrize("name", SURVIVORS)
def test_no_process_outlives_its_job(name: str, host: Any) -> None:
    ended = host.run(SURVIVORS[name])

    assert (ended.code, ended.clean) == (0, True)
    assert host.run(OTHERS).stdout == b"[]\n"


def test_kill_of_everyone_ends_only_the_job(host: Any) -> None:
    ended = host.run("import os; os.kill(-1, 9); os.kill(1, 9); os.kill(os.getpid(), 9)")

    assert ended.signal == 9 or ended.code == 1
    assert host.run("print(1)").stdout == b"1\n"


def test_pid_1_survives_every_signal(host: Any) -> None:
    host.run("import os\nfor n in range(1, 65):\n    try: os.kill(1, n)\n    except (PermissionError, OSError): pass")

    assert host.run("print(1)").stdout == b"1\n"


def test_without_a_pid_namespace_only_descendants_are_killed(
    spawn: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    """The driver `process`: the agent is not PID 1, and kill(-1) would reach all that its uid may kill."""
    bystander = subprocess.Popen(["sleep", "60"], user=190_001)
    request.addfinalizer(bystander.kill)
    workspace = tempfile.mkdtemp(dir="/tmp")
    request.addfinalizer(lambda: shutil.rmtree(workspace))
    shutil.chown(workspace, 190_001)
    host = spawn("plain", "--workspace", workspace)
    host.expect(Kind.READY)

    ended = host.run(SURVIVORS["daemon"], cwd=workspace)

    assert (ended.code, ended.clean) == (0, True)
    assert bystander.poll() is None
    children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text()
    assert len(children.split()) <= 1  # at most the process that waits for the next job


LEFTOVERS = {
    "many_files": "for n in range(4000): open(f'/tmp/{n}', 'w')",
    "deep": """
import os
os.chdir('/tmp')
for n in range(1500):
    os.mkdir('d')
    os.chdir('d')
open('f', 'w')
""",
    "no_rights": """
import os
for n in range(50):
    os.makedirs(f'/tmp/{n}/a/b')
    open(f'/tmp/{n}/a/f', 'w')
    os.chmod(f'/tmp/{n}/a', 0)
    os.chmod(f'/tmp/{n}', 0)
""",
    "odd_names": """
import os, socket
os.chdir('/tmp')
for n in (b'\\xff\\xfe', b'n' * 255, b'new\\nline', b'-rf', b' '): open(n, 'w')
os.mkfifo('fifo')
socket.socket(1).bind('sock')
os.symlink('/workspace', 'link')
os.symlink('none', 'dangling')
os.mkdir(b'\\xff')
""",
    "wide_trees": """
import os
for n in range(100):
    os.makedirs(f'/tmp/{n}/x/y')
    for k in range(5): open(f'/tmp/{n}/x/y/{k}', 'w')
""",
    "large": "open('/tmp/l', 'wb').write(bytes(30 << 20)); open('/dev/shm/l', 'wb').write(bytes(1 << 20))",
    "sysv": """
import ctypes
c = ctypes.CDLL(None)
for n in range(8): assert c.shmget(0, 4096, 0o1600) >= 0 <= c.semget(0, 2, 0o1600) and c.msgget(0, 0o1600) >= 0
""",
    "shared_memory": """
from multiprocessing import shared_memory, resource_tracker
for n in range(5):
    s = shared_memory.SharedMemory(create=True, size=99)
    resource_tracker.unregister(s._name, 'shared_memory')
""",
}
LOOK = """
import os
print(os.listdir('/tmp'), os.listdir('/dev/shm'))
print([len(open('/proc/sysvipc/' + n).readlines()) for n in ('shm', 'sem', 'msg')])
"""


@pytest.mark.parametrize("name", LEFTOVERS)
def test_nothing_is_left_outside_the_workspace(name: str, host: Any) -> None:
    ended = host.run("open('/workspace/kept', 'w').write('x')\n" + LEFTOVERS[name])

    assert (ended.code, ended.clean) == (0, True), ended.stderr
    assert host.run(LOOK).stdout == b"[] []\n[1, 1, 1]\n"
    assert host.run(kind="command", argv=["cat", "kept"]).stdout == b"x"
    host.run(kind="command", argv=["find", "/workspace", "-mindepth", "1", "-delete"])


def test_a_tmp_without_rights_is_wiped_too(shared_r1: Any) -> None:
    """Where the job has the agent's uid, /tmp is its own."""
    ended = shared_r1.run("import os; open('/tmp/x', 'w'); os.chmod('/tmp', 0); os.chmod('/dev/shm', 0)")

    assert ended.clean
    seen = shared_r1.run("import os; print(os.listdir('/tmp'), oct(os.stat('/tmp').st_mode))")
    assert seen.stdout == b"[] 0o41777\n"
