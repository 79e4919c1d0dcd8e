"""Is the node's name free? Asked before the leftovers of an older process are touched: they may be a living one's."""

import time

import redis

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox_worker.lifecycle import reads


def wait_until_free(
    client: redis.Redis, keys: Keys, node: str, *, machine_id: str, reclaim_s: float, wait_s: float
) -> None:
    """Wait until no other live process can have the name. Script adopt decides; it asks the same once more.

    Args:
        machine_id: Where our lock proves that no older process lives; a holder of the same place is gone.
        wait_s: How long to wait for a holder elsewhere to fall silent for `reclaim_s`.

    Raises:
        ConfigError: Another live process has the name.
    """
    deadline = time.monotonic() + wait_s
    while (taken_s := taken_for_s(client, keys, node, machine_id=machine_id, reclaim_s=reclaim_s)) > 0:
        if time.monotonic() >= deadline:
            raise ConfigError(
                f"node {node!r} is in use by another live worker",
                hint="set LEASEBOX_NODE to a name of its own, or stop the other worker",
            )
        time.sleep(min(1.0, max(0.1, taken_s)))


def taken_for_s(client: redis.Redis, keys: Keys, node: str, *, machine_id: str, reclaim_s: float) -> float:
    """Seconds for which the name stays another's if nothing more is heard of it; 0: it is free."""
    record = reads.fields(client, keys.node(node), "incarnation", "dead", "seen_at", "machine_id")
    if not record["incarnation"] or record["dead"] or record["machine_id"] == machine_id:
        return 0.0
    return max(0.0, reclaim_s - (reads.now(client) - float(record["seen_at"] or 0)))
