"""Which host does a greeting name? Greetings of a real TLS client, cut and broken in every way."""

import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox_worker.egress.client_hello import MAX_HELLO_BYTES, HelloReader
from leasebox_worker.egress.refusal import Refusal, RefusedError


def greeting(name: str | None, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What OpenSSL would send first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = greeting("api.example.com")


def in_records(hello: bytes, size: int) -> bytes:
    """The same handshake message in records of `size` bytes each."""
    message = hello[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


def with_extensions(*extensions: tuple[int, bytes]) -> bytes:
    """A greeting made by hand."""
    body = b"".join(kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for kind, data in extensions)
    hello = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + len(body).to_bytes(2, "big") + body
    message = b"\x01" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def sni(*names: bytes, kind: bytes = b"\x00") -> tuple[int, bytes]:
    entries = b"".join(kind + len(name).to_bytes(2, "big") + name for name in names)
    return 0, len(entries).to_bytes(2, "big") + entries


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_of_a_real_client_is_found(version: ssl.TLSVersion) -> None:
    reader, hello = HelloReader(), greeting("API.example.com", version=version)

    assert reader.feed(hello) == "api.example.com"
    assert reader.received == hello


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_a_greeting_may_span_records(size: int) -> None:
    assert HelloReader().feed(in_records(HELLO, size)) == "api.example.com"


@given(st.lists(st.integers(1, len(HELLO) - 1), max_size=20, unique=True))
def test_a_greeting_may_come_in_any_pieces(cuts: list[int]) -> None:
    reader, edges = HelloReader(), [0, *sorted(cuts), len(HELLO)]
    answers = [reader.feed(HELLO[a:b]) for a, b in pairwise(edges)]

    assert answers == [None] * (len(answers) - 1) + ["api.example.com"]


@pytest.mark.parametrize("end", range(len(HELLO)))
def test_a_greeting_that_is_not_whole_names_nobody(end: int) -> None:
    assert HelloReader().feed(HELLO[:end]) is None


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Refusal.NOT_TLS),
        (b"SSH-2.0-x\r\n", Refusal.NOT_TLS),
        (b"\x80\x2e\x01\x03\x01", Refusal.NOT_TLS),  # SSLv2
        (b"\x16\x02\x01\x00\x05", Refusal.NOT_TLS),
        (b"\x16\x03\x01\x00\x00", Refusal.NOT_TLS),  # an empty record
        (b"\x16\x03\x01\x40\x01", Refusal.NOT_TLS),  # a record above 2^14
        (b"\x15\x03\x01\x00\x02\x01\x00", Refusal.NOT_TLS),  # an alert
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", Refusal.NOT_TLS),  # a ServerHello
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", Refusal.NOT_TLS),  # 16 MiB announced
        (in_records(HELLO, 40)[:45] + b"\x17\x03\x03\x00\x01x", Refusal.NOT_TLS),  # something between its records
        (greeting(None), Refusal.SNI),
        (with_extensions(), Refusal.SNI),
        (with_extensions(sni()), Refusal.SNI),
        (with_extensions(sni(b"a.test", b"b.test")), Refusal.SNI),
        (with_extensions(sni(b"a.test"), sni(b"b.test")), Refusal.SNI),
        (with_extensions(sni(b"a.test", kind=b"\x01")), Refusal.SNI),
        (with_extensions(sni(b"\xc3\xbc.test")), Refusal.SNI),
        (with_extensions(sni(b"a.test"), (0xFE0D, b"\x00")), Refusal.SNI),  # an encrypted greeting inside
        (with_extensions((0, b"\x00\x09\x00\x00\x06a.testX")), Refusal.NOT_TLS),
        (with_extensions((0, b"\xff\xff\x00\x00\x01a")), Refusal.NOT_TLS),
    ],
    ids=lambda value: "data" if isinstance(value, bytes) else None,
)
def test_what_is_no_greeting_of_one_host_is_refused(data: bytes, refusal: Refusal) -> None:
    with pytest.raises(RefusedError) as caught:
        HelloReader().feed(data)

    assert caught.value.refusal is refusal


def test_a_greeting_that_never_ends_is_refused_at_its_bound() -> None:
    reader = HelloReader()
    assert reader.feed(in_records(b"....." + b"\x01\x00\x40\x00", 1)) is None
    part = b"\x16\x03\x01\x00\x01x"
    while len(reader.received) + len(part) <= MAX_HELLO_BYTES:
        assert reader.feed(part) is None

    with pytest.raises(RefusedError):
        reader.feed(part)


@given(st.binary(max_size=300), st.integers(0, len(HELLO)), st.integers(0, 40))
def test_any_bytes_are_a_name_a_refusal_or_a_wait(junk: bytes, at: int, skip: int) -> None:
    try:
        name = HelloReader().feed(HELLO[:at] + junk + HELLO[at + skip :])
    except RefusedError:
        return
    assert name is None or name.isascii()
