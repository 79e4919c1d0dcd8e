"""Does a message reach its receiver, and nothing that it must not reach? Real receivers; the names are a book's."""

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook
from tests.worker.webhooks.conftest import KEY, Book
from tests.worker.webhooks.receiver import Receiver, receiving

from leasebox_worker.webhooks.attempts import Answer
from leasebox_worker.webhooks.message import Message
from leasebox_worker.webhooks.post import NOT_PUBLIC, Poster, is_own

BODY = b'{"type":"test"}'


async def post(book: Book, url: str, *allowed: str, **given: Any) -> Answer:
    return await Poster(KEY, allowed, ways=book.ways, **given).post(Message("job", url, BODY))


async def test_a_receiver_gets_a_message_that_it_can_verify(book: Book, receiver: Receiver) -> None:
    answer = await post(book, receiver.url(path="/in?x=1"), "hooks.test")

    (one,) = receiver.received
    assert answer == Answer(204)
    assert (one.path, one.headers["host"]) == ("/in?x=1", f"hooks.test:{receiver.port}")
    assert Webhook("whsec_" + base64.b64encode(KEY).decode()).verify(one.body, one.headers) == {"type": "test"}


async def test_over_tls_the_certificate_must_be_of_the_name(book: Book, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    book.names["other.test"] = ["127.0.0.1"]
    with receiving(certificate) as receiver:
        hosts = ("hooks.test", "other.test")
        good = await post(book, receiver.url(scheme="https"), *hosts, tls=trusting)
        other = await post(book, receiver.url("other.test", scheme="https"), *hosts, tls=trusting)
        unknown = await post(book, receiver.url(scheme="https"), *hosts)

    assert good == Answer(204)
    assert [other.error, unknown.error] == ["its certificate was refused"] * 2
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["0.0.0.0"]],
)
async def test_a_private_address_is_refused_also_beside_a_public_one(
    book: Book, receiver: Receiver, addresses: list[str]
) -> None:
    book.names["hooks.test"] = addresses

    answer = await post(book, receiver.url(scheme="https"))

    assert answer == Answer(error=f"refused: {NOT_PUBLIC}")
    assert receiver.received == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_way_to_write_this_machine_leads_to_it(receiver: Receiver, scheme: str, host: str) -> None:
    answer = await Poster(KEY, ()).post(Message("job", receiver.url(host, scheme=scheme), BODY))

    assert (answer.error or "").startswith("refused: ")
    assert receiver.received == []


async def test_plain_http_goes_to_no_public_host(book: Book) -> None:
    book.names["hooks.test"] = ["8.8.8.8"]

    assert await post(book, "http://hooks.test/") == Answer(error="refused: must be https")
    assert book.asked == []


async def test_this_hosts_own_public_address_is_refused(book: Book, receiver: Receiver) -> None:
    book.names["hooks.test"], book.own = ["8.8.8.8"], {"8.8.8.8"}

    assert (await post(book, receiver.url(scheme="https"))).error == f"refused: {NOT_PUBLIC}"
    assert is_own("127.0.0.1")
    assert not is_own("8.8.8.8")


async def test_the_second_of_two_addresses_is_tried_when_the_first_is_closed(book: Book, receiver: Receiver) -> None:
    book.names["hooks.test"] = ["127.0.0.2", "127.0.0.1"]  # the receiver listens on 127.0.0.1 alone

    assert await post(book, receiver.url(), "hooks.test") == Answer(204)
    assert book.asked == ["hooks.test"]  # whoever is asked again could answer otherwise


async def test_a_redirect_is_not_followed(book: Book, receiver: Receiver) -> None:
    with receiving() as other:
        receiver.statuses, receiver.more = [307], {"Location": other.url("127.0.0.1")}
        answer = await post(book, receiver.url(), "hooks.test", "127.0.0.1")

    assert answer == Answer(307, "a redirect, which is not followed")
    assert other.received == []


@pytest.mark.parametrize(
    ("status", "more", "expected"),
    [
        (500, {}, Answer(500, "answered 500")),
        (404, {}, Answer(404, "answered 404")),
        (503, {"Retry-After": "120"}, Answer(503, "answered 503", 120.0)),
        (503, {"Retry-After": "tomorrow"}, Answer(503, "answered 503")),
    ],
)
async def test_only_2xx_counts_as_taken_in(
    book: Book, receiver: Receiver, status: int, more: dict[str, str], expected: Answer
) -> None:
    receiver.statuses, receiver.more = [status], more

    assert await post(book, receiver.url(), "hooks.test") == expected


async def test_a_slow_receiver_is_given_up(book: Book, receiver: Receiver) -> None:
    receiver.gate.clear()

    answer = await post(book, receiver.url(), "hooks.test", within_s=0.3)

    assert answer == Answer(error="no answer within 0.3 s")


async def test_nobody_there_and_no_such_name_are_told(book: Book, receiver: Receiver) -> None:
    book.names["hooks.test"] = ["127.0.0.2"]

    assert (await post(book, receiver.url(), "hooks.test")).error == "cannot be connected to"
    assert (await post(book, receiver.url("none.test"), "none.test")).error == "its name has no address"


@pytest.fixture(scope="module")
def nowhere() -> Poster:
    """Sends to this machine."""
    return Poster(KEY, {"127.0.0.1"})


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
@settings(max_examples=60, deadline=None)
def test_whatever_stands_behind_the_host_there_is_an_answer(nowhere: Poster, text: str) -> None:
    answer = asyncio.run(nowhere.post(Message("job", f"http://127.0.0.1:1/{text}", BODY)))

    assert answer.error is not None
    assert answer.error.startswith(("refused: ", "cannot be connected to"))


async def test_proxies_of_the_environment_are_not_used(
    book: Book, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert await post(book, receiver.url(), "hooks.test") == Answer(204)
