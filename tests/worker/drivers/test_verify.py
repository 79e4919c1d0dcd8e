"""verify() finds every protection that is asked for and not in effect."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from leasebox.contract.errors import DriverUnsafe
from leasebox_worker.drivers.base import Check, DriverSettings, SandboxRequest, require
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS, Mode
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.drivers.spawn import Launch

Config = dict[str, object]


class PlantedDocker(DockerDriver):
    """Asks the engine for something else than the settings say."""

    def __init__(self, settings: DriverSettings, plant: Callable[[Config], None]) -> None:
        super().__init__(settings)
        self._plant = plant

    def _body(self, request: SandboxRequest) -> Config:
        body = super()._body(request)
        config = body["HostConfig"]
        assert isinstance(config, dict)
        self._plant(config)
        return body


class PlantedBubblewrap(BubblewrapDriver):
    """Runs bwrap with other words than the settings say."""

    def __init__(self, settings: DriverSettings, plant: Callable[[Launch], Launch]) -> None:
        super().__init__(settings, Mode.ROOT)
        self._plant = plant

    def _launch(self, *arguments, **named) -> Launch:
        return self._plant(super()._launch(*arguments, **named))


def failed(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if check.required and not check.ok}


def without_option(config: Config, start: str) -> None:
    config["SecurityOpt"] = [option for option in config["SecurityOpt"] if not option.startswith(start)]


DOCKER_PLANTS: dict[str, tuple[Callable[[Config], object], str]] = {
    "no no-new-privileges": (lambda config: without_option(config, "no-new"), "no-new-privileges"),
    "the engine's own seccomp profile": (lambda config: without_option(config, "seccomp"), "seccomp"),
    "a capability more": (lambda config: config.update(CapAdd=[*config["CapAdd"], "NET_RAW"]), "capabilities"),
    "writable root": (lambda config: config.update(ReadonlyRootfs=False), "read-only-root"),
    "twice the memory": (lambda config: config.update(Memory=512 << 20, MemorySwap=512 << 20), "memory-limit"),
    "swap": (lambda config: config.update(MemorySwap=-1), "swap-limit"),
    "no pids limit": (lambda config: config.update(PidsLimit=0), "pids-limit"),
    "no cpu limit": (lambda config: config.update(NanoCpus=0), "cpu-limit"),
    "no ulimits": (lambda config: config.update(Ulimits=[]), "ulimits"),
    "no masks": (lambda config: config.update(MaskedPaths=[]), "masked-paths"),
    "plain /tmp": (lambda config: config["Tmpfs"].update({"/tmp": "rw"}), "disk-limit"),
    "plain /dev/shm": (lambda config: config["Tmpfs"].pop("/dev/shm"), "inode-limit"),
    "a network": (lambda config: config.update(NetworkMode="bridge"), "network"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCKER_PLANTS)
def test_docker_probe_finds_the_planted_difference(settings, python_image, agent_dir, name):
    plant, expected = DOCKER_PLANTS[name]
    driver = PlantedDocker(settings, plant)

    found = failed(driver.verify(agent_dir))
    driver.close()

    assert expected in found


def replaced_word(old: str, new: str) -> Callable[[Launch], Launch]:
    return lambda launch: replace(launch, command=[new if word == old else word for word in launch.command])


def without_pair(flag: str) -> Callable[[Launch], Launch]:
    """Leave a flag and its value out."""

    def plant(launch: Launch) -> Launch:
        at = list(launch.command).index(flag)
        return replace(launch, command=[*launch.command[:at], *launch.command[at + 2 :]])

    return plant


BUBBLEWRAP_PLANTS: dict[str, tuple[Callable[[Launch], Launch], str]] = {
    "no seccomp": (without_pair("--seccomp"), "seccomp"),
    "a capability more": (replaced_word("CAP_KILL", "CAP_NET_RAW"), "capabilities"),
    "the host's network": (replaced_word("--unshare-net", "--unshare-uts"), "network"),
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
