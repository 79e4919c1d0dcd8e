"""Does doctor name what this very machine lacks, and nothing else? Facts are read here in other ways than doctor's."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import DockerEngine, RedisServer, lacking

pytestmark = pytest.mark.slow
CHECKED_WITHIN_S = 120
IMAGE = "docker.image "


def doctor(url: str, home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "LEASEBOX_URL": url, "LEASEBOX_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "leasebox.cli", "doctor", *words],
        env=environment, capture_output=True, text=True, timeout=CHECKED_WITHIN_S, check=False,
    )  # fmt: skip


def found_by(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    """The checks by name, of two the failed one; the exit status says whether something required is missing."""
    checks = json.loads(done.stdout)
    assert done.returncode == int(any(check["required"] and not check["ok"] for check in checks))
    return {check["name"]: check for check in sorted(checks, key=lambda check: not check["ok"])}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def missing_in_the_engine(engine: DockerEngine, images: set[str]) -> set[str]:
    """What a person would find: by the kernel's files, the programs themselves, the engine's list of images."""
    found = set()
    security = Path("/sys/kernel/security")
    confined = (security / "apparmor").is_dir() or (Path("/sys/fs/selinux") / "enforce").exists()
    if not confined:
        found.add("apparmor")
    if "cgroup2" not in next((line for line in output("mount").splitlines() if " /sys/fs/cgroup " in line), ""):
        found.add("cgroup-version")
    # Root of a container is root here, unless its ids are shifted.
    if "userns-remap" not in daemon_settings():
        found.add("userns-remap")
        if numbers(output("runc", "--version")) < (1, 2, 8):
            found.add("runc-version")
    if numbers(output("dockerd", "--version")) < (23, 0, 11):
        found.add("engine-version")
    here = {tag.removesuffix(":latest") for image in engine.client.images.list() for tag in image.tags}
    return found | {name.removeprefix("docker.") for name in images if name.removeprefix(IMAGE) not in here}


def daemon_settings() -> str:
    """The engine's file of settings, and its command line."""
    pid = Path("/var/run/docker.pid")
    places = [
        Path("/etc/docker/daemon.json"),
        *([Path(f"/proc/{pid.read_text().strip()}/cmdline")] if pid.exists() else []),
    ]
    return " ".join(place.read_text() for place in places if place.exists())


@pytest.mark.docker
def test_doctor_names_what_this_machine_lacks_and_nothing_else(
    docker_engine: DockerEngine, redis_server: RedisServer, home: Path
) -> None:
    if shutil.which("dockerd") is None or shutil.which("runc") is None:
        lacking("engine on this host", "a remote one cannot be looked at by its programs and files")
    checks = found_by(doctor(redis_server.url, home, "--json"))
    found = {name: check for name, check in checks.items() if not check["ok"]}

    of_engine = {name.removeprefix("docker.") for name in found if name.startswith("docker.")}
    # An image may be there and old, which only its builder knows.
    stale = {name for name in of_engine if "older recipe" in found[f"docker.{name}"]["detail"]}
    assert of_engine - stale == missing_in_the_engine(docker_engine, {n for n in checks if n.startswith(IMAGE)})
    assert f"{IMAGE}leasebox/python" in checks
    with redis_server.connect() as connection:
        assert connection.config_get("maxmemory") == {"maxmemory": "0"}
    others = {name for name in found if not name.startswith(("docker.", "bubblewrap."))}
    assert others - {"api port", "redis latency"} == {"redis memory", "workers"}
    assert [name for name, check in found.items() if not check["hint"]] == []
