"""Who has which sandbox of a node? As Redis tells it: its sessions, its pools, its claims."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from leasebox.contract.keys import Keys
from leasebox_worker.lifecycle import reads


@dataclass(frozen=True, slots=True)
class SessionOwner:
    """A session that has a sandbox on the node; `text` is the sandbox as its record names it."""

    line: str
    generation: int
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Owners:
    """All that the node's sandboxes may belong to.

    Attributes:
        sessions: By the name of their sandbox.
        pooled: Names of never-used sandboxes -> their profile.
        of_jobs: Names of the sandboxes of claimed jobs without a session.
        starting: Claimed jobs that have not started: a sandbox may be on its way for each.
    """

    sessions: Mapping[str, SessionOwner]
    pooled: Mapping[str, str]
    of_jobs: frozenset[str]
    starting: frozenset[str]

    def has(self, name: str) -> bool:
        """Whether a record names this sandbox."""
        return name in self.sessions or name in self.pooled or name in self.of_jobs


def read(client: redis.Redis, keys: Keys, node: str) -> Owners:
    """What stands in Redis now.

    The pools are read first: what a claim takes from them meanwhile is then seen with the claims or the sessions, and
    never in neither.
    """
    pooled = _pooled(client, keys, node)
    claims = {
        job: reads.fields(client, keys.job(job), "state", "sandbox") for job in reads.members(client, keys.claims(node))
    }
    return Owners(
        sessions=_sessions(client, keys, node),
        pooled=pooled,
        of_jobs=frozenset(name_in(claim["sandbox"]) for claim in claims.values() if claim["sandbox"]),
        starting=frozenset(job for job, claim in claims.items() if claim["state"] == "starting"),
    )


def name_in(text: str) -> str:
    """The name of the sandbox that a record names; "" for a text that no worker wrote."""
    try:
        return str(json.loads(text)["name"])
    except (ValueError, KeyError, TypeError):
        return ""


def _pooled(client: redis.Redis, keys: Keys, node: str) -> dict[str, str]:
    found = {}
    for pool in reads.set_members(client, keys.pools(node)):
        incarnation, _, profile = pool.partition(":")
        for text in reads.items(client, keys.pool(node, incarnation, profile)):
            found[name_in(text)] = profile
    return found


def _sessions(client: redis.Redis, keys: Keys, node: str) -> dict[str, SessionOwner]:
    found = {}
    for line in reads.set_members(client, keys.node_sessions(node)):
        session = reads.fields(client, keys.session_line(line), "sandbox", "node", "generation", "state")
        if session["sandbox"] and session["node"] == node:
            owner = SessionOwner(line, int(session["generation"] or 0), session["state"], session["sandbox"])
            found[name_in(owner.text)] = owner
    return found
