"""Reaching out: metadata services, the host's own services, private ranges, all forms of IPv6, names, raw packets."""

import os
import socket

from verdict import refused, verdict

PORT, ABSTRACT = int(os.environ["CANARY_PORT"]), os.environ["CANARY_ABSTRACT"]
ADDRESSES = (
    "169.254.169.254", "100.100.100.200", "127.0.0.1", "127.8.8.8", "0.0.0.0", "172.17.0.1", "10.0.0.1", "192.168.0.1",
    "192.168.1.1", "100.64.0.1", "192.0.2.1", "8.8.8.8", "224.0.0.1", "255.255.255.255",
)  # fmt: skip
ADDRESSES_6 = (
    "::1", "fd00:ec2::254", "fe80::1", "fc00::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:0:169.254.169.254",
)  # fmt: skip


def reach(family: int, address: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(0.5)
        attempt.connect((address, port))


for family, addresses in ((socket.AF_INET, ADDRESSES), (socket.AF_INET6, ADDRESSES_6)):
    for address in addresses:
        for port in (80, PORT):
            name = f"{address} port {'80' if port == 80 else 'of the host'}"
            refused(name, lambda address=address, port=port, family=family: reach(family, address, port))
refused("a name", lambda: socket.getaddrinfo("example.com", 80))
for server in ("127.0.0.11", "8.8.8.8", "169.254.169.253"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attempt:
        attempt.settimeout(0.2)
        refused(f"DNS by {server}", lambda server=server: attempt.sendto(b"x", (server, 53)) and attempt.recv(1))
with socket.socket(socket.AF_UNIX) as attempt:
    refused("an abstract socket of the host", lambda: attempt.connect(b"\0" + ABSTRACT.encode()))
refused("raw IP", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
refused("ping socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).sendto(b"x", ("8.8.8.8", 1)))
interfaces = [name for _, name in socket.if_nameindex()]
verdict("no interface beside lo", set(interfaces) <= {"lo", "sit0", "tunl0", "ip6tnl0"}, interfaces)
