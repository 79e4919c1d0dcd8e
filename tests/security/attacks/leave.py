"""Survival: what a job leaves behind, for the next job and for the next session: processes, files, ids, hooks."""

import ctypes
import os
import signal

from verdict import verdict

left = 0
for number in range(6):
    if os.fork() == 0:
        os.setsid()
        for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(name, signal.SIG_IGN)
        if os.fork() == 0:
            with open("/tmp/mark", "a") as file:
                file.write("x")
            while True:
                signal.pause()
        if number % 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            signal.pause()
for path in ("/tmp/left", "/dev/shm/left", "/tmp/.hidden"):
    with open(path, "w") as file:
        file.write("left")
        left += 1
os.makedirs("/tmp/deep/" + "/".join(["d"] * 100), exist_ok=True)
os.chmod("/tmp/deep", 0)
libc = ctypes.CDLL(None, use_errno=True)
for made in (libc.shmget(0x1EA5E, 4096, 0o1666), libc.semget(0x1EA5E, 1, 0o1666), libc.msgget(0x1EA5E, 0o1666)):
    left += made >= 0
HOOK = "open('/tmp/loaded', 'a').write(__file__)\n"
for name in ("sitecustomize.py", "usercustomize.py", "json.py", "os.py", "leasebox_guest.py", "pyvenv.cfg", "x.pth"):
    with open(f"/workspace/{name}", "w") as file:
        file.write(HOOK if name.endswith(".py") else "import os")
# A job that stops or kills its parent, and everybody it can reach.
for name in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
    try:
        os.kill(os.getppid(), name)
    except OSError:
        pass
verdict("left", left >= 3, left)
