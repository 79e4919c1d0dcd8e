"""Does `leasebox why` name what really keeps a job from going on? Each cause is made to happen, with a real worker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.conftest import START_WITHIN_S, worker_process
from tests.acceptance.test_drain import FAST
from tests.conftest import Eventually, RedisServer, unmount_below

from leasebox.client import Client, JobHandle
from leasebox.contract.standing import Cause, Why

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bwrap")]
WAIT_S = 90.0
# One slot, no warm sandbox, and a node that says each second how it stands.
ONE_SLOT = {**FAST, "LEASEBOX_SLOTS": "1", "LEASEBOX_INTERACTIVE_SLOTS": "0", "LEASEBOX_DRAIN_TIMEOUT_S": "600"}


def typed(url: str, job: str, *words: str) -> str:
    """What `leasebox why JOB` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "leasebox.cli", "why", job, *words],
        env={**os.environ, "LEASEBOX_URL": url}, capture_output=True, text=True, timeout=WAIT_S, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def profiles(home: Path) -> Path:
    """A set of profiles that keeps nothing warm."""
    path = home / "profiles.toml"
    path.write_text("[profiles.default]\npool = 0\n")
    return path


def becomes(eventually: Eventually, handle: JobHandle, cause: Cause) -> Why:
    """The answer, once it names this cause."""
    look: Callable[[], Why | None] = lambda: found if (found := handle.why()).cause is cause else None  # noqa: E731
    found = eventually(look, within_s=WAIT_S)
    assert found is not None
    return found


def test_each_cause_is_named_while_it_holds(
    new_redis: Callable[[], RedisServer], home: Path, profiles: Path, eventually: Eventually
) -> None:
    url = new_redis().url
    client = Client(url)
    strange = client.submit("print(1)", profile="gpu")
    first = client.submit("input()", session="s", stdin_open=True, limits={"timeout_s": 600})

    assert strange.why().cause is Cause.NO_NODE
    told = json.loads(typed(url, first.id, "--json"))
    assert (told["cause"], told["state"], told["before"]) == ("no_node", "queued", 1)
    assert "leasebox-worker run" in told["next_step"]

    given = {**ONE_SLOT, "LEASEBOX_PROFILES_FILE": str(profiles)}
    with worker_process(url, home, "bubblewrap", "only", **given) as child:
        asks = becomes(eventually, first, Cause.INPUT)
        refused = becomes(eventually, strange, Cause.ENDED)
        second = client.submit("print(2)", session="s")
        other = client.submit("print(3)")
        behind = second.why()
        busy = becomes(eventually, other, Cause.BUSY)
        child.send_signal(signal.SIGTERM)
        draining = becomes(eventually, other, Cause.DRAINING)
        first.write_stdin(b"\n")
        assert child.wait(START_WITHIN_S) == 0

    assert asks.node == "only"
    assert (refused.outcome, "gpu" in refused.why[0]) == ("rejected", True)
    assert (behind.cause, behind.behind, behind.node) == (Cause.BEHIND, first.id, "only")
    assert busy.why[0] == "Node only has all its slots taken that such a job may have."
    assert draining.why[0] == "Node only is being drained and takes no more work."
    assert first.why().why == ["It has ended with outcome ok."]
    client.close()


@pytest.mark.long
def test_a_session_whose_node_is_silent_says_so(
    new_redis: Callable[[], RedisServer], home: Path, profiles: Path, eventually: Eventually
) -> None:
    url = new_redis().url
    with Client(url) as client:
        given = {**ONE_SLOT, "LEASEBOX_PROFILES_FILE": str(profiles)}
        with worker_process(url, home, "bubblewrap", "gone", **given) as child:
            client.run("print(1)", session="s", wait_s=WAIT_S)
            child.kill()
            child.wait()
        unmount_below(home)
        waiting, free = client.submit("print(2)", session="s"), client.submit("print(3)")

        silent = becomes(eventually, waiting, Cause.SESSION_NODE)
        assert "The sandbox of session s is on node gone, which has not answered for" in silent.why[0]
        assert silent.node == "gone"
        assert becomes(eventually, free, Cause.NO_NODE).why[0].startswith("No worker is up (gone was last seen")
