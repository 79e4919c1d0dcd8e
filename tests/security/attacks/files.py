"""Reading and changing what is the host's: files, kernel settings, kernel pointers, sockets of services."""

import glob
import os
import socket

from verdict import refused, verdict

CANARY, SOCKET = os.environ["CANARY"], os.environ["CANARY_SOCKET"]
verdict("a file of the host", not os.path.exists(CANARY), CANARY)
for path in ("/root", "/home", "/var/lib/docker", "/boot", "/etc/shadow", "/etc/ssh", "/srv", "/mnt"):
    found = os.path.exists(path) and (not os.path.isdir(path) or (os.access(path, os.R_OK) and os.listdir(path)))
    readable = bool(found) and (os.path.isdir(path) or os.access(path, os.R_OK))
    verdict(f"the host's {path}", not readable or (path == "/home" and found == []), found)
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", SOCKET):
    with socket.socket(socket.AF_UNIX) as attempt:
        refused(f"socket {path if path != SOCKET else 'of Redis'}", lambda path=path: attempt.connect(path))

for path in (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/file-max", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/pids/pids.max", "/sys/kernel/mm/ksm/run", "/dev/kmsg", "/dev/mem",
    "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/net/tun", "/dev/kvm", "/dev/loop-control",
):  # fmt: skip
    refused(f"write {path}", lambda path=path: os.close(os.open(path, os.O_WRONLY)))
refused(
    "read the kernel's memory", lambda: open("/proc/kcore", "rb").read(1) or (_ for _ in ()).throw(OSError(1, "empty"))
)
for path in ("/proc/kallsyms", "/proc/modules", "/proc/keys", "/proc/timer_list", "/proc/vmallocinfo", "/proc/cmdline",
             "/proc/interrupts", "/proc/diskstats", "/proc/partitions", "/sys/kernel/notes", "/sys/firmware"):  # fmt: skip
    try:
        with open(path, "rb") as file:
            seen = file.read(64)
    except OSError:
        seen = b""
    verdict(f"hidden {path}", not seen, seen)
refused("a device of one's own", lambda: os.mknod("/workspace/null", 0o020666, os.makedev(1, 3)))
os.symlink("/proc/1/root/etc/shadow", "/workspace/link")
refused("a link that leads out", lambda: open("/workspace/link").read())
refused("the way out by ..", lambda: open("/workspace/../../../../" + CANARY).read())
processes = [name for name in os.listdir("/proc") if name.isdigit()]
verdict("only its own processes", len(processes) <= 4, processes)
names = {line.split()[1] for line in open("/proc/self/mounts")}
verdict("no mount of the host's state", not any("lbs-" in name or "docker/overlay" in name for name in names), names)
verdict(
    "environment",
    not any("LEASEBOX" in name or "REDIS" in name or "TOKEN" in name for name in os.environ),
    list(os.environ),
)
verdict("host name", os.uname().nodename == "sandbox", os.uname().nodename)
verdict("no program with a mode to change the uid", not glob.glob("/workspace/*suid"))
os.symlink("/bin/sh", "/workspace/sh")
os.chmod("/workspace", 0o700)
flags = {line.split()[1]: line.split()[3].split(",") for line in open("/proc/self/mounts")}
for place in ("/workspace", "/tmp", "/dev/shm"):
    verdict(f"no set-uid and no devices in {place}", {"nosuid", "nodev"} <= set(flags.get(place, [])), flags.get(place))
os.unlink("/workspace/sh")
os.unlink("/workspace/link")
