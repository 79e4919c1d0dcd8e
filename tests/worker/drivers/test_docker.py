"""What only the Docker driver promises: attach again, missing images, what an engine's facts mean."""

from dataclasses import replace

import pytest

from leasebox.contract.errors import ImageMissing, SandboxDied, StartFailed
from leasebox_worker.drivers.base import DriverSettings, Isolation
from leasebox_worker.drivers.conformance import Bench
from leasebox_worker.drivers.docker import DockerDriver
from leasebox_worker.drivers.docker_checks import engine_checks
from leasebox_worker.drivers.one_job import Guest

pytestmark = pytest.mark.docker

INFO = {
    "ServerVersion": "29.5.1",
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=apparmor", "name=userns"],
    "Runtimes": {"runc": {}},
}
VERSION = {"Components": [{"Name": "runc", "Version": "1.3.3"}]}


def lacking(info=INFO, version=VERSION, runtime=None) -> dict[str, bool]:
    """Failed checks by name: required or not."""
    return {check.name: check.required for check in engine_checks(info, version, runtime) if not check.ok}


def test_a_current_engine_lacks_nothing():
    assert lacking() == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"SwapLimit": False}, {"swap-limit": True}),
        ({"PidsLimit": None}, {"pids-limit": True}),
        ({"SecurityOptions": ["name=apparmor", "name=userns"]}, {"seccomp": True}),
        ({"SecurityOptions": ["name=seccomp", "name=userns"]}, {"apparmor": False}),
        ({"SecurityOptions": ["name=seccomp", "name=apparmor"]}, {"userns-remap": False}),
        ({"ServerVersion": "20.10.24+dfsg1"}, {"engine-version": False}),
        ({"CgroupVersion": "1"}, {"cgroup-version": False}),
        ({"CgroupVersion": "2"}, {}),
        ({"Driver": "vfs"}, {"storage-driver": False}),
        ({"Driver": "overlay2"}, {}),
    ],
)
def test_an_engine_fact_fails_its_check(change, expected):
    assert lacking({**INFO, **change}) == expected


@pytest.mark.parametrize(
    ("runc", "is_fine"),
    [("1.1.5+ds1", False), ("1.2.7", False), ("1.2.8", True), ("1.3.2", False), ("1.3.3", True), ("1.5.0", True)],
)
def test_old_runc_warns_unless_userns_remap_is_on(runc, is_fine):
    version = {"Components": [{"Name": "runc", "Version": runc}]}
    without_remap = {**INFO, "SecurityOptions": ["name=seccomp", "name=apparmor"]}

    assert ("runc-version" not in lacking(without_remap, version)) == is_fine
    assert "runc-version" not in lacking(INFO, version)


def test_a_runtime_that_is_not_registered_is_refused():
    assert lacking(runtime="runsc") == {"runtime": True}


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["docker_driver"], indirect=True)
def test_a_sandbox_answers_after_its_channel_was_closed_and_attached_again(bench):
    with bench.sandbox() as (handle, channel, guest):
        guest.run(b"open('a', 'w').write('kept')", 10)
        channel.close()
        again = bench.driver.attach(handle)
        second = Guest(again, handle.workspace)
        second.resync(10)
        ended = second.run(b"print(open('a').read())", 10)
        again.close()

    assert ended.stdout == b"kept\n"


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["docker_driver"], indirect=True)
def test_a_dead_sandbox_cannot_be_attached(bench):
    with bench.sandbox() as (handle, _, _):
        bench.driver.kill(handle)
        with pytest.raises(SandboxDied):
            bench.driver.attach(handle)


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["docker_driver"], indirect=True)
def test_sandboxes_of_another_installation_are_not_listed(bench, settings):
    other = DockerDriver(replace(settings, installation="somebody-else"))
    with bench.sandbox():
        found = other.list()
    other.close()

    assert found == []


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["docker_driver"], indirect=True)
def test_the_engine_tells_the_same_story_as_the_cgroups(bench):
    with bench.sandbox() as (handle, _, guest):
        guest.run(b"sum(range(2_000_000))", 10)
        here, there = bench.driver.stats(handle), bench.driver._engine_stats(handle)

    assert there.cpu_s == pytest.approx(here.cpu_s, abs=0.05)
    # The next job's process is forked about now, and takes its memory.
    assert here.memory_peak_bytes <= 1.2 * there.memory_peak_bytes < 3.0 * here.memory_peak_bytes
    assert abs(there.pids - here.pids) <= 1


@pytest.mark.parametrize("bench", ["docker_driver"], indirect=True)
def test_a_missing_image_is_named_and_nothing_is_left(bench):
    with pytest.raises(ImageMissing, match="no-such-image") as error:
        bench.driver.create(replace(bench.request(), image="leasebox/no-such-image"))

    assert error.value.hint == "leasebox-worker images build no-such-image"
    assert bench.driver.list() == []


@pytest.mark.slow
@pytest.mark.parametrize("bench", ["docker_driver"], indirect=True)
def test_a_sandbox_that_cannot_start_leaves_nothing(bench):
    request = replace(bench.request(), agent_dir=bench.agent_dir, image="leasebox/base")

    # The base image has no python3, which the engine finds out at the start.
    with pytest.raises(StartFailed):
        bench.driver.create(request)

    assert bench.driver.list() == []


def test_an_engine_that_does_not_answer_is_one_failed_check(tmp_path):
    driver = DockerDriver(DriverSettings("i", "n", tmp_path, docker_host=f"unix://{tmp_path}/none.sock"))

    checks = driver.check()
    driver.close()

    assert [(check.name, check.ok, check.required) for check in checks] == [("engine", False, True)]
    assert driver.isolation is Isolation.FULL


@pytest.mark.slow
def test_a_runtime_that_the_engine_has_not_is_never_replaced_by_another(settings, python_image, agent_dir):
    driver = DockerDriver(replace(settings, runtime="leasebox-none"))
    bench = Bench(driver, agent_dir, python_image, lambda _: [])
    failed = {check.name for check in driver.check() if check.required and not check.ok}
    with pytest.raises(StartFailed, match="leasebox-none"):
        driver.create(bench.request())
    left = driver.list()
    driver.close()

    assert failed == {"runtime"}
    assert left == []


@pytest.mark.slow
def test_a_sandbox_gets_the_runtime_that_was_named(settings, docker_engine, python_image, agent_dir):
    driver = DockerDriver(replace(settings, runtime="runc"))
    with Bench(driver, agent_dir, python_image, lambda _: []).sandbox() as (handle, _, _):
        used = docker_engine.client.containers.get(handle.id).attrs["HostConfig"]["Runtime"]
    driver.close()

    assert used == "runc"
