"""How many sandboxes a process holds, and which of them it gives out."""

import threading
from typing import Any

import pytest

from leasebox.contract.errors import StartFailed
from leasebox.contract.spec import Limits
from leasebox_worker.engine.deps import Deps
from leasebox_worker.engine.sandboxes import Sandbox
from leasebox_worker.policy.admit import effective_limits
from leasebox_worker.policy.profiles import BUILT_IN


def make(deps: Deps) -> Sandbox:
    profile = BUILT_IN["lightweight"]
    return deps.sandboxes.make(profile, effective_limits(Limits(), profile, node_cpus=1.0), {})


def reserve_in_a_thread(deps: Deps) -> bool:
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(deps.sandboxes.reserve()))
    thread.start()
    thread.join()
    return said[0]


def test_a_place_counts_once_from_the_reservation_until_the_sandbox_ends(deps: Deps) -> None:
    assert deps.sandboxes.reserve()
    assert reserve_in_a_thread(deps)
    assert not reserve_in_a_thread(deps)
    sandbox = make(deps)
    deps.sandboxes.release()
    assert not reserve_in_a_thread(deps)
    deps.sandboxes.discard(sandbox)
    deps.sandboxes.discard(sandbox)
    assert reserve_in_a_thread(deps)
    assert not reserve_in_a_thread(deps)


def test_a_sandbox_whose_channel_broke_is_ended_by_the_next_ping(deps: Deps, eventually: Any) -> None:
    sandbox = make(deps)
    deps.sandboxes.driver.kill(sandbox.handle)

    def is_gone() -> bool:
        deps.sandboxes.ping_all()
        return deps.sandboxes.count() == 0

    assert eventually(is_gone)
    assert deps.sandboxes.find(sandbox.text()) is None


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
