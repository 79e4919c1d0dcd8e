"""Which requests name a host on the list? Everything else is refused by its own reason."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leasebox.contract.domains import covers, is_name
from leasebox_worker.egress.refusal import Refusal, RefusedError
from leasebox_worker.egress.request import wanted

RULES = ("api.example.com", "*.example.org", "xn--bcher-kva.example")


def head(target: str, method: str = "CONNECT", version: str = "HTTP/1.1") -> bytes:
    return f"{method} {target} {version}\r\nHost: {target}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("api.example.com:443", "api.example.com"),
        ("API.Example.COM:443", "api.example.com"),
        ("a.example.org:443", "a.example.org"),
        ("a.b.example.org:443", "a.b.example.org"),
        ("xn--bcher-kva.example:443", "xn--bcher-kva.example"),
        ("api.example.com:0443", "api.example.com"),
    ],
)
def test_a_name_on_the_list_is_wanted(target: str, name: str) -> None:
    assert wanted(head(target), RULES) == name


@pytest.mark.parametrize(
    ("request_head", "refusal"),
    [
        (head("example.org:443"), Refusal.NAME),
        (head("api.example.com.evil.net:443"), Refusal.NAME),
        (head("evilapi.example.com:443"), Refusal.NAME),
        (head("evilexample.org:443"), Refusal.NAME),
        (head("*.example.org:443"), Refusal.NAME),
        (head(".example.org:443"), Refusal.NAME),
        (head("a..example.org:443"), Refusal.NAME),
        (head("-a.example.org:443"), Refusal.NAME),
        (head("a_b.example.org:443"), Refusal.NAME),
        (head("api.example.com.:443"), Refusal.NAME),
        (head("user@api.example.com:443"), Refusal.NAME),
        (head("api.example.com#.example.org:443"), Refusal.NAME),
        (head("127.0.0.1:443"), Refusal.NAME),
        (head("[::1]:443"), Refusal.NAME),
        (head("2130706433:443"), Refusal.NAME),
        (head("localhost:443"), Refusal.NAME),
        (head("api.example.com:22"), Refusal.PORT),
        (head("api.example.com:80"), Refusal.PORT),
        (head("api.example.com:65979"), Refusal.PORT),  # 443 modulo 65536
        (head("http://api.example.com/", "GET"), Refusal.METHOD),
        (head("api.example.com:443", "POST"), Refusal.METHOD),
        (head("api.example.com", "CONNECT"), Refusal.SYNTAX),
        (head("api.example.com:443", version="HTTP/2"), Refusal.SYNTAX),
        (head("api.example.com :443"), Refusal.SYNTAX),
        (head("api.example.com:443:443"), Refusal.NAME),
        (head("api.example.com:+443"), Refusal.SYNTAX),
        ("CONNECT bücher.example:443 HTTP/1.1\r\n\r\n".encode(), Refusal.SYNTAX),
        (b"CONNECT api.example.com:443 HTTP/1.1\n\r\n\r\n", Refusal.SYNTAX),
        (b" CONNECT api.example.com:443 HTTP/1.1\r\n\r\n", Refusal.SYNTAX),
        (b"connect api.example.com:443 HTTP/1.1\r\n\r\n", Refusal.SYNTAX),
        (b"\r\n\r\n", Refusal.SYNTAX),
    ],
)
def test_everything_else_is_refused(request_head: bytes, refusal: Refusal) -> None:
    with pytest.raises(RefusedError) as caught:
        wanted(request_head, RULES)

    assert caught.value.refusal is refusal


@given(st.binary(max_size=400))
@example(b"CONNECT \xff:443 HTTP/1.1\r\n\r\n")
def test_any_bytes_are_a_refusal_or_a_name_on_the_list(data: bytes) -> None:
    try:
        name = wanted(data, RULES)
    except RefusedError:
        return
    assert is_name(name)
    assert covers(RULES, name)


@given(st.text(max_size=60), st.integers(0, 99999))
def test_any_target_is_a_refusal_or_a_name_on_the_list(host: str, port: int) -> None:
    try:
        name = wanted(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode(errors="replace"), RULES)
    except RefusedError:
        return
    assert covers(RULES, name)
    assert port == 443


@pytest.mark.parametrize(
    ("rule", "asked", "is_covered"),
    [
        ("*.example.org", "*.a.example.org", True),
        ("*.example.org", "*.example.org", True),
        ("a.example.org", "*.example.org", False),
        ("*.a.example.org", "*.example.org", False),
        ("*.example.org", "example.org", False),
    ],
)
def test_a_rule_covers_what_is_below_it(rule: str, asked: str, is_covered: bool) -> None:
    assert covers([rule], asked) is is_covered
