"""Do the units start what exists, with settings that exist, and are they as closed as they say?"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ops.conftest import OPS

from leasebox.config import ApiSettings
from leasebox_worker.config import WorkerSettings

UNITS = OPS / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
INSTALLED = "/opt/leasebox/bin"
PYTHONS_OWN = str(Path(sys.executable).parent)


def lines(name: str) -> Iterator[tuple[str, str]]:
    for line in (UNITS / name).read_text().splitlines():
        field, found, value = line.partition("=")
        if found and not line.startswith("#"):
            yield field, value


def values(name: str, field: str) -> list[str]:
    return [value for found, value in lines(name) if found == field]


@pytest.mark.parametrize("unit", [*SERVICES, "leasebox-worker-bubblewrap.conf"])
def test_a_unit_names_settings_that_exist(unit: str) -> None:
    known = {f"LEASEBOX_{name.upper()}" for kind in (ApiSettings, WorkerSettings) for name in kind.model_fields}
    given = [value.partition("=")[0] for value in values(unit, "Environment")]

    assert not [name for name in given if name.removesuffix("_FILE") not in known]


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_hands_on_the_credentials_that_it_loads(unit: str) -> None:
    loaded = {value.partition(":")[0] for value in values(unit, "LoadCredential")}
    named = {value.rpartition("%d/")[2] for value in values(unit, "Environment") if "%d/" in value}

    assert loaded == named


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_starts_what_is_installed(unit: str) -> None:
    program, *arguments = shlex.split(values(unit, "ExecStart")[0])

    assert Path(program.replace(INSTALLED, PYTHONS_OWN)).exists()
    if arguments[0] == "-m":
        assert subprocess.run([sys.executable, "-c", f"import {arguments[1]}.__main__"], check=False).returncode == 0


def test_a_worker_has_the_time_that_its_drain_may_take_and_is_told_alone() -> None:
    unit = "leasebox-worker.service"

    assert float(values(unit, "TimeoutStopSec")[0].rstrip("s")) > WorkerSettings.model_fields["drain_timeout_s"].default
    assert values(unit, "KillMode") == ["mixed"]


@pytest.mark.long
@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_is_at_most_as_exposed_as_it_may_be(unit: str, program) -> None:
    analyze = program("systemd-analyze", "systemd")

    told = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=25", UNITS / unit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout
    said = re.search(r"--offline=true`: (\d\.\d)", (UNITS / unit).read_text())
    assert said is None or f": {said[1]} OK" in told.stdout, told.stdout[-80:]


@pytest.mark.long
@pytest.mark.parametrize("with_drop_in", [False, True], ids=["docker", "bubblewrap"])
def test_systemd_understands_every_line(with_drop_in: bool, program, tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    for path in UNITS.iterdir():
        text = path.read_text().replace(INSTALLED, PYTHONS_OWN)
        (tmp_path / path.name).write_text(text)
    if with_drop_in:
        folder = tmp_path / "leasebox-worker.service.d"
        folder.mkdir()
        (tmp_path / "leasebox-worker-bubblewrap.conf").rename(folder / "bubblewrap.conf")
    units = [tmp_path / name for name in (*SERVICES, "leasebox-backup.timer")]

    told = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)

    # Units of the host, and docker.service where it is not installed, are not ours to answer for.
    assert told.returncode == 0
    assert "leasebox" not in told.stderr


@pytest.mark.long
def test_logrotate_takes_its_file(program, tmp_path: Path) -> None:
    logrotate = program("logrotate", "logrotate")
    (tmp_path / "worker.log").write_text("line\n" * 1000)
    text = (OPS / "logrotate" / "leasebox").read_text().replace("/var/log/leasebox", str(tmp_path))
    (tmp_path / "leasebox").write_text(text)

    with (tmp_path / "worker.log").open("a") as still_open:
        command = [logrotate, "--force", "--state", tmp_path / "state", tmp_path / "leasebox"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        still_open.write("further\n")

    assert told.returncode == 0, told.stderr
    assert (tmp_path / "worker.log").read_text() == "further\n"
    assert [path.stat().st_size for path in tmp_path.glob("worker.log-*")] == [5000]
