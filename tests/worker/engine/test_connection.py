"""How the worker's clients behave towards a server that is not there, or does not speak."""

from typing import Any

import pytest
from tests.relay import Relay

from leasebox.contract.errors import BrokerUnavailable
from leasebox_worker.engine.connection import connect


def test_a_peer_that_never_answers_is_given_up(redis_server: Any) -> None:
    relay = Relay(redis_server.socket)
    relay.swallow = lambda _: True

    with pytest.raises(BrokerUnavailable):
        connect(relay.url, timeout_s=0.3)
    relay.close()


def test_a_connection_that_was_cut_is_made_anew_unseen(redis_server: Any) -> None:
    relay = Relay(redis_server.socket)
    client = connect(relay.url)
    mine = client.client_id()
    with redis_server.connect() as other:
        other.client_kill_filter(_id=mine)

    assert client.client_id() != mine
    relay.close()
