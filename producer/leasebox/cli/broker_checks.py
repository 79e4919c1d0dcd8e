"""Is this Redis fit to hold jobs? What the server says of itself in, named checks out."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from leasebox._reads import ServerFacts
from leasebox._redis import socket_path
from leasebox.cli.check import Check
from leasebox.cli.session_view import size_text
from leasebox.config import hide_password

OLDEST = (7, 0)
SLOW_S = 0.005
"""A job takes about ten requests: so much for each is more than the whole way of a warm one."""
SKEW_S = 1.0
_NEARLY = 0.8


@dataclass(frozen=True, slots=True)
class Pulse:
    """How fast the server answers, and how far its clock is ahead of ours, which is known to within `error_s`."""

    latency_s: float
    skew_s: float
    error_s: float


def redis_cli(url: str) -> str:
    """How a person gets to this server; a password is not shown."""
    path = socket_path(url)
    return shlex.join(["redis-cli", "-s", path] if path is not None else ["redis-cli", "-u", hide_password(url)])


def server_checks(facts: ServerFacts, cli: str, *, is_private: bool = False) -> Iterator[Check]:
    """Version, role, persistence, memory and connections.

    Args:
        is_private: Of an embedded stack, which is one user's and needs no bound of memory.
    """
    yield _version(facts)
    yield _role(facts)
    yield from _persistence(facts, cli)
    yield _eviction(facts, cli)
    if facts.max_memory_bytes or not is_private:
        yield _memory(facts, cli)
    yield _connections(facts, cli)


def _version(facts: ServerFacts) -> Check:
    is_new = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit()) >= OLDEST
    name = "Valkey" if facts.is_valkey else "Redis"
    return Check("redis version", is_new, True, f"{name} {facts.version}", "apt-get install valkey, or Redis >= 7.0")


def _role(facts: ServerFacts) -> Check:
    if facts.is_cluster:
        hint = "set `cluster-enabled no`, or give LEASEBOX_URL a server of its own: scripts touch many keys at once"
        return Check("redis role", False, True, "a member of a Redis Cluster", hint)
    hint = "give LEASEBOX_URL the primary's address"
    return Check("redis role", facts.role in ("master", ""), True, f"role {facts.role or 'unknown'}", hint)


def _persistence(facts: ServerFacts, cli: str) -> Iterator[Check]:
    detail = f"append-only file on, appendfsync {facts.appendfsync}" if facts.aof_enabled else "no append-only file"
    hint = f"{cli} config set appendonly yes && {cli} config rewrite"
    yield Check("redis persistence", facts.aof_enabled, True, detail, hint)
    if not facts.aof_enabled:
        return
    is_synced = facts.appendfsync != "no"
    detail = "synced at least each second" if is_synced else "appendfsync no: a power cut loses half a minute of jobs"
    yield Check(
        "redis sync", is_synced, False, detail, f"{cli} config set appendfsync everysec && {cli} config rewrite"
    )
    detail = "the last write of the append-only file " + (
        "succeeded" if facts.writes_aof else "FAILED: is its disk full?"
    )
    yield Check(
        "redis disk", facts.writes_aof, True, detail, "df -h, on the host of Redis; free its data folder's disk"
    )


def _eviction(facts: ServerFacts, cli: str) -> Check:
    keeps = facts.eviction in ("noeviction", "")
    detail = f"maxmemory-policy {facts.eviction or 'unknown'}" + ("" if keeps else ": Redis may throw jobs away")
    hint = f"{cli} config set maxmemory-policy noeviction && {cli} config rewrite"
    return Check("redis eviction", keeps, True, detail, hint)


def _memory(facts: ServerFacts, cli: str) -> Check:
    used, most = facts.used_memory_bytes, facts.max_memory_bytes
    if not most:
        hint = f"{cli} config set maxmemory 2gb && {cli} config rewrite; beyond it submits are refused"
        return Check(
            "redis memory", False, False, f"{size_text(used)} used, no maxmemory: it grows without bound", hint
        )
    hint = f"more memory ({cli} config set maxmemory ...), a shorter LEASEBOX_RESULT_TTL_S, or fewer kept artifacts"
    return Check("redis memory", used < _NEARLY * most, False, f"{size_text(used)} of {size_text(most)} used", hint)


def _connections(facts: ServerFacts, cli: str) -> Check:
    clients, most = facts.clients, facts.max_clients
    hint = f"{cli} config set maxclients {max(10_000, 2 * most)} && {cli} config rewrite; {cli} client list"
    detail = f"{clients} of {most} connections" if most else f"{clients} connections"
    return Check("redis connections", not most or clients < _NEARLY * most, False, detail, hint)


def pulse_checks(pulse: Pulse, cli: str) -> Iterator[Check]:
    """Latency and clocks."""
    hint = f"{cli} --latency; put workers and API near Redis, its data folder on a fast disk"
    yield Check("redis latency", pulse.latency_s < SLOW_S, False, f"{1000 * pulse.latency_s:.2f} ms a request", hint)
    beyond = max(0.0, abs(pulse.skew_s) - pulse.error_s)
    where = "ahead of" if pulse.skew_s > 0 else "behind"
    detail = (
        f"Redis' clock is {abs(pulse.skew_s):.3f} s {where} this host's" if beyond else "Redis' clock is this host's"
    )
    yield Check("clock skew", beyond < SKEW_S, False, detail, "timedatectl set-ntp true, on both hosts")
