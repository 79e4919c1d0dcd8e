"""An attack gets through where the protection that it tries is switched off; so its verdict `held` means something.

What several layers guard is shown with the one switched off whose answer the verdict is; the start-up check finds each
layer by itself (tests/worker/drivers/test_verify.py).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.security.conftest import FORMS, MIB, Canary, Ground, leaked, standing
from tests.security.test_attacks import R1_GAPS
from tests.security.test_bombs import BOMBS, limit_in_effect
from tests.worker.drivers.planted import (
    Config,
    PlantedBubblewrap,
    PlantedDocker,
    Words,
    host_config,
    replaced_words,
    settings_of,
    with_words,
    without_option,
    without_words,
)

from leasebox_worker.drivers.base import DriverSettings, Limits
from leasebox_worker.drivers.bubblewrap_arguments import Mode
from leasebox_worker.drivers.spawn import Launch

pytestmark = pytest.mark.slow

REACHED = {"no interface beside lo", "172.17.0.1 port of the host"}
BY_FILTER_ALONE = {
    "io_uring_setup", "ptrace", "kcmp", "memfd_secret", "request_key", "unshare user, high bits", "clone user",
    "process_vm_readv", "pidfd_getfd", "32-bit entry", "personality", "statmount",
}  # fmt: skip


def unfiltered(body: Config) -> None:
    without_option("seccomp")(body)
    host_config(lambda config: config["SecurityOpt"].append("seccomp=unconfined"))(body)


def as_agent(body: Config) -> None:
    body["User"] = "10001:10001"
    settings_of(CapAdd=[])(body)


def with_the_hosts_tmp(body: Config) -> None:
    host_config(lambda config: (config["Binds"].append("/tmp:/tmp"), config["Tmpfs"].pop("/tmp")))(body)


def without_groups(launch: Launch) -> Launch:
    return replace(launch, groups=[])


def without_ulimits(launch: Launch) -> Launch:
    return replace(launch, ulimits={})


def unwiped(body: Config) -> None:
    assert isinstance(body["Cmd"], list)
    body["Cmd"] += ["--wipe", ""]


def without_mask(path: str) -> Callable[[Config], object]:
    return host_config(lambda config: config["MaskedPaths"].remove(path))


def unmasked(launch: Launch) -> Launch:
    """Without the files of /proc that bwrap covers."""
    words = list(launch.command)
    covers = [
        n for n in range(len(words)) if words[n : n + 2] == ["--ro-bind", "/dev/null"] and "/proc/" in words[n + 2]
    ]
    for at in reversed(covers):
        del words[at : at + 3]
    return replace(launch, command=words)


def bigger(place: str, options: str) -> Callable[[Config], object]:
    return host_config(lambda config: config["Tmpfs"].update({place: f"rw,exec,mode=1777,{options}"}))


DOCKER: dict[str, tuple[Callable[[Config], object], str, set[str]]] = {
    "no filter": (unfiltered, "kernel", BY_FILTER_ALONE - {"unshare user, high bits", "clone user"}),
    "no masks": (settings_of(MaskedPaths=[], ReadonlyPaths=[]), "files", {"hidden /proc/cmdline"}),
    "the host's /tmp": (with_the_hosts_tmp, "files", {"a file of the host", "socket of Redis"}),
    "a network": (
        settings_of(NetworkMode="bridge"),
        "network",
        {"no interface beside lo", "172.17.0.1 port of the host"},
    ),
    "jobs of the agent's uid": (as_agent, "agent", set(R1_GAPS["agent"])),
    "no wipe": (unwiped, "look", {"nothing in /tmp", "nothing in /dev/shm", "no shm id", "no sem id", "no msg id"}),
    "no mask of ptmx": (without_mask("/dev/pts/ptmx"), "ptys", {"ptys"}),
    "no set-uid guard": (bigger("/tmp", "suid,dev"), "files", {"no set-uid and no devices in /tmp"}),
}
BUBBLEWRAP: dict[str, tuple[Words, str, set[str]]] = {
    "no filter": (without_words("--seccomp", 2), "kernel", {"io_uring_setup", "ptrace", "32-bit entry"}),
    "no masks": (unmasked, "files", {"hidden /proc/cmdline"}),
    "the host's network": (without_words("--unshare-net", 1), "network", {"127.0.0.1 port of the host"}),
    "the host's /tmp": (with_words("--bind", "/tmp", "/tmp", before="--chdir"), "files", {"a file of the host"}),
    "no mask of ptmx": (replaced_words({"/dev/pts/ptmx": "/dev/full"}), "ptys", {"ptys"}),
    "no wipe": (lambda launch: replace(launch, command=[*launch.command, "--wipe", ""]), "look", {"nothing in /tmp"}),
}
WIDER = Limits(cpus=2.0, memory_bytes=256 * MIB, pids=160, open_files=640, disk_bytes=96 * MIB, tmp_bytes=32 * MIB)
"""In no form of sandbox what `LIMITS` asks for; one bomb for each means by which a form holds that."""
WIDENED = ("forks", "heap", "/workspace", "/tmp", "inodes of /workspace", "descriptors", "sparse")
ROOMY = bigger("/workspace", "size=64m,uid=10001,gid=10001")
BOMBS_OFF = {
    "forks": settings_of(PidsLimit=0),
    "heap": settings_of(Memory=256 * MIB, MemorySwap=256 * MIB),
    "cpu": settings_of(NanoCpus=0),
    "/workspace": ROOMY,
    "inodes of /tmp": bigger("/tmp", f"size={6 * MIB},nr_inodes=100000"),
    "descriptors": settings_of(Ulimits=[]),
    "sparse": settings_of(Ulimits=[]),
}
BUBBLEWRAP_BOMBS_OFF: list[tuple[Mode, str, Words]] = [
    *((Mode.ROOT, name, without_groups) for name in ("forks", "heap", "cpu")),
    *((Mode.ROOT, name, without_ulimits) for name in ("descriptors", "sparse")),
    *((Mode.ROOTLESS, name, without_ulimits) for name in ("forks", "heap", "descriptors", "sparse")),
]
FORM_OF = {Mode.ROOT: "bubblewrap_r2", Mode.ROOTLESS: "bubblewrap_r1"}


def attack_in(ground: Ground, attack: str, canary: Canary) -> dict[str, str]:
    """What leaks; an attack that needs a job before it has that one."""
    if attack == "look":
        ground.run("leave")
        return leaked(ground.verdicts("look", SAME_SESSION=1))
    if attack in BOMBS:
        bomb = BOMBS[attack]
        return leaked(ground.verdicts("bomb", WHICH=attack, CAP=bomb.cap, MOST=bomb.most))
    return leaked(ground.verdicts(attack, **canary.environment()))


@pytest.mark.parametrize("name", DOCKER)
def test_docker_leaks_what_was_switched_off(
    settings: DriverSettings, agent_dir: Path, python_image: str, canary: Canary, name: str
) -> None:
    plant, attack, expected = DOCKER[name]
    driver = PlantedDocker(settings, plant)
    with standing("docker_driver", driver, agent_dir, python_image) as ground:
        found = attack_in(ground, attack, canary)
    driver.close()

    assert expected <= set(found), expected - set(found)


@pytest.mark.parametrize("name", BUBBLEWRAP)
@pytest.mark.parametrize("mode", Mode)
def test_bubblewrap_leaks_what_was_switched_off(
    settings: DriverSettings, agent_dir: Path, bubblewrap_r2: object, canary: Canary, mode: Mode, name: str
) -> None:
    plant, attack, expected = BUBBLEWRAP[name]
    driver = PlantedBubblewrap(settings, plant, mode)
    with standing("bubblewrap_r2", driver, agent_dir, "") as ground:
        found = attack_in(ground, attack, canary)
    driver.close()

    assert expected <= set(found), expected - set(found)


@pytest.mark.parametrize("bomb", sorted(BOMBS_OFF))
def test_a_bomb_is_not_started_where_its_limit_is_missing(
    settings: DriverSettings, agent_dir: Path, python_image: str, bomb: str
) -> None:
    driver = PlantedDocker(settings, BOMBS_OFF[bomb])
    with standing("docker_driver", driver, agent_dir, python_image) as ground:
        is_there = limit_in_effect(ground, BOMBS[bomb].guard)
    driver.close()

    assert not is_there


@pytest.mark.parametrize(("mode", "bomb", "plant"), BUBBLEWRAP_BOMBS_OFF)
def test_a_bomb_is_not_started_in_bubblewrap_either_where_its_limit_is_missing(
    settings: DriverSettings, agent_dir: Path, bubblewrap_r2: object, mode: Mode, bomb: str, plant: Words
) -> None:
    driver = PlantedBubblewrap(settings, plant, mode)
    with standing(FORM_OF[mode], driver, agent_dir, "") as ground:
        is_there = limit_in_effect(ground, BOMBS[bomb].guard)
    driver.close()

    assert not is_there


@pytest.mark.parametrize("bomb", WIDENED)
@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_gets_more_where_its_limit_is_wider(
    request: pytest.FixtureRequest, agent_dir: Path, image: Callable[[str], str], canary: Canary, form: str, bomb: str
) -> None:
    """Wider and not missing: the bomb's own cap is not the only thing between it and the machine."""
    driver = request.getfixturevalue(form)
    with standing(form, driver, agent_dir, image(form), limits=WIDER) as ground:
        is_there = limit_in_effect(ground, BOMBS[bomb].guard)
        found = attack_in(ground, bomb, canary)

    is_counted = not bomb.startswith("inodes") or form != "bubblewrap_r1"  # whose gap that is anyway
    assert (is_there and is_counted, set(found)) == (False, {bomb})
