"""Which duty tells receivers of webhooks? One of each node that has the secret by which they are signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from leasebox.contract.keys import Keys
from leasebox_worker.config import WorkerSettings
from leasebox_worker.lifecycle.beat import STOP_WITHIN_S, Beat

if TYPE_CHECKING:
    from leasebox_worker.webhooks.deliverer import Deliverer

LOOK_S = 1.0


class Outbox(Beat):
    """Delivers what is due, again and again."""

    def __init__(self, deliverer: Deliverer) -> None:
        super().__init__("webhooks", deliverer.look, LOOK_S)
        self._deliverer = deliverer

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """Begin no further delivery; wait for those under way, at most so long. What is cut off comes again."""
        self._deliverer.stop()
        super().stop(within_s)


def outbox(client: redis.Redis, keys: Keys, settings: WorkerSettings) -> list[Beat]:
    """The duty, not begun yet; none without the secret."""
    key = settings.webhook_key
    if key is None:
        return []
    # Only now: the HTTP client takes 150 ms of a worker's start.
    from leasebox_worker.webhooks.deliverer import Deliverer
    from leasebox_worker.webhooks.post import Poster

    return [Outbox(Deliverer(client, keys, Poster(key, settings.webhook_allow)))]
