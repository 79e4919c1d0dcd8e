"""Which URLs may be called back? Tables of forms, tricks and what an operator allows."""

import pytest

from leasebox.contract.callbacks import Target, objection, target_of
from leasebox.contract.errors import InvalidSpec
from leasebox.contract.spec import parse_spec

READ = [
    ("https://hooks.test", Target(True, "hooks.test", 443, "/")),
    ("https://Hooks.Test.:8443/a?b=c", Target(True, "hooks.test", 8443, "/a?b=c")),
    ("http://10.1.2.3/x", Target(False, "10.1.2.3", 80, "/x")),
    ("https://[2001:DB8::1]:443/", Target(True, "2001:db8::1", 443, "/")),
]
NONE = [
    "", "hooks.test", "ftp://hooks.test/", "https://", "https:///x", "https://user:pw@hooks.test/", "https://@h.test/",
    "https://hooks.test/#x", "https://hooks.test:0/", "https://hooks.test:70000/", "https://hooks.test:x/",
    "https://hooks.test/ x", "https://hooks.test/\r\nX: y", "https://hooks.test\\@evil.test/", "https://häuser.test/",
    "https://[::1", "https://[fe80::1%25eth0x]x/", "https://a..b/", "https://-/", "javascript:alert(1)", "file:///etc",
    "https://hooks.test/" + "x" * 2048,
]  # fmt: skip


@pytest.mark.parametrize(("url", "target"), READ)
def test_a_url_is_read(url: str, target: Target) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize("url", NONE)
def test_what_is_no_url_for_a_webhook_is_refused_and_named_in_a_spec(url: str) -> None:
    with pytest.raises(ValueError):
        target_of(url)
    with pytest.raises(InvalidSpec, match="callback_url: ") as refused:
        parse_spec({"code": "1", "callback_url": url})

    assert "pw" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "allowed", "is_fine"),
    [
        ("https://hooks.test/", (), True),
        ("https://8.8.8.8/", (), True),
        ("http://hooks.test/", (), False),
        ("http://hooks.test/", ("hooks.test",), True),
        ("http://hooks.test:8080/", ("other.test",), False),
        ("https://10.0.0.1/", (), False),
        ("https://10.0.0.1/", ("10.0.0.1",), True),
        ("https://169.254.169.254/latest/meta-data", (), False),
        ("https://[::1]/", (), False),
        ("https://[::ffff:127.0.0.1]/", (), False),
        ("https://localhost/", (), False),
        ("https://a.localhost/", (), False),
        ("https://localhost/", ("localhost",), True),
    ],
)
def test_https_to_public_hosts_or_what_an_operator_allows(url: str, allowed: tuple[str, ...], is_fine: bool) -> None:
    assert (objection(target_of(url), allowed) is None) == is_fine


@pytest.mark.parametrize(
    ("url", "authority", "at"),
    [
        ("https://hooks.test/a?b", "hooks.test", "https://8.8.8.8/a?b"),
        ("https://hooks.test:444/", "hooks.test:444", "https://8.8.8.8:444/"),
        ("http://[::1]:81/", "[::1]:81", "http://8.8.8.8:81/"),
    ],
)
def test_the_address_stands_in_for_the_host(url: str, authority: str, at: str) -> None:
    assert (target_of(url).authority, target_of(url).at("8.8.8.8")) == (authority, at)
    assert target_of("https://h.test/").at("2a00::1") == "https://[2a00::1]/"
