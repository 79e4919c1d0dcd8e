"""Which warm sandboxes should a node make or end? A pure plan; and the node's pools as they stand in Redis."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import redis

from leasebox.contract.keys import Keys
from leasebox.contract.scripts import Runner, node
from leasebox.contract.scripts import answers as a
from leasebox_worker.lifecycle import reads
from leasebox_worker.lifecycle.tracker import Identity

SPARE_PLACES = 1
"""Places of the node that no refill takes: a job that the pool cannot serve finds one without asking for room."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """One profile's warm sandboxes.

    Attributes:
        wanted: How many the profile wants on each node.
        ready: As they stand in Redis, the next to be given out first.
        gone: Those of `ready` that do not live any more.
        making: How many are being made.
        is_resting: The last one did not start; none is made for a while.
    """

    profile: str
    wanted: int
    ready: tuple[str, ...] = ()
    gone: frozenset[str] = frozenset()
    making: int = 0
    is_resting: bool = False

    @property
    def lacks(self) -> int:
        """How many more it should have, 0 at least."""
        return max(0, self.wanted - (len(self.ready) - len(self.gone)) - self.making)


@dataclass(frozen=True, slots=True)
class Stock:
    """What the plan looks at.

    Attributes:
        free_places: How many more sandboxes the node may hold.
        idle_makers: How many more may be made at the same time.
        may_make: The node takes work and is not full.
        is_draining: The node gives up all it has.
    """

    shelves: tuple[Shelf, ...]
    free_places: int
    idle_makers: int
    may_make: bool = True
    is_draining: bool = False


@dataclass(frozen=True, slots=True)
class Make:
    """Make one warm sandbox."""

    profile: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Take a sandbox out of the pool, and end it."""

    profile: str
    sandbox: str


def refill_plan(stock: Stock) -> list[Make | Drop]:
    """What to do now: end what is dead or too much, then make what lacks, the emptiest shelf first."""
    dropped = [Drop(shelf.profile, name) for shelf in stock.shelves for name in _too_much(shelf, stock.is_draining)]
    if stock.is_draining or not stock.may_make:
        return [*dropped]
    room = min(stock.idle_makers, stock.free_places - SPARE_PLACES)
    shelves, made = [shelf for shelf in stock.shelves if not shelf.is_resting], list[Make | Drop]()
    while room > 0 and (shelf := max(shelves, key=lambda shelf: shelf.lacks, default=None)) and shelf.lacks:
        made.append(Make(shelf.profile))
        shelves[shelves.index(shelf)] = replace(shelf, making=shelf.making + 1)
        room -= 1
    return [*dropped, *made]


def _too_much(shelf: Shelf, is_draining: bool) -> list[str]:
    """The dead ones, and of the living those beyond what is wanted, from the end that is given out last."""
    living = [name for name in shelf.ready if name not in shelf.gone]
    return [*sorted(shelf.gone), *living[0 if is_draining else shelf.wanted :]]


def gives_way(shelves: Sequence[Shelf]) -> Drop | None:
    """The warm sandbox that goes first when a job needs its place: of the fullest shelf."""
    fullest = max(shelves, key=lambda shelf: len(shelf.ready), default=None)
    return Drop(fullest.profile, fullest.ready[-1]) if fullest and fullest.ready else None


class Pools:
    """This incarnation's pools in Redis."""

    def __init__(self, client: redis.Redis, runner: Runner, keys: Keys, identity: Identity) -> None:
        self._redis = client
        self._run = runner.run
        self._keys = keys
        self._identity = identity

    def renew(self, incarnation: str) -> None:
        """This node goes on as another incarnation, whose pools are empty."""
        self._identity = replace(self._identity, incarnation=incarnation)

    def ready(self, profiles: Sequence[str]) -> list[tuple[str, ...]]:
        """The warm sandboxes of each of these profiles, the next to be given out first."""
        node_name, incarnation = self._identity.node, self._identity.incarnation
        keys = [self._keys.pool(node_name, incarnation, profile) for profile in profiles]
        return [tuple(items) for items in reads.items_of_each(self._redis, keys)]

    def push(self, profile: str, sandbox: str) -> bool:
        """Offer a sandbox to jobs; False if this incarnation may not (any more): end it."""
        node_name, incarnation = self._identity.node, self._identity.incarnation
        call = node.pool_push(self._keys, node=node_name, incarnation=incarnation, profile=profile, sandbox=sandbox)
        return isinstance(self._run(call), a.Pooled)

    def drop(self, profile: str, sandbox: str) -> bool:
        """Take a sandbox back; False if a job has it."""
        node_name, incarnation = self._identity.node, self._identity.incarnation
        call = node.pool_drop(self._keys, node=node_name, incarnation=incarnation, profile=profile, sandbox=sandbox)
        return isinstance(self._run(call), a.Dropped)
