"""All live nodes of an installation serve the same profiles and hold tenants to the same quotas."""

from collections.abc import Callable
from typing import Any

import pytest

from leasebox.contract.errors import ConfigError
from leasebox_worker.engine.publication import publish
from leasebox_worker.policy.profiles import BUILT_IN, Profile
from leasebox_worker.policy.quota import Quota

NewNode = Callable[[str, str], Any]
OTHER = {"default": Profile("default", pids=64)}


def say(node: Any, profiles: dict[str, Profile], **quotas: Quota) -> None:
    publish(node.runner, node.keys, node.tracker.identity, profiles, quotas=quotas, reclaim_s=15.0)


def served(node: Any) -> set[str]:
    return {name.decode() for name in node.redis.hkeys(node.keys.profiles())}


@pytest.fixture
def other(new_node: NewNode) -> Any:
    """A second node, not registered yet."""
    return new_node("m", "m-1")


def test_nodes_that_serve_the_same_publish_it(worker_node: Any, other: Any) -> None:
    say(worker_node, BUILT_IN)
    other.adopt()
    say(other, dict(reversed(BUILT_IN.items())))

    assert served(worker_node) == set(BUILT_IN)


def test_a_node_with_other_profiles_is_refused_while_another_one_lives(worker_node: Any, other: Any) -> None:
    say(worker_node, BUILT_IN)

    with pytest.raises(ConfigError, match=r"node 'n' serves others.*LEASEBOX_PROFILES_FILE"):
        say(other, OTHER)
    assert served(worker_node) == set(BUILT_IN)


def test_a_node_that_is_not_registered_only_asks(worker_node: Any, other: Any) -> None:
    say(other, OTHER)

    assert served(worker_node) == set()
    assert worker_node.redis.exists(worker_node.keys.node("m")) == 0


@pytest.mark.parametrize("fields", [{"dead": "1"}, {"seen_at": "1"}])
def test_a_node_that_is_dead_or_silent_holds_nobody_up(worker_node: Any, other: Any, fields: dict[str, str]) -> None:
    say(worker_node, BUILT_IN)
    worker_node.redis.hset(worker_node.keys.node("n"), mapping=fields)
    other.adopt()
    say(other, OTHER)

    assert served(worker_node) == {"default"}


def test_a_node_may_come_back_with_other_profiles_and_its_old_ones_hold_nobody_up(
    worker_node: Any, new_node: NewNode, other: Any
) -> None:
    say(worker_node, BUILT_IN)
    again = new_node("n", "n-2")
    again.adopt()
    other.adopt()
    say(other, OTHER)
    say(again, OTHER)

    assert served(worker_node) == {"default"}


def test_of_two_nodes_that_start_at_once_with_different_profiles_one_is_refused(worker_node: Any, other: Any) -> None:
    say(worker_node, BUILT_IN)
    worker_node.adopt()
    other.adopt()

    with pytest.raises(ConfigError):
        say(other, OTHER)
    assert served(worker_node) == set(BUILT_IN)


def test_two_nodes_that_start_at_once_may_change_the_profiles_together(worker_node: Any, new_node: NewNode) -> None:
    say(worker_node, BUILT_IN)
    worker_node.node.leave()
    both = [new_node("a", "a-1"), new_node("b", "b-1")]
    for node in both:
        say(node, OTHER)
    for node in both:
        node.adopt()
    for node in both:
        say(node, OTHER)

    assert served(worker_node) == {"default"}


def test_quotas_are_published_and_a_node_with_others_is_refused_while_this_one_lives(
    worker_node: Any, other: Any
) -> None:
    say(worker_node, BUILT_IN, acme=Quota(queued=1))
    told = worker_node.redis.hgetall(worker_node.keys.tenants())

    for quotas in ({}, {"acme": Quota(queued=2)}):
        with pytest.raises(ConfigError, match=r"node 'n' was given other quotas.*LEASEBOX_TENANTS_FILE"):
            say(other, BUILT_IN, **quotas)
    assert told == worker_node.redis.hgetall(worker_node.keys.tenants()) == {b"acme": b'{"queued": 1}'}


def test_a_tenant_that_is_no_longer_named_is_bound_no_longer(worker_node: Any) -> None:
    say(worker_node, BUILT_IN, acme=Quota(queued=1), blue=Quota())
    say(worker_node, BUILT_IN, blue=Quota(running=3))

    assert worker_node.redis.hgetall(worker_node.keys.tenants()) == {b"blue": b'{"running": 3}'}


def test_thousands_of_tenants_are_published(worker_node: Any) -> None:
    say(worker_node, BUILT_IN, **{f"t-{n}": Quota(queued=n) for n in range(9000)})

    assert worker_node.redis.hlen(worker_node.keys.tenants()) == 9000
