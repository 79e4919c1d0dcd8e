"""What only bubblewrap has: two modes, and an argument list with rules of its own."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from leasebox_worker.drivers.base import Isolation, SandboxRequest
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS, DataFile, Mode, Plan, command
from leasebox_worker.drivers.conformance import LIMITS, Bench

PROGRAM = Path(__file__).with_name("ordinary_user.py")
ROOT = Path(__file__).parents[3]
SYSTEM_PYTHON = "/usr/bin/python3"
ORDINARY_UID = 54321


@pytest.fixture
def make_command():
    def make(mode: Mode) -> list[str]:
        request = SandboxRequest(
            name="n",
            profile="default",
            image="",
            limits=LIMITS,
            seccomp="default",
            labels={},
            agent_dir=Path("/agent-on-host"),
            preload=("json",),
            dead_man_s=8.0,
            agent_exit_after_s=900.0,
        )
        mounts = {"/workspace": Path("/s/w"), "/tmp": Path("/s/t"), "/dev/shm": Path("/s/d")}
        plan = Plan(
            program="bwrap",
            mode=mode,
            job_uid=200_000 if mode is Mode.ROOT else 10_001,
            mounts=mounts if mode is Mode.ROOT else {},
            files=(DataFile(7, "/etc/passwd"),),
            seccomp_descriptor=8,
            info_descriptor=9,
        )
        return command(request, plan)

    return make


def test_root_never_makes_a_user_namespace(make_command):
    assert "--unshare-user" not in make_command(Mode.ROOT)
    assert "--unshare-user" in make_command(Mode.ROOTLESS)


@pytest.mark.parametrize("mode", Mode)
def test_no_mount_stands_below_a_folder_that_a_guest_may_write(make_command, mode):
    words = make_command(mode)
    options = {"--bind", "--ro-bind", "--tmpfs", "--dir", "--ro-bind-data", "--symlink"}
    targets = [
        words[at + (1 if word in {"--tmpfs", "--dir"} else 2)] for at, word in enumerate(words) if word in options
    ]

    assert not [target for target in targets if target.startswith(("/workspace/", "/tmp/", "/dev/shm/"))]


@pytest.mark.parametrize("mode", Mode)
def test_root_and_dev_are_read_only_after_all_mounts(make_command, mode):
    words = make_command(mode)
    last_mount = max(
        at for at, word in enumerate(words) if word in {"--bind", "--ro-bind", "--tmpfs", "--ro-bind-data"}
    )
    remounts = [at for at, word in enumerate(words) if word == "--remount-ro" and words[at + 1] in {"/", "/dev"}]

    assert len(remounts) == 2
    assert min(remounts) > last_mount


def test_root_keeps_three_capabilities_and_no_more(make_command):
    words = make_command(Mode.ROOT)
    added = [words[at + 1] for at, word in enumerate(words) if word == "--cap-add"]

    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert added == ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"]


@pytest.mark.slow
def test_full_isolation_is_for_root_with_cgroups_alone(bubblewrap_r1, bubblewrap_r2):
    assert bubblewrap_r1.isolation is Isolation.PARTIAL
    assert bubblewrap_r2.isolation is Isolation.FULL


@pytest.mark.slow
def test_what_lives_makes_no_start_of_another_longer(bubblewrap_r2, agent_dir):
    """`bwrap` reads all of the mount table that it finds for each mount that it makes."""
    bench, tables = Bench(bubblewrap_r2, agent_dir, "", lambda _handle: []), []
    with bench.sandbox() as (handle, _, guest):
        bubblewrap_r2._spawner.call(lambda: tables.append(Path("/proc/thread-self/mounts").read_text()))
        tables.append(Path("/proc/self/mounts").read_text())
        ended = guest.run(b"import os; print(os.statvfs('.').f_blocks * os.statvfs('.').f_frsize)", 20.0)

    assert not [line for table in tables for line in table.splitlines() if handle.name in line]
    assert int(ended.stdout) == LIMITS.disk_bytes


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="everything else already runs as an ordinary user")
def test_an_ordinary_user_gets_namespaces_and_a_pids_limit(bwrap, agent_dir):
    state = Path(tempfile.mkdtemp(prefix="lbs-", dir="/tmp"))
    # A copy, because an ordinary user may not be able to reach this checkout.
    parts = [shutil.copytree(ROOT / part, state / part) for part in ("producer", "worker", "sandbox_image")]
    path = os.pathsep.join(str(part) for part in parts)
    program = shutil.copy(PROGRAM, state)
    for made in (state, *state.rglob("*")):
        os.chown(made, ORDINARY_UID, ORDINARY_UID)
    try:
        ran = subprocess.run(
            [SYSTEM_PYTHON, "-B", str(program), str(agent_dir), str(state)],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path},
            cwd="/",
            user=ORDINARY_UID,
            group=ORDINARY_UID,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(state)

    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["isolation"] == "partial"
    assert set(said["failed"]) == ROOTLESS_LACKS - {"no-groups"}
    assert said["egress"] == "from outside\n"
