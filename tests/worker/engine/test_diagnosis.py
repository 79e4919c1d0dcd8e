"""What doctor says of a host that lacks something, and of an operator who does without it."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leasebox.contract.errors import DriverUnsafe
from leasebox_worker.config import DriverName, WorkerSettings, load
from leasebox_worker.drivers.base import WAIVABLE, Check, DriverSettings
from leasebox_worker.drivers.bubblewrap import BubblewrapDriver
from leasebox_worker.drivers.bubblewrap_arguments import ROOTLESS_LACKS, Mode
from leasebox_worker.engine import diagnosis, ground

pytestmark = pytest.mark.slow

LACKS = ROOTLESS_LACKS - {"no-groups"}
"""Of a sandbox that root makes in the rootless form."""
Given = Callable[..., WorkerSettings]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, bwrap: Path) -> Iterator[Given]:
    """Settings of a worker whose bubblewrap is of the rootless form, whoever runs the tests."""

    def rootless(_: object, settings: DriverSettings, **__: object) -> BubblewrapDriver:
        return BubblewrapDriver(settings, Mode.ROOTLESS)

    monkeypatch.setattr(diagnosis, "make", rootless)
    monkeypatch.setattr(ground, "choose", rootless)
    with tempfile.TemporaryDirectory(prefix="lbh-", dir="/tmp") as home:
        Path(home).chmod(0o755)

        def make(accepted: str) -> WorkerSettings:
            monkeypatch.setenv("LEASEBOX_ACCEPT_MISSING", accepted)
            return load(home=home, driver="bubblewrap")

        yield make


def of_bubblewrap(settings: WorkerSettings) -> dict[str, Check]:
    found = diagnosis.diagnose(settings, only=DriverName.BUBBLEWRAP)
    return {check.name.removeprefix("bubblewrap."): check for check in found}


def test_doctor_fails_for_what_is_missing_and_only_warns_of_what_was_accepted_by_name(given: Given) -> None:
    checks = of_bubblewrap(given(",".join(LACKS - {"agent-uid", "memory-limit"}) + ",bubblewrap.memory-limit"))

    missing = {name: check for name, check in checks.items() if not check.ok and name != "bubblewrap-version"}
    # One that is not accepted before anything is started keeps the probe from being made.
    assert {name for name, check in missing.items() if check.required} == {"agent-uid"}
    assert all(
        "accepted by LEASEBOX_ACCEPT_MISSING" in check.detail for n, check in missing.items() if n != "agent-uid"
    )
    assert "accepted" not in missing["agent-uid"].detail


def test_doctor_shows_each_waiver_and_misses_nothing_else(given: Given) -> None:
    checks = of_bubblewrap(given(",".join(LACKS)))
    waived = {name for name, check in checks.items() if "accepted by LEASEBOX_ACCEPT_MISSING" in check.detail}

    assert waived == LACKS
    assert not [name for name, check in checks.items() if check.required and not check.ok]


def test_doctor_names_a_waiver_of_nothing(given: Given) -> None:
    (check,) = diagnosis._unknown(given("memory-limit,docker.cpu-limit,seccom"))

    assert (check.name, check.ok, check.detail) == ("accept_missing", False, "no protection is called seccom")


def test_what_can_be_waived_is_what_the_checks_are_called(given: Given) -> None:
    settings = given(",".join(LACKS))
    required = {name for name, check in of_bubblewrap(settings).items() if check.required or "accepted" in check.detail}

    assert required - {"bubblewrap", "python", "state_folder", "namespaces"} <= WAIVABLE
    assert LACKS <= WAIVABLE


def test_a_worker_starts_without_a_protection_only_where_that_was_accepted(given: Given, placement: object) -> None:
    agent_dir = placement.agent_dir  # type: ignore[attr-defined]
    with pytest.raises(DriverUnsafe) as refused:
        ground._checked_driver(given(""), "i", agent_dir, is_embedded=False)
    for name in LACKS:
        assert name in refused.value.detail
    for settings, is_embedded in ((given(",".join(LACKS)), False), (given(""), True)):
        driver, waived = ground._checked_driver(settings, "i", agent_dir, is_embedded=is_embedded)
        driver.close()
        assert set(waived) >= LACKS


@pytest.mark.parametrize(
    ("wanted", "usable", "ok"),
    [
        (DriverName.AUTO, [], False),
        (DriverName.AUTO, [DriverName.BUBBLEWRAP], True),
        (DriverName.DOCKER, [DriverName.BUBBLEWRAP], False),
        (DriverName.DOCKER, [DriverName.DOCKER], True),
        (DriverName.PROCESS, [], True),
    ],
)
def test_a_host_without_a_driver_to_start_with_fails(wanted: DriverName, usable: list[DriverName], ok: bool) -> None:
    check = diagnosis.choice_check(wanted, usable)

    assert (check.ok, check.required) == (ok, True)
    assert ok or check.hint


def test_a_private_stack_does_without_what_rootless_bubblewrap_lacks(given: Given) -> None:
    found = diagnosis.diagnose(given(""), is_embedded=True)
    checks = {check.name: check for check in found}

    assert checks["driver"].ok
    assert "bubblewrap" in checks["driver"].detail
    assert checks["bubblewrap.agent-uid"].detail.endswith("; a private stack does without it")
    assert not [check.name for check in found if check.required and not check.ok and "bubblewrap" in check.name]
    assert [check.name for check in found if not check.ok and not check.hint] == []
