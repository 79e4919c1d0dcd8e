"""verify() finds every protection that is asked for and not in effect."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.worker.drivers.planted import (
    Config,
    PlantedBubblewrap,
    PlantedDocker,
    Words,
    host_config,
    replaced_words,
    settings_of,
    without_option,
    without_words,
)

from leasebox.contract.errors import DriverUnsafe
from leasebox_worker.drivers.base import Check, require
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if check.required and not check.ok}


DOCKER_PLANTS: dict[str, tuple[Callable[[Config], object], str]] = {
    "no no-new-privileges": (without_option("no-new"), "no-new-privileges"),
    "the engine's own seccomp profile": (without_option("seccomp"), "seccomp"),
    "a capability more": (settings_of(CapAdd=["SETUID", "SETGID", "KILL", "NET_RAW"]), "capabilities"),
    "writable root": (settings_of(ReadonlyRootfs=False), "read-only-root"),
    "twice the memory": (settings_of(Memory=512 << 20, MemorySwap=512 << 20), "memory-limit"),
    "swap": (settings_of(MemorySwap=-1), "swap-limit"),
    "no pids limit": (settings_of(PidsLimit=0), "pids-limit"),
    "no cpu limit": (settings_of(NanoCpus=0), "cpu-limit"),
    "no ulimits": (settings_of(Ulimits=[]), "ulimits"),
    "no masks": (settings_of(MaskedPaths=[]), "masked-paths"),
    "plain /tmp": (host_config(lambda config: config["Tmpfs"].update({"/tmp": "rw"})), "disk-limit"),
    "plain /dev/shm": (host_config(lambda config: config["Tmpfs"].pop("/dev/shm")), "inode-limit"),
    "a network": (settings_of(NetworkMode="bridge"), "network"),
    "no bounds of IPC": (settings_of(Sysctls={}), "ipc-limits"),
    "the host's cgroup names": (settings_of(CgroupnsMode="host"), "namespaces"),
    "set-uid files": (host_config(lambda config: config["Tmpfs"].update({"/tmp": "suid,dev"})), "mount-flags"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCKER_PLANTS)
def test_docker_probe_finds_the_planted_difference(settings, python_image, agent_dir, name):
    plant, expected = DOCKER_PLANTS[name]
    driver = PlantedDocker(settings, plant)

    found = failed(driver.verify(agent_dir))
    driver.close()

    assert expected in found


BUBBLEWRAP_PLANTS: dict[str, tuple[Words, str]] = {
    "no seccomp": (without_words("--seccomp", 2), "seccomp"),
    "a capability more": (replaced_words({"CAP_KILL": "CAP_NET_RAW"}), "capabilities"),
    "the host's network": (replaced_words({"--unshare-net": "--unshare-uts"}), "network"),
    "the host's IPC": (without_words("--unshare-ipc", 1), "namespaces"),
    "no cgroups": (lambda launch: replace(launch, groups=[]), "memory-limit"),
    "no ulimits": (lambda launch: replace(launch, ulimits={}), "ulimits"),
}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="R2 needs root: run the tests with sudo")
@pytest.mark.parametrize("name", BUBBLEWRAP_PLANTS)
def test_bubblewrap_probe_finds_the_planted_difference(settings, bwrap, agent_dir, name):
    plant, expected = BUBBLEWRAP_PLANTS[name]
    driver = PlantedBubblewrap(settings, plant)

    found = failed(driver.verify(agent_dir))
    driver.close()

    assert expected in found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["docker_driver", "bubblewrap_r2", "process_driver"])
def test_driver_has_all_it_promises(request, agent_dir, name):
    driver = request.getfixturevalue(name)

    assert failed([*driver.check(), *driver.verify(agent_dir)]) == set()


@pytest.mark.slow
def test_rootless_bubblewrap_lacks_exactly_what_it_says(bubblewrap_r1, agent_dir: Path):
    # Made by root, it has no groups to drop; a user who has some lacks `no-groups` too.
    assert failed([*bubblewrap_r1.check(), *bubblewrap_r1.verify(agent_dir)]) == ROOTLESS_LACKS - {"no-groups"}


def test_a_required_check_that_failed_is_refused_by_name():
    checks = [
        Check("memory-limit", ok=False, required=True, detail="none"),
        Check("x", ok=True, required=True, detail=""),
    ]

    with pytest.raises(DriverUnsafe, match="memory-limit"):
        require(checks)


def test_an_accepted_or_advised_check_only_warns():
    checks = [
        Check("memory-limit", ok=False, required=True, detail="none"),
        Check("apparmor", ok=False, required=False, detail="none"),
    ]

    assert [check.name for check in require(checks, frozenset({"memory-limit"}))] == ["memory-limit", "apparmor"]
