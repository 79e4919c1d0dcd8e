"""Escape by the agent: reach PID 1 by signals, limits, memory, descriptors; change what it or the next job runs."""

import errno
import os
import resource
import sys

from verdict import call, in_child, refused, verdict

AGENT = os.getppid()
verdict(
    "own uid", os.getuid() not in (0, os.stat(f"/proc/{AGENT}").st_uid), (os.getuid(), os.stat(f"/proc/{AGENT}").st_uid)
)
with open("/proc/self/status") as file:
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
    verdict(f"no {name}", int(status[name], 16) == 0, status[name])
verdict("no new privileges", status["NoNewPrivs"] == "1")
verdict("filter", status["Seccomp"] == "2")
verdict("first to die", open("/proc/self/oom_score_adj").read().strip() == "1000", "oom_score_adj")
refused("no way back to uid 0", lambda: os.setuid(0))
refused("no group 0", lambda: os.setgroups([0]))

refused("signal the agent", lambda: os.kill(AGENT, 9))
refused(
    "limit the agent",
    lambda: resource.prlimit(AGENT, resource.RLIMIT_CPU, resource.prlimit(AGENT, resource.RLIMIT_CPU)),
)
refused("renice the agent", lambda: os.setpriority(os.PRIO_PROCESS, AGENT, os.getpriority(os.PRIO_PROCESS, AGENT) + 1))
refused("pin the agent", lambda: os.sched_setaffinity(AGENT, os.sched_getaffinity(AGENT)))
for what in ("environ", "maps", "mem", "auxv", "io", "syscall"):
    refused(f"read the agent's {what}", lambda what=what: open(f"/proc/{AGENT}/{what}", "rb").read(1))
for what in ("fd", "root", "cwd", "exe"):
    refused(f"follow the agent's {what}", lambda what=what: os.listdir(f"/proc/{AGENT}/{what}/"))
refused("write the agent's memory", lambda: open(f"/proc/{AGENT}/mem", "r+b"))
AGENTS_SCORE = int(open(f"/proc/{AGENT}/oom_score_adj").read())


def score(pid: object, value: int) -> int:
    """Written at once: an error at the close of a Python file is easily lost."""
    number = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
    return os.write(number, str(value).encode())


refused("outlive the agent when memory ends", lambda: score("self", AGENTS_SCORE - 1))
refused("offer the agent up", lambda: score(AGENT, 1000))
seen = in_child(lambda: call("ptrace", 16, AGENT))
verdict("attach to the agent", seen in (errno.EPERM, errno.EACCES), seen)
seen = in_child(lambda: call("process_vm_readv", AGENT))
verdict("read by process_vm_readv", seen in (errno.EPERM, errno.ENOSYS), seen)

for path in (
    "/agent/boot.py",
    "/agent/leasebox_guest/agent.py",
    sys.executable,
    "/proc/self/exe",
    "/usr/lib/os-release",
):
    refused(f"overwrite {path}", lambda path=path: open(os.path.realpath(path), "r+b"))
refused("overwrite the agent's program", lambda: open(f"/proc/{AGENT}/exe", "r+b"))
for folder in ("/", "/agent", "/agent/leasebox_guest", "/etc", "/usr", "/usr/lib", "/dev", "/proc", "/run", "/var/tmp"):
    refused(f"a file in {folder}", lambda folder=folder: os.close(os.open(f"{folder}/x", os.O_CREAT | os.O_WRONLY)))
refused("move the agent away", lambda: os.rename("/agent", "/tmp/agent"))
verdict("no descriptor of the agent", sorted(int(name) for name in os.listdir("/proc/self/fd"))[:3] == [0, 1, 2]
        and all(number < 10 for number in map(int, os.listdir("/proc/self/fd"))), os.listdir("/proc/self/fd"))  # fmt: skip
