"""How do events reach Flower? As messages on Celery's own exchange of events, made by Celery and kombu."""

from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.events import event as celery_event

from leasebox_worker.lifecycle.shown import Event


class Publisher:
    """Publishes events for workers by their nodes' names; of one thread.

    Args:
        node: In whose name the events of no worker go out: Celery wants a sender for each.
    """

    def __init__(self, app: Celery, node: str) -> None:
        self._app, self._node = app, node
        self._connection: Any = None
        self._producer: Any = None

    def publish(self, events: Sequence[Event]) -> None:
        """Send them in one message.

        Raises:
            redis.RedisError: They may be lost; the next call connects again.
        """
        if self._connection is None:
            self._connection = self._app.connection_for_write()
            self._producer = self._app.amqp.Producer(
                self._connection, exchange=celery_event.get_exchange(self._connection)
            )
        try:
            self._producer.publish(
                [self._made(event) for event in events],
                routing_key="task.multi",
                serializer="json",
                retry=False,
            )
        except Exception:
            self._connection.release()
            self._connection = None
            raise

    def _made(self, event: Event) -> dict[str, Any]:
        # Without `utcoffset`: a receiver in another zone would shift the times by it.
        sender = f"celery@{event.node or self._node}"
        made: dict[str, Any] = celery_event.Event(event.type, hostname=sender, timestamp=event.at, **event.fields)
        return made
