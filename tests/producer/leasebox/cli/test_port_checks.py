"""Does doctor tell a free port from one that our API has, and from one that somebody else has?"""

import socket

from tests.producer.leasebox.served import served

from leasebox.cli.port_checks import api_port
from leasebox.config import ClientSettings


def test_a_port_is_free_ours_or_somebody_elses(settings: ClientSettings) -> None:
    with served(settings) as url:
        port = int(url.rpartition(":")[2])
        ours = api_port("127.0.0.1", port)
    free = api_port("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = api_port("127.0.0.1", other.getsockname()[1])

    assert (ours.ok, free.ok, taken.ok) == (True, True, False)
    assert "the API of Leasebox" in ours.detail
    assert "is free" in free.detail
    assert taken.hint is not None
    assert "ss -ltnp" in taken.hint


def test_an_address_that_this_host_does_not_have_is_named() -> None:
    check = api_port("192.0.2.1", 8707)

    assert not check.ok
    assert "192.0.2.1 port 8707: Cannot assign requested address" in check.detail
