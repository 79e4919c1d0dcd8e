"""Which addresses may a job be connected to? A table of every trick, and any address at all."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.contract.addresses import is_public, public

REFUSED = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.80", "192.88.99.1", "168.63.129.16", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::a9fe:a9fe", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1",
    "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "4000::1",
    "", "allowed.test", "1.2.3", "0x7f.1", "2130706433", "127.0.0.1 ", "[::1]",
]  # fmt: skip
ALLOWED = ["8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
           "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


def test_only_the_public_of_several_remain_each_once_in_their_order() -> None:
    assert public(["10.0.0.1", "8.8.8.8", "::1", "1.1.1.1", "8.8.8.8"]) == ["8.8.8.8", "1.1.1.1"]


@given(st.ip_addresses())
def test_no_public_address_is_what_the_registries_call_private(address: object) -> None:
    parsed = ip_address(str(address))
    if is_public(str(address)) and getattr(parsed, "ipv4_mapped", None) is None:
        assert parsed.is_global
        assert not parsed.is_loopback
        assert not parsed.is_link_local


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert is_public(text) in (True, False)
