"""Which profiles and quotas hold here? A node says it at its start, and all live nodes must say the same."""

from collections.abc import Mapping

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle.tracker import Identity
from leasebox_worker.policy import quota
from leasebox_worker.policy.languages import Toolbox
from leasebox_worker.policy.profiles import Profile, digest, published
from leasebox_worker.policy.quota import Quota


def publish(
    runner: Runner,
    keys: Keys,
    identity: Identity,
    profiles: Mapping[str, Profile],
    *,
    quotas: Mapping[str, Quota],
    reclaim_s: float,
    toolboxes: Mapping[str, Toolbox] | None = None,
) -> None:
    """Say which profiles this node serves and what bounds tenants; clients and scripts go by it.

    Call it before the node registers, when it only asks, so that a refused one leaves its older sandboxes alone; and
    again afterwards: of two nodes that start at once, the later one then sees the other.

    Args:
        toolboxes: What this node found of their languages; of several nodes the last one's word stands.

    Raises:
        ConfigError: Another live node serves other profiles, or was given other quotas.
    """
    call = node.publish(
        keys,
        node=identity.node,
        incarnation=identity.incarnation,
        profiles=published(profiles, toolboxes),
        digest=digest(profiles),
        quotas=quota.published(quotas),
        quotas_digest=quota.digest(quotas),
        reclaim_s=reclaim_s,
    )
    answer = runner.run(call)
    if isinstance(answer, a.Differs) and answer.what == "quotas":
        raise ConfigError(
            f"tenants: node {answer.node!r} was given other quotas than this one (digest {quota.digest(quotas)})",
            hint="give all nodes the same LEASEBOX_TENANTS_FILE; to change it, stop them all first",
        )
    if isinstance(answer, a.Differs):
        raise ConfigError(
            f"profiles: node {answer.node!r} serves others than this one (digest {digest(profiles)})",
            hint="give all nodes the same LEASEBOX_PROFILES_FILE; to change it, stop them all first",
        )
