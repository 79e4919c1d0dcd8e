"""Does doctor see each way in which a Redis is unfit to hold jobs, and nothing where it is fit?"""

from dataclasses import replace
from typing import Any

import pytest

from leasebox._flows import server_facts
from leasebox._reads import ServerFacts
from leasebox._redis import RedisTransport
from leasebox.cli.broker_checks import Pulse, pulse_checks, redis_cli, server_checks
from leasebox.cli.doctor import pulse_of

GOOD = ServerFacts(
    version="8.1.0", is_valkey=True, aof_enabled=True, appendfsync="everysec", eviction="noeviction",
    used_memory_bytes=1 << 20, max_memory_bytes=1 << 30, role="master", clients=7, max_clients=10_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({}, {}),
        ({"version": "7.0.15"}, {}),
        ({"version": "6.2.14"}, {"redis version": True}),
        ({"role": "slave"}, {"redis role": True}),
        ({"role": ""}, {}),
        ({"is_cluster": True}, {"redis role": True}),
        ({"aof_enabled": False}, {"redis persistence": True}),
        ({"appendfsync": "no"}, {"redis sync": False}),
        ({"appendfsync": "always"}, {}),
        ({"appendfsync": "unknown"}, {}),
        ({"writes_aof": False}, {"redis disk": True}),
        ({"eviction": "allkeys-lru"}, {"redis eviction": True}),
        ({"eviction": ""}, {}),
        ({"max_memory_bytes": 0}, {"redis memory": False}),
        ({"used_memory_bytes": 858_993_459}, {}),
        ({"used_memory_bytes": 858_993_460}, {"redis memory": False}),
        ({"clients": 7_999}, {}),
        ({"clients": 8_000}, {"redis connections": False}),
    ],
)
def test_what_a_server_lacks_is_named_with_what_mends_it(change: dict[str, Any], lacks: dict[str, bool]) -> None:
    found = [check for check in server_checks(replace(GOOD, **change), "redis-cli -s /s") if not check.ok]

    assert {check.name: check.required for check in found} == lacks
    assert all(check.hint for check in found)


def test_a_private_server_needs_no_bound_of_memory() -> None:
    facts = replace(GOOD, max_memory_bytes=0)

    assert all(check.ok for check in server_checks(facts, "", is_private=True))


@pytest.mark.parametrize(
    ("pulse", "lacks"),
    [
        (Pulse(0.0049, 0.9, 0.0), set()),
        (Pulse(0.005, 0.0, 0.0), {"redis latency"}),
        (Pulse(0.001, -1.0, 0.0), {"clock skew"}),
        (Pulse(0.001, 1.5, 0.6), set()),
    ],
)
def test_slow_answers_and_a_wrong_clock_are_named(pulse: Pulse, lacks: set[str]) -> None:
    assert {check.name for check in pulse_checks(pulse, "redis-cli") if not check.ok} == lacks


def test_a_command_that_mends_leads_to_this_server_and_tells_no_password() -> None:
    assert redis_cli("redis+socket:///run/my redis.sock?virtual_host=0") == "redis-cli -s '/run/my redis.sock'"
    assert redis_cli("redis://:hunter2@db:6379/0") == "redis-cli -u 'redis://:***@db:6379/0'"


def test_the_facts_are_those_of_the_server(redis_server: Any, redis: Any) -> None:
    transport = RedisTransport(redis_server.url, retries=0)

    facts, pulse = transport.run(server_facts()), pulse_of(transport)
    transport.close()

    info = redis.info()
    assert (facts.role, facts.is_cluster) == (info["role"], bool(info["cluster_enabled"]))
    assert (facts.version, facts.max_clients) == (info["valkey_version"], info["maxclients"])
    assert (facts.aof_enabled, facts.appendfsync) == (bool(info["aof_enabled"]), "everysec")
    assert pulse.latency_s > 0
    # Server and client are on one host, so they have one clock.
    assert abs(pulse.skew_s) <= pulse.error_s + 0.001
