"""After a job nobody is left, and nothing outside the workspace."""

from typing import Any

import pytest

SURVIVORS = {
    "daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)",
    "holds_stdout": "import os, time\nif os.fork() == 0: time.sleep(60)",
    "term_proof": "import os, signal, time\nif os.fork() == 0:\n    os.setsid(); signal.signal(15, signal.SIG_IGN)\n    while 1: pass",
    "stopped": "import os, signal\nif os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)",
    "zombies": "import os\nfor _ in range(30):\n    if os.fork() == 0:\n        os.fork(); os._exit(0)",
    "fork_bomb": (
        "import os, time\nfor _ in range(6):\n    if os.fork() == 0:\n        os.setsid()\n        end = time.monotonic() + 30\n"
        "        n = 0\n        while n < 20:\n            if os.fork(): n += 1\n            else: n = 0 if time.monotonic() < end - 29.9 else 20\n"
        "        while 1: time.sleep(1)\ntime.sleep(0.05)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SURVIVORS)
def test_no_process_outlives_its_job(name: str, host: Any) -> None:
    ended = host.run(SURVIVORS[name])

    assert (ended.code, ended.clean) == (0, True)
    assert (
        host.run(
            "import os; print([n for n in os.listdir('/proc') if n.isdigit() and int(n) not in (1, os.getpid())])"
        ).stdout
        == b"[]\n"
    )


def test_kill_of_everyone_ends_only_the_job(host: Any) -> None:
    ended = host.run("import os; os.kill(-1, 9); os.kill(1, 9); os.kill(os.getpid(), 9)")

    assert ended.signal == 9 or ended.code == 1
    assert host.run("print(1)").stdout == b"1\n"


def test_pid_1_survives_every_signal(host: Any) -> None:
    source = "import os\nfor n in [*range(1, 32)]:\n    try: os.kill(1, n)\n    except PermissionError: pass"
    host.run(source)

    assert host.run("print(1)").stdout == b"1\n"


LEFTOVERS = {
    "many_files": "for n in range(4000): open(f'/tmp/{n}', 'w')",
    "deep": "import os\nos.chdir('/tmp')\nfor n in range(1500): os.mkdir('d'); os.chdir('d')\nopen('f', 'w')",
    "no_rights": "import os\nfor n in range(50):\n    os.makedirs(f'/tmp/{n}/a/b'); open(f'/tmp/{n}/a/f', 'w'); os.chmod(f'/tmp/{n}/a', 0); os.chmod(f'/tmp/{n}', 0)",
    "odd_names": (
        "import os, socket\nos.chdir('/tmp')\nfor n in (b'\\xff\\xfe', b'n' * 255, b'new\\nline', b'-rf', b' '): open(n, 'w')\n"
        "os.mkfifo('fifo'); socket.socket(1).bind('sock'); os.symlink('/workspace', 'link'); os.symlink('none', 'dangling'); os.mkdir(b'\\xff')"
    ),
    "wide_trees": "import os\nfor n in range(100):\n    os.makedirs(f'/tmp/{n}/x/y')\n    for k in range(5): open(f'/tmp/{n}/x/y/{k}', 'w')",
    "large": "open('/tmp/l', 'wb').write(bytes(30 << 20)); open('/dev/shm/l', 'wb').write(bytes(1 << 20))",
    "sysv": (
        "import ctypes\nl = ctypes.CDLL(None)\nfor n in range(8):\n    assert l.shmget(0, 4096, 0o1600) >= 0\n"
        "    assert l.semget(0, 2, 0o1600) >= 0\n    assert l.msgget(0, 0o1600) >= 0"
    ),
    "shared_memory": "from multiprocessing import shared_memory, resource_tracker\nfor n in range(5): s = shared_memory.SharedMemory(create=True, size=99); resource_tracker.unregister(s._name, 'shared_memory')",
}
LOOK = "import os; print(os.listdir('/tmp'), os.listdir('/dev/shm'), [len(open('/proc/sysvipc/' + n).readlines()) for n in ('shm', 'sem', 'msg')])"


@pytest.mark.parametrize("name", LEFTOVERS)
def test_nothing_is_left_outside_the_workspace(name: str, host: Any) -> None:
    ended = host.run("open('/workspace/kept', 'w').write('x')\n" + LEFTOVERS[name], stdin=b"")

    assert (ended.code, ended.clean) == (0, True), ended.stderr
    assert host.run(LOOK).stdout == b"[] [] [1, 1, 1]\n"
    assert host.run(kind="command", argv=["cat", "kept"]).stdout == b"x"
    host.run(kind="command", argv=["find", "/workspace", "-mindepth", "1", "-delete"])


def test_a_tmp_without_rights_is_wiped_too(shared_r1: Any) -> None:
    """Where the job has the agent's uid, /tmp is its own."""
    ended = shared_r1.run("import os; open('/tmp/x', 'w'); os.chmod('/tmp', 0); os.chmod('/dev/shm', 0)")

    assert ended.clean
    assert shared_r1.run("import os; print(os.listdir('/tmp'), oct(os.stat('/tmp').st_mode))").stdout == b"[] 0o41777\n"
