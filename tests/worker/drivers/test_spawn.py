"""A process has its groups and limits before its command begins; without them it never does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leasebox.contract.errors import StartFailed
from leasebox_worker.drivers import cgroup
from leasebox_worker.drivers.base import ChannelClosed, Limits
from leasebox_worker.drivers.spawn import Launch, Spawner

LIMITS = Limits(cpus=1.0, memory_bytes=64 << 20, pids=32, open_files=64, disk_bytes=1 << 20, tmp_bytes=1 << 20)


@pytest.fixture
def spawner():
    made = Spawner()
    yield made
    made.close()


def said(spawned) -> str:
    """All that it wrote to its stdout."""
    text = b""
    try:
        while True:
            text += spawned.channel.receive(20.0)
    except ChannelClosed:
        spawned.process.wait()
        spawned.channel.close()
    return text.decode()


OPTIONS = ["--bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]


@pytest.mark.parametrize("how", [None, "--args"], ids=["by a fork", "at the gate"])
def test_a_command_begins_with_its_limits(spawner, bwrap, how):
    script = "ulimit -n; ulimit -f; cat /proc/self/oom_score_adj; read -r said; echo $said"
    command = [str(bwrap), *OPTIONS, "--", "/bin/sh", "-c", script]
    spawned = spawner.start(Launch(command, ulimits={"nofile": 33, "fsize": 1 << 20}, reads_options_by=how))
    spawned.channel.send(b"and its input\n")

    assert said(spawned) == f"33\n{(1 << 20) // 512}\n500\nand its input\n"


def test_a_command_begins_in_its_groups(spawner, bwrap):
    if not cgroup.can_limit():
        pytest.skip("needs root and cgroups that it may make")
    groups = cgroup.create(name := f"lbt-spawn-{os.getpid()}", LIMITS)
    command = [str(bwrap), *OPTIONS, "--", "/bin/cat", "/proc/self/cgroup"]
    try:
        text = said(spawner.start(Launch(command, groups=groups, reads_options_by="--args")))
    finally:
        cgroup.remove(groups)

    assert text.count(f"/{name}\n") >= len(groups)


def test_a_command_that_cannot_have_its_groups_never_begins(spawner, bwrap, tmp_path):
    mark, nowhere = tmp_path / "began", [Path("/sys/fs/cgroup/no-such-group")]
    command = [str(bwrap), *OPTIONS, "--", "/usr/bin/touch", str(mark)]

    with pytest.raises(StartFailed, match="no-such-group"):
        spawner.start(Launch(command, groups=nowhere, reads_options_by="--args"))
    assert not mark.exists()


def test_a_command_that_is_gone_before_its_options_come_has_failed(spawner, tmp_path):
    """It takes no options any more when it opens what stands in for its group, for which the worker waits."""
    os.mkfifo(tmp_path / "cgroup.procs")
    gone = tmp_path / "gone"
    gone.write_text(f"""#!{sys.executable}
import os, sys
os.close(int(sys.argv[2]))
print("cannot go on", file=sys.stderr, flush=True)
open("{tmp_path}/cgroup.procs").read()
""")
    gone.chmod(0o755)
    before = set(Path("/proc/self/fd").iterdir())

    with pytest.raises(StartFailed, match=r"Broken pipe \(cannot go on\)"):
        spawner.start(Launch([str(gone), *OPTIONS, "--", "/bin/true"], groups=[tmp_path], reads_options_by="--args"))
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_bwrap_without_its_options_can_run_nothing(bwrap, tmp_path):
    """It goes on so if its worker dies before it gave it any."""
    mark = tmp_path / "began"
    ended = subprocess.run([bwrap, "--args", "0", "--", "/usr/bin/touch", mark], stdin=subprocess.DEVNULL, check=False)

    assert ended.returncode != 0
    assert not mark.exists()
