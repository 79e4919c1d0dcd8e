"""The files that make a sandbox's limits on cgroup v2, and the figures that are read from it: on a made-up tree."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from leasebox.contract.errors import SandboxDied
from leasebox_worker.drivers import cgroup, cgroup_v2
from leasebox_worker.drivers.base import Limits, Stats
from leasebox_worker.drivers.conformance import Bench

LIMITS = Limits(cpus=0.5, memory_bytes=64 << 20, pids=32, open_files=64, disk_bytes=1 << 20, tmp_bytes=1 << 20)


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A unit's group in which this process is alone; writing makes files, as mkdir does in a real one."""
    base = tmp_path / "system.slice" / "leasebox.service"
    base.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (base / "cgroup.controllers").write_text("cpu memory pids\n")
    (base / "cgroup.subtree_control").write_text("")
    (base / "cgroup.procs").write_text(f"{os.getpid()}\n")
    own = tmp_path / "own"
    own.write_text("0::/system.slice/leasebox.service\n")
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(cgroup_v2.Tree.__init__, "__defaults__", (own,))
    return base


@pytest.mark.skipif(os.geteuid() != 0, reason="limits are for root")
def test_a_sandbox_gets_a_group_with_its_limits_below_the_workers_own(unified: Path) -> None:
    assert cgroup.can_limit()
    (group,) = cgroup.create("box", LIMITS)

    assert group == unified / "leasebox" / "box"
    assert {file.name: file.read_text() for file in group.iterdir()} == {
        "memory.max": str(64 << 20),
        "memory.swap.max": "0",
        "pids.max": "32",
        "cpu.max": "50000 100000",
        "cpu.weight": "12",
    }
    assert (unified / "worker" / "cgroup.procs").read_text() == str(os.getpid())
    assert (unified / "leasebox" / "cpu.weight").read_text() == "25"
    for divided in (unified, unified / "leasebox"):
        assert (divided / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert cgroup.groups_of("box") == [group]


def test_a_worker_that_has_moved_finds_its_groups_again(unified: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/system.slice/leasebox.service/worker\n")

    assert cgroup.groups_of("box") == [unified / "leasebox" / "box"]


def test_a_group_that_others_are_in_is_not_divided(unified: Path) -> None:
    (unified / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")

    assert not cgroup.can_limit()


def test_a_group_that_lacks_a_controller_cannot_limit(unified: Path) -> None:
    (unified / "cgroup.controllers").write_text("cpu pids\n")

    assert not cgroup.can_limit()


def test_limits_and_use_are_read_from_the_one_group(tmp_path: Path) -> None:
    files = {
        "memory.max": "67108864", "memory.swap.max": "0", "memory.current": "5", "memory.peak": "9",
        "memory.events": "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\n", "pids.max": "32", "pids.current": "3",
        "pids.events": "max 7\n", "cpu.max": "50000 100000", "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert cgroup.limits_of({"": tmp_path}) == cgroup.LimitsSeen(64 << 20, 0, 32, 0.5)
    assert cgroup.stats({"": tmp_path}) == Stats(1.5, 5, 9, 1, 3, 7)


def test_groups_that_are_gone_say_so(tmp_path: Path) -> None:
    with pytest.raises(SandboxDied):
        cgroup.stats({"": tmp_path / "gone"})
    with pytest.raises(SandboxDied):
        cgroup.stats(dict.fromkeys(("memory", "cpuacct", "pids"), tmp_path / "gone"))


@pytest.mark.skipif(not cgroup.can_limit() or not cgroup._is_v1(), reason="needs root and cgroup v1")
def test_all_sandboxes_together_weigh_less_than_what_serves_them_unless_the_operator_says_else(
    monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    monkeypatch.setattr(cgroup, "_PARENT", run_id)
    shares = cgroup.ROOT / "cpu" / run_id / "cpu.shares"
    try:
        cgroup.remove(cgroup.create("box", LIMITS))
        at_first = shares.read_text()
        shares.write_text("700")
        cgroup.remove(cgroup.create("box", LIMITS))
        later = shares.read_text()
    finally:
        cgroup.remove([folder.parent for folder in cgroup.groups_of("box")])

    assert (int(at_first), int(later)) == (256, 700)


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["docker_driver", "bubblewrap_r2"], indirect=True)
@pytest.mark.parametrize(("cpus", "shares"), [(0.5, 128), (2.0, 512)])
def test_a_sandbox_with_fewer_processors_weighs_less(bench: Bench, cpus: float, shares: int) -> None:
    """Else one of many processes takes its quota on all processors at once, in the way of its neighbours."""
    request = bench.request()
    with bench.sandbox(replace(request, limits=replace(request.limits, cpus=cpus))) as (handle, _, _):
        pid = handle.pid or bench.driver._pid(handle)  # type: ignore[attr-defined]
        groups = cgroup.groups_of_process(pid)
        seen = (groups["cpu"] / "cpu.shares").read_text() if "cpu" in groups else None

    if seen is None:
        pytest.skip("cgroup v2: the engine and systemd scale weights in their own ways")
    assert int(seen) == shares
