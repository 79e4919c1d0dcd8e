"""What is still there of the job before, or of another session: nothing but the workspace of one's own session."""

import ctypes
import os

from verdict import verdict

SAME_SESSION = os.environ["SAME_SESSION"] == "1"
others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid(), os.getppid())]
verdict("no process", not others, others)
for folder in ("/tmp", "/dev/shm"):
    found = os.listdir(folder)
    verdict(f"nothing in {folder}", not found, found)
libc = ctypes.CDLL(None, use_errno=True)
for kind, get in (("shm", lambda: libc.shmget(0x1EA5E, 0, 0)), ("sem", lambda: libc.semget(0x1EA5E, 0, 0)),
                  ("msg", lambda: libc.msgget(0x1EA5E, 0))):  # fmt: skip
    verdict(f"no {kind} id", get() < 0)
verdict("no hook was loaded", not os.path.exists("/tmp/loaded"))
mine = sorted(os.listdir("/workspace"))
verdict("the workspace", ("json.py" in mine) == SAME_SESSION, mine)
