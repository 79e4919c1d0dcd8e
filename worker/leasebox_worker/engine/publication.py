"""Which profiles does the installation serve? A node says it at its start, and all live nodes must say the same."""

from collections.abc import Mapping

from leasebox.contract.errors import ConfigError
from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle.tracker import Identity
from leasebox_worker.policy.languages import Toolbox
from leasebox_worker.policy.profiles import Profile, digest, published


def publish(
    runner: Runner,
    keys: Keys,
    identity: Identity,
    profiles: Mapping[str, Profile],
    *,
    reclaim_s: float,
    toolboxes: Mapping[str, Toolbox] | None = None,
) -> None:
    """Say which profiles this node serves; clients check against them early.

    Call it before the node registers, when it only asks, so that a refused one leaves its older sandboxes alone; and
    again afterwards: of two nodes that start at once, the later one then sees the other.

    Args:
        toolboxes: What this node found of their languages; of several nodes the last one's word stands.

    Raises:
        ConfigError: Another live node serves other profiles.
    """
    call = node.publish(
        keys,
        node=identity.node,
        incarnation=identity.incarnation,
        profiles=published(profiles, toolboxes),
        digest=digest(profiles),
        reclaim_s=reclaim_s,
    )
    answer = runner.run(call)
    if isinstance(answer, a.Differs):
        raise ConfigError(
            f"profiles: node {answer.node!r} serves others than this one (digest {digest(profiles)})",
            hint="give all nodes the same LEASEBOX_PROFILES_FILE; to change it, stop them all first",
        )
