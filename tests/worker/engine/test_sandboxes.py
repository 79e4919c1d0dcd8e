"""How many sandboxes a process holds, and which of them it gives out."""

import os
import signal
from typing import Any

import pytest

from leasebox.contract.errors import StartFailed
from leasebox.contract.spec import Limits
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.runner import run_job
from leasebox_worker.engine.sandboxes import MAX_MISSED, Sandbox
from leasebox_worker.policy.admit import effective_limits
from leasebox_worker.policy.profiles import BUILT_IN


def make(deps: Deps) -> Sandbox:
    profile = BUILT_IN["lightweight"]
    place = deps.sandboxes.reserve()
    assert place is not None
    return deps.sandboxes.make(profile, effective_limits(Limits(), profile, node_cpus=1.0), {}, place)


def test_a_place_counts_once_from_the_reservation_until_the_sandbox_ends(deps: Deps) -> None:
    sandbox = make(deps)  # the fixture's node has two places
    place = deps.sandboxes.reserve()
    assert place is not None
    assert deps.sandboxes.reserve() is None

    place.release()
    place.release()
    assert deps.sandboxes.free_places() == 1
    deps.sandboxes.discard(sandbox)
    deps.sandboxes.discard(sandbox)
    assert deps.sandboxes.free_places() == 2


def test_a_place_that_a_sandbox_has_cannot_be_given_back_under_it(deps: Deps) -> None:
    profile, place = BUILT_IN["lightweight"], deps.sandboxes.reserve()
    assert place is not None
    deps.sandboxes.make(profile, effective_limits(Limits(), profile, node_cpus=1.0), {}, place)
    place.release()

    assert deps.sandboxes.free_places() == 1


def test_a_sandbox_that_did_not_start_leaves_its_place_to_whoever_reserved_it(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise StartFailed("no")

    monkeypatch.setattr(deps.sandboxes.driver, "create", fails)
    profile, place = BUILT_IN["lightweight"], deps.sandboxes.reserve()
    assert place is not None
    with pytest.raises(StartFailed):
        deps.sandboxes.make(profile, effective_limits(Limits(), profile, node_cpus=1.0), {}, place)
    assert deps.sandboxes.free_places() == 1
    place.release()

    assert deps.sandboxes.free_places() == 2


def test_a_sandbox_whose_channel_broke_is_ended_by_the_next_ping(deps: Deps, eventually: Any) -> None:
    sandbox = make(deps)
    deps.sandboxes.driver.kill(sandbox.handle)

    def is_gone() -> bool:
        deps.sandboxes.ping_all()
        return deps.sandboxes.count() == 0

    assert eventually(is_gone)
    assert deps.sandboxes.find(sandbox.text()) is None


def test_an_idle_agent_that_misses_three_pings_is_replaced_and_its_session_hears_why(
    worker_node: Any, deps: Deps
) -> None:
    run_job(worker_node.submit("s", {"code": "print(1)"}), deps)
    text = worker_node.session("s")["sandbox"]
    sandbox = deps.sandboxes.named(text)
    assert sandbox is not None
    assert sandbox.handle.pid is not None
    os.kill(sandbox.handle.pid, signal.SIGSTOP)
    for _ in range(MAX_MISSED):  # the first is sent when none is owed
        deps.sandboxes.ping_all()
        assert deps.sandboxes.holds(text)
    deps.sandboxes.ping_all()
    assert not deps.sandboxes.holds(text)

    job = worker_node.submit("s", {"code": "print(2)"})
    run_job(job, deps)

    events = worker_node.redis.xrange(worker_node.keys.events(job))
    assert [fields[b"json"] for _, fields in events if fields[b"type"] == b"session_restarted"] == [
        b'{"reason":"failed"}'
    ]
    assert worker_node.job(job)["outcome"] == "ok"


def test_an_agent_that_answers_is_left_alone(deps: Deps) -> None:
    sandbox = make(deps)
    for _ in range(3 * MAX_MISSED):
        deps.sandboxes.ping_all()
        sandbox.link.read(10.0)  # the answer to the ping

    assert deps.sandboxes.holds(sandbox.text())


def test_a_broken_sandbox_is_not_given_out_and_frees_its_place(deps: Deps) -> None:
    sandbox = make(deps)
    sandbox.link.is_broken = True

    assert deps.sandboxes.find(sandbox.text()) is None
    assert deps.sandboxes.count() == 0


def test_a_worker_that_stops_keeps_no_sandbox_that_was_being_made(deps: Deps) -> None:
    deps.sandboxes.end_all()

    with pytest.raises(StartFailed):
        make(deps)
    assert [found for found in deps.sandboxes.driver.list() if found.alive] == []
