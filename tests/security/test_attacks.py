"""No attack program of ISOLATION.md section 5 gets anywhere, on any form of sandbox; R1's gaps are named here."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.security.conftest import FORMS, Canary, Ground, holds_capability, leaked, read, standing

pytestmark = pytest.mark.slow

VERDICTS = {"kernel": 87, "agent": 47, "files": 57, "network": 56}
"""How many each attack must give: one that is missing is a failure, not a pass."""

R1_GAPS = {
    "kernel": frozenset[str](),
    "agent": frozenset({"own uid", "signal the agent", "limit the agent", "renice the agent", "pin the agent"}),
    "files": frozenset[str](),
    "network": frozenset[str](),
}
"""What an agent of the jobs' own uid cannot keep from them (`agent-uid`); see docs/explanation/threat-model.md."""

HOST_GAPS = frozenset() if holds_capability(24) else frozenset({"outlive the agent when memory ends"})
"""CAP_SYS_RESOURCE of whoever starts a sandbox pins the lowest OOM score of its jobs (proc(5)); some hosts lack it,
and then it depends on the least score that the starter itself was given whether a job can lower its own."""


@pytest.mark.parametrize("attack", VERDICTS)
@pytest.mark.parametrize("ground", FORMS, indirect=True)
def test_an_attack_leaks_nothing_but_the_gaps_that_are_documented(ground: Ground, canary: Canary, attack: str) -> None:
    verdicts = ground.verdicts(attack, **canary.environment())
    alive = ground.guest.run(b"print('alive')", 20.0)

    gaps = R1_GAPS[attack] if ground.is_rootless else frozenset()
    assert set(leaked(verdicts)) - HOST_GAPS == gaps, leaked(verdicts)
    assert len({verdict.name for verdict in verdicts}) == VERDICTS[attack]
    assert alive.stdout == b"alive\n"


@pytest.mark.parametrize("ground", FORMS, indirect=True)
def test_a_job_leaves_the_next_one_its_workspace_and_nothing_else(ground: Ground) -> None:
    left = ground.run("leave")
    verdicts = ground.verdicts("look", SAME_SESSION=1)

    assert [verdict.held for verdict in read(left.stdout)] == [True], left
    assert (leaked(verdicts), len(verdicts)) == ({}, 8)


@pytest.mark.parametrize("form", FORMS)
def test_a_session_sees_nothing_of_another(
    request: pytest.FixtureRequest, agent_dir: Path, image: Callable[[str], str], form: str
) -> None:
    driver = request.getfixturevalue(form)
    with standing(form, driver, agent_dir, image(form)) as one, standing(form, driver, agent_dir, image(form)) as other:
        one.run("leave")
        verdicts = other.verdicts("look", SAME_SESSION=0)

    assert (leaked(verdicts), len(verdicts)) == ({}, 8)


@pytest.mark.parametrize("ground", FORMS, indirect=True)
def test_frames_that_a_job_writes_arrive_as_its_output(ground: Ground) -> None:
    ended = ground.run("frames")
    verdicts = read(ended.stdout)

    assert leaked(verdicts) == {}
    assert verdicts[-1].name == "alive after the forgery"
    assert ended.code == 7
    assert b'"maxrss_bytes": 0' in ended.stdout
    assert b'"maxrss_bytes": 0' in ended.stderr
    assert ground.guest.run(b"print('alive')", 20.0).stdout == b"alive\n"
