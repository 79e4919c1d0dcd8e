"""Is this address one of the public internet? Pure; everything else is the host's, its neighbours' or its provider's.

| refused | because |
|---|---|
| loopback, private, link-local (metadata), CGNAT, ULA, documentation, reserved | not global by the IANA registries |
| multicast | global by the registry, yet no host |
| 192.0.0.0/24, 192.88.99.0/24, 168.63.129.16 | a provider's metadata (Oracle), relays, a provider's agent (Azure) |
| IPv6 outside 2000::/3 | v4-compatible, site-local: nowhere, or a way to IPv4 |
| 2001::/23, 2002::/16, 3fff::/20 | Teredo and 6to4 are ways to IPv4; documentation |
| v4-mapped, NAT64 (64:ff9b::/96) | judged by the IPv4 address inside |
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NO_HOSTS_V4 = tuple(IPv4Network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "100.64.0.0/10"))
_UNICAST_V6 = IPv6Network("2000::/3")
_NO_HOSTS_V6 = tuple(IPv6Network(n) for n in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether a job or a webhook may be connected to this address; False for what is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if (inner := address.ipv4_mapped) is not None:
            address = inner
        elif address in _NAT64:
            address = IPv4Address(int(address) & 0xFFFF_FFFF)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NO_HOSTS_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _NO_HOSTS_V6)


def public(addresses: Iterable[str]) -> list[str]:
    """Those of `addresses` that are public, each once, in their order."""
    return list(dict.fromkeys(address for address in addresses if is_public(address)))
